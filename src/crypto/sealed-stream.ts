import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto';
import { DagpacsError } from '../kernel/errors.ts';

/**
 * Streaming AEAD in Tink's AES-GCM-HKDF format (https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming):
 * a header (its length, a salt, a nonce prefix), then segments of AES-GCM under a key derived with HKDF from the object's
 * key and the salt. The nonce is prefix, segment number and "this is the last": no segment can be moved, dropped or added.
 */

/** Bytes of a ciphertext segment; the first one's include the header. Four segments are one 1 MiB leaf. */
export const SEGMENT_SIZE = 262_144;
/** Bytes of an object's key and of the key that is derived from it. */
const KEY_SIZE = 32;
const PREFIX_SIZE = 7;
const TAG_SIZE = 16;

/** What both sides of a stream must agree on. The bridge uses the defaults; the rest is for published test vectors. */
export interface StreamParameters {
  /** HKDF's info; default empty. */
  associatedData?: Uint8Array;
  /** Bytes of a ciphertext segment; default {@link SEGMENT_SIZE}. */
  segmentSize?: number;
  /** HKDF's hash; default SHA-256. */
  hkdfHash?: 'sha1' | 'sha256' | 'sha512';
  /** Bytes of the derived AES key, and of the salt; default 32. */
  derivedKeySize?: 16 | 32;
}

/** The numbers that follow from {@link StreamParameters}. */
export class StreamLayout {
  readonly segmentSize: number;
  readonly derivedKeySize: number;
  readonly headerSize: number;
  /** Plaintext bytes of the first segment when full. */
  readonly firstPlain: number;
  /** Plaintext bytes of any other segment when full. */
  readonly otherPlain: number;

  constructor(parameters: StreamParameters = {}) {
    this.segmentSize = parameters.segmentSize ?? SEGMENT_SIZE;
    this.derivedKeySize = parameters.derivedKeySize ?? KEY_SIZE;
    this.headerSize = 1 + this.derivedKeySize + PREFIX_SIZE;
    this.firstPlain = this.segmentSize - this.headerSize - TAG_SIZE;
    this.otherPlain = this.segmentSize - TAG_SIZE;
    if (this.firstPlain < 1) throw new RangeError('the segment size leaves no room for plaintext');
  }

  /** Bytes that `plain` bytes have when sealed. */
  sealedSize(plain: number): number {
    const segments = plain <= this.firstPlain ? 1 : 1 + Math.ceil((plain - this.firstPlain) / this.otherPlain);
    return this.headerSize + plain + segments * TAG_SIZE;
  }

  /** The plaintext bytes in `sealed` bytes. @throws DagpacsError `block-damaged` for a length that sealing never yields. */
  openedSize(sealed: number): number {
    const segments = Math.ceil(sealed / this.segmentSize);
    const last = sealed - (segments - 1) * this.segmentSize;
    const least = segments === 1 ? this.headerSize + TAG_SIZE : TAG_SIZE + 1;
    if (!Number.isSafeInteger(sealed) || segments < 1 || last < least) throw damaged('impossible length');
    return sealed - this.headerSize - segments * TAG_SIZE;
  }

  /** The segment that holds plaintext byte `offset`. */
  segmentOf(offset: number): number {
    return offset < this.firstPlain ? 0 : 1 + Math.floor((offset - this.firstPlain) / this.otherPlain);
  }

  /** The plaintext offset at which a segment starts. */
  plainStart(segment: number): number {
    return segment === 0 ? 0 : this.firstPlain + (segment - 1) * this.otherPlain;
  }
}

const LAYOUT = new StreamLayout();

/** Bytes that `plain` bytes have when sealed with the default parameters. */
export function sealedSize(plain: number): number {
  return LAYOUT.sealedSize(plain);
}

/** The reverse of {@link sealedSize}. @throws DagpacsError `block-damaged` for a length that sealing never yields. */
export function openedSize(sealed: number): number {
  return LAYOUT.openedSize(sealed);
}

/** A new random key for one object. */
export function newObjectKey(): Buffer {
  return randomBytes(KEY_SIZE);
}

/** Plaintext buffers of sealers that ended, overwritten by the next: one for each stream at a time, up to a bound. */
const idleBuffers: Buffer[] = [];
const MAX_IDLE_BUFFERS = 16;

function takeBuffer(size: number): Buffer {
  return (size === SEGMENT_SIZE ? idleBuffers.pop() : undefined) ?? Buffer.allocUnsafeSlow(size);
}

function giveBackBuffer(buffer: Buffer): void {
  if (buffer.length === SEGMENT_SIZE && idleBuffers.length < MAX_IDLE_BUFFERS) idleBuffers.push(buffer.fill(0));
}

/** Takes plaintext in chunks of any size and emits the sealed stream. */
export class Sealer {
  readonly #layout: StreamLayout;
  readonly #cipherName: 'aes-128-gcm' | 'aes-256-gcm';
  readonly #key: KeyObject;
  readonly #nonce: Buffer;
  /** Sent in front of the first segment, then empty. */
  #header: Buffer;
  /** The segment being filled. Whether a full one is the last is known only when more comes, or the end. */
  readonly #plain: Buffer;
  #filled = 0;
  #capacity: number;
  #segment = 0;

  /**
   * @param key the object's key, never used for another object. Tests alone give `salt` and `noncePrefix`.
   */
  constructor(key: Uint8Array, options: StreamParameters & { salt?: Uint8Array; noncePrefix?: Uint8Array } = {}) {
    this.#layout = new StreamLayout(options);
    const { derivedKeySize, headerSize, segmentSize } = this.#layout;
    this.#header = randomBytes(headerSize);
    this.#header[0] = headerSize;
    if (options.salt) this.#header.set(options.salt, 1);
    if (options.noncePrefix) this.#header.set(options.noncePrefix, 1 + derivedKeySize);
    this.#cipherName = cipherName(derivedKeySize);
    this.#key = deriveKey(key, this.#header, this.#layout, options);
    this.#nonce = firstNonce(this.#header);
    this.#plain = takeBuffer(segmentSize);
    this.#capacity = this.#layout.firstPlain;
  }

  /** Seals `chunk`, which may be reused after the call. `emit` takes ownership of each part of the ciphertext. */
  push(chunk: Uint8Array, emit: (ciphertext: Buffer) => void): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#filled === this.#capacity) this.#seal(false, emit);
      const length = Math.min(this.#capacity - this.#filled, chunk.length - offset);
      this.#plain.set(chunk.subarray(offset, offset + length), this.#filled);
      this.#filled += length;
      offset += length;
    }
  }

  /** Seals what is left as the last segment; nothing may be pushed after. */
  end(emit: (ciphertext: Buffer) => void): void {
    this.#seal(true, emit);
    giveBackBuffer(this.#plain);
  }

  #seal(last: boolean, emit: (ciphertext: Buffer) => void): void {
    setSegment(this.#nonce, this.#segment, last);
    const cipher = createCipheriv(this.#cipherName, this.#key, this.#nonce);
    const body = cipher.update(this.#plain.subarray(0, this.#filled));
    cipher.final();
    // In parts rather than copied together: fresh buffers are what garbage collection is measured by under load.
    if (this.#header.length > 0) emit(this.#header);
    if (body.length > 0) emit(body);
    emit(cipher.getAuthTag());
    this.#header = EMPTY;
    this.#segment += 1;
    this.#filled = 0;
    this.#capacity = this.#layout.otherPlain;
  }
}

const EMPTY = Buffer.alloc(0);

/** Opens segments of one object: what is derived from its key and header, kept. */
export class SegmentOpener {
  readonly #layout: StreamLayout;
  readonly #cipherName: 'aes-128-gcm' | 'aes-256-gcm';
  readonly #key: KeyObject;
  readonly #prefix: Buffer;
  readonly #segments: number;

  /** @throws DagpacsError `block-damaged` where `header` is none or `sealedSize` is impossible. */
  constructor(key: Uint8Array, sealedSize: number, header: Uint8Array, parameters: StreamParameters = {}) {
    this.#layout = new StreamLayout(parameters);
    this.#layout.openedSize(sealedSize);
    const { derivedKeySize, headerSize, segmentSize } = this.#layout;
    if (header.length < headerSize || header[0] !== headerSize) throw damaged('no stream header');
    const own = Buffer.from(header.subarray(0, headerSize));
    this.#cipherName = cipherName(derivedKeySize);
    this.#key = deriveKey(key, own, this.#layout, parameters);
    this.#prefix = firstNonce(own);
    this.#segments = Math.ceil(sealedSize / segmentSize);
  }

  /**
   * The plaintext of segment number `segment`, whose whole ciphertext is `sealed` (the first one's with the header).
   * @throws DagpacsError `block-damaged` where the tag does not agree.
   */
  open(segment: number, sealed: Uint8Array): Buffer {
    const start = segment === 0 ? this.#layout.headerSize : 0;
    const end = sealed.length - TAG_SIZE;
    if (end < start) throw damaged('segment too short');
    // A copy, so that segments can be opened in any order and none sees another's nonce.
    const nonce = Buffer.from(this.#prefix);
    setSegment(nonce, segment, segment === this.#segments - 1);
    const decipher = createDecipheriv(this.#cipherName, this.#key, nonce, { authTagLength: TAG_SIZE });
    decipher.setAuthTag(sealed.subarray(end));
    const plain = decipher.update(sealed.subarray(start, end));
    try {
      decipher.final();
    } catch (cause) {
      throw damaged('authentication failed', cause);
    }
    return plain;
  }
}

function cipherName(derivedKeySize: number): 'aes-128-gcm' | 'aes-256-gcm' {
  return derivedKeySize === 16 ? 'aes-128-gcm' : 'aes-256-gcm';
}

function deriveKey(
  key: Uint8Array,
  header: Uint8Array,
  { derivedKeySize }: StreamLayout,
  { associatedData = EMPTY, hkdfHash = 'sha256' }: StreamParameters,
): KeyObject {
  const salt = header.subarray(1, 1 + derivedKeySize);
  // Key objects, since Node takes 7 µs longer for each cipher with bare bytes.
  return createSecretKey(Buffer.from(hkdfSync(hkdfHash, createSecretKey(key), salt, associatedData, derivedKeySize)));
}

/** Prefix, four bytes of segment number, one byte that is 1 for the last. */
function firstNonce(header: Uint8Array): Buffer {
  const nonce = Buffer.alloc(PREFIX_SIZE + 5);
  nonce.set(header.subarray(header.length - PREFIX_SIZE));
  return nonce;
}

function setSegment(nonce: Buffer, segment: number, last: boolean): void {
  nonce.writeUInt32BE(segment, PREFIX_SIZE);
  nonce[PREFIX_SIZE + 4] = last ? 1 : 0;
}

function damaged(rule: string, cause?: unknown): DagpacsError {
  return new DagpacsError('block-damaged', `sealed object: ${rule}`, { rule }, cause === undefined ? {} : { cause });
}
