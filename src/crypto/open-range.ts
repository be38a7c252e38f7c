import { isDagpacsError } from '../kernel/errors.ts';
import { SEGMENT_SIZE, SegmentOpener, StreamLayout, type StreamParameters } from './sealed-stream.ts';

/**
 * Reads bytes `start` (inclusive) to `end` (exclusive) of the sealed object, into `target` where that is possible: it is at
 * least as long, and is reused once the bytes were opened.
 */
export type ReadSealed = (start: number, end: number, target: Buffer) => Promise<Uint8Array>;

/** The same bytes again, after what {@link ReadSealed} gave, or threw, was of no use: checked by other means, or fetched anew. */
export type MendSealed = (start: number, end: number) => Promise<Uint8Array>;

/** Segments per read, aligned so that a read of the default 256 KiB segments is at most a 1 MiB leaf and never spans two. */
const SEGMENTS_PER_READ = 4;
const READ_SIZE = SEGMENTS_PER_READ * SEGMENT_SIZE;

/** Ciphertext buffers that no read uses: fresh ones for each read would be most of what garbage collection has to do. */
const idleBuffers: Buffer[] = [];
const MAX_IDLE_BUFFERS = 16;

function takeBuffer(size: number): Buffer {
  return (size <= READ_SIZE ? idleBuffers.pop() : undefined) ?? Buffer.allocUnsafeSlow(Math.max(size, READ_SIZE));
}

function giveBackBuffer(buffer: Buffer): void {
  if (buffer.length === READ_SIZE && idleBuffers.length < MAX_IDLE_BUFFERS) idleBuffers.push(buffer);
}

/** A sealed object that is being read: its header is read and its key derived once, for any number of ranges. */
export class Opener {
  /** Plaintext bytes. */
  readonly size: number;
  readonly #layout: StreamLayout;
  readonly #key: Uint8Array;
  readonly #parameters: StreamParameters;
  #segments: SegmentOpener;
  readonly #sealedSize: number;
  readonly #read: ReadSealed;
  readonly #mend: MendSealed | undefined;
  /** An object that one read holds is read with its header, and kept until its first range. */
  #whole: Reading | undefined;

  private constructor(
    key: Uint8Array,
    sealedSize: number,
    read: ReadSealed,
    start: Reading,
    parameters: StreamParameters,
    mend: MendSealed | undefined,
  ) {
    this.#key = key;
    this.#parameters = parameters;
    this.#mend = mend;
    this.#layout = new StreamLayout(parameters);
    this.size = this.#layout.openedSize(sealedSize);
    this.#segments = new SegmentOpener(key, sealedSize, start.bytes, parameters);
    this.#sealedSize = sealedSize;
    this.#read = read;
    if (start.bytes.length === sealedSize) this.#whole = start;
    else giveBackBuffer(start.buffer);
  }

  /**
   * @param key the object's key
   * @param sealedSize bytes of the sealed object, from its instance node
   * @param mend asked where `read` throws `block-missing` or its bytes cannot be opened
   * @throws DagpacsError `block-damaged` for an impossible length or header, and what `read` throws
   */
  static async open(
    key: Uint8Array,
    sealedSize: number,
    read: ReadSealed,
    parameters: StreamParameters = {},
    mend?: MendSealed,
  ): Promise<Opener> {
    const layout = new StreamLayout(parameters);
    layout.openedSize(sealedSize);
    const length = sealedSize <= SEGMENTS_PER_READ * layout.segmentSize ? sealedSize : layout.headerSize;
    const buffer = takeBuffer(length);
    try {
      const start = { buffer, bytes: await read(0, length, buffer) };
      return new Opener(key, sealedSize, read, start, parameters, mend);
    } catch (error) {
      if (!mend || !isOfBlocks(error)) throw error;
      const start = { buffer, bytes: await mend(0, length) };
      return new Opener(key, sealedSize, read, start, parameters, mend);
    }
  }

  /**
   * Plaintext bytes `start` (inclusive) to `end` (exclusive), opening only the segments that hold them; each is
   * authenticated before it is yielded. One read runs ahead of the consumer.
   * @throws DagpacsError `block-damaged` where a tag does not agree; RangeError for a range outside the object
   */
  async *range(start = 0, end = this.size): AsyncGenerator<Buffer, void, void> {
    if (!(start >= 0 && start <= end && end <= this.size)) throw new RangeError('range outside the object');
    if (start === end) return;
    const last = this.#layout.segmentOf(end - 1);
    let next: Group | undefined = this.#fetch(this.#layout.segmentOf(start), last);
    while (next) {
      const group: Group = next;
      let sealed: Uint8Array;
      let buffer: Buffer | undefined;
      try {
        ({ bytes: sealed, buffer } = await group.reading);
      } catch (error) {
        sealed = await this.#mended(group.first, group.after, error);
      }
      next = group.after > last ? undefined : this.#fetch(group.after, last);
      for (let segment = group.first; segment < group.after; segment += 1) {
        const from = (segment - group.first) * this.#layout.segmentSize;
        let plain: Buffer;
        try {
          plain = this.#segments.open(segment, sealed.subarray(from, from + this.#layout.segmentSize));
        } catch (error) {
          plain = await this.#openMended(segment, error);
        }
        if (buffer && segment === group.after - 1) giveBackBuffer(buffer);
        const base = this.#layout.plainStart(segment);
        yield plain.subarray(Math.max(0, start - base), Math.min(plain.length, end - base));
      }
    }
  }

  /** Segments `first` to `after` (exclusive) by the other way. @throws `error` where there is none */
  async #mended(first: number, after: number, error: unknown): Promise<Uint8Array> {
    if (!this.#mend || !isOfBlocks(error)) throw error;
    const { segmentSize } = this.#layout;
    return this.#mend(first * segmentSize, Math.min(after * segmentSize, this.#sealedSize));
  }

  /** The damage may be in the header, from which the key is derived: that is read again too. */
  async #openMended(segment: number, error: unknown): Promise<Buffer> {
    const sealed = await this.#mended(segment, segment + 1, error);
    const header = await (this.#mend as MendSealed)(0, this.#layout.headerSize);
    this.#segments = new SegmentOpener(this.#key, this.#sealedSize, header, this.#parameters);
    return this.#segments.open(segment, sealed);
  }

  #fetch(first: number, last: number): Group {
    const whole = this.#whole;
    this.#whole = undefined;
    const after = Math.min(last + 1, first - (first % SEGMENTS_PER_READ) + SEGMENTS_PER_READ);
    if (whole) return { first, after, reading: Promise.resolve({ ...whole, bytes: this.#slice(whole.bytes, first) }) };
    const { segmentSize } = this.#layout;
    const from = first * segmentSize;
    const to = Math.min(after * segmentSize, this.#sealedSize);
    const buffer = takeBuffer(to - from);
    const reading = this.#read(from, to, buffer).then((bytes) => ({ bytes, buffer }));
    // The failure of a read ahead is thrown when its turn comes; a consumer that stops before that is not concerned.
    reading.catch(() => {});
    return { first, after, reading };
  }

  #slice(whole: Uint8Array, firstSegment: number): Uint8Array {
    return whole.subarray(firstSegment * this.#layout.segmentSize);
  }
}

function isOfBlocks(error: unknown): boolean {
  return isDagpacsError(error, 'block-missing') || isDagpacsError(error, 'block-damaged');
}

/** Bytes that were read, and the buffer that may be reused after them. */
interface Reading {
  bytes: Uint8Array;
  buffer: Buffer;
}

interface Group {
  first: number;
  /** The segment after the group's last. */
  after: number;
  reading: Promise<Reading>;
}
