/** What the proof needs of bytes, with nothing but what browsers have too. */

export type Hex = `0x${string}`;

/** Plain bytes: what WebCrypto takes. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** The SHA-256 of the concatenation of `parts`. */
export async function sha256(...parts: Uint8Array[]): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', concat(parts)));
}

export function concat(parts: readonly Uint8Array[]): Bytes {
  const [only] = parts;
  if (only && parts.length === 1 && only.buffer instanceof ArrayBuffer) return only as Bytes;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function toHex(bytes: Uint8Array): Hex {
  return `0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** The bytes of lower-case hexadecimal digits behind 0x; undefined for any other text, so that each value has one text. */
export function fromHex(text: string): Bytes | undefined {
  if (!/^0x(?:[0-9a-f]{2})*$/.test(text)) return undefined;
  return Uint8Array.from({ length: text.length / 2 - 1 }, (_, i) =>
    Number.parseInt(text.slice(2 * i + 2, 2 * i + 4), 16),
  );
}

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';
const CID_SIZE = 36;
/** CIDv1, dag-cbor, sha2-256 of 32 bytes. */
const CID_PREFIX = [1, 0x71, 0x12, 32];

/**
 * The binary form of a block's CID as the bridge writes it: base32, CIDv1, dag-cbor, sha2-256. Undefined for any other
 * text; two texts never give the same bytes.
 */
export function dagCborCid(text: string): Bytes | undefined {
  if (text[0] !== 'b') return undefined;
  const bytes: number[] = [];
  let bits = 0;
  let held = 0;
  for (const letter of text.slice(1)) {
    const value = BASE32.indexOf(letter);
    if (value < 0) return undefined;
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((held >> bits) & 0xff);
  }
  const spare = held & ((1 << bits) - 1);
  if (bytes.length !== CID_SIZE || bits >= 5 || spare !== 0) return undefined;
  return CID_PREFIX.every((byte, i) => bytes[i] === byte) ? Uint8Array.from(bytes) : undefined;
}

/** The digest that a CID's binary form ends with: the SHA-256 of the block. */
export function digestOfCid(cid: Uint8Array): Hex {
  return toHex(cid.subarray(CID_PREFIX.length));
}
