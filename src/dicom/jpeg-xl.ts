import { undecodable } from './pixels.ts';

/** Bits from the least significant on (ISO/IEC 18181-1 §6.2). */
class Bits {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#at = start * 8;
  }

  read(count: number): number {
    let value = 0;
    for (let i = 0; i < count; i++, this.#at++) {
      const byte = this.#bytes[this.#at >> 3];
      if (byte === undefined) throw broken();
      value += ((byte >> (this.#at & 7)) & 1) * 2 ** i;
    }
    return value;
  }
}

const SIGNATURE = [0xff, 0x0a];
const BOX = 'JXL ';
/** Bits of a size, by the two that come before it. */
const WIDTHS = [9, 13, 18, 30];
/** Width to height, by the number of the ratio. */
const RATIOS: [number, number][] = [
  [1, 1],
  [12, 10],
  [4, 3],
  [3, 2],
  [16, 9],
  [5, 4],
  [2, 1],
];

function broken(): Error {
  return undecodable('A JPEG XL code stream or file with its size (ISO/IEC 18181-1 §9.2, 18181-2 §9)');
}

/** The size that a JPEG XL frame has, before anything is decoded. @throws DagpacsError `undecodable` */
export function readJpegXlSize(bytes: Uint8Array): { columns: number; rows: number } {
  const bits = new Bits(bytes, findStream(bytes) + SIGNATURE.length);
  const small = bits.read(1) === 1;
  const size = () => (small ? 8 * (1 + bits.read(5)) : 1 + bits.read(WIDTHS[bits.read(2)] as number));
  const rows = size();
  const ratio = RATIOS[bits.read(3) - 1];
  return { rows, columns: ratio ? Math.floor((rows * ratio[0]) / ratio[1]) : size() };
}

/** Where the code stream begins: at once, or in the first box that holds a part of it. */
function findStream(bytes: Uint8Array): number {
  if (bytes[0] === SIGNATURE[0] && bytes[1] === SIGNATURE[1]) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const typeAt = (at: number) => String.fromCharCode(...bytes.subarray(at + 4, at + 8));
  if (bytes.length < 12 || typeAt(0) !== BOX) throw broken();
  for (let at = 12, boxes = 0; at + 16 <= bytes.length && boxes < 64; boxes++) {
    const length = view.getUint32(at);
    const start = at + (length === 1 ? 16 : 8);
    const type = typeAt(at);
    if (type === 'jxlc') return start;
    // A partial one begins with its number.
    if (type === 'jxlp') return start + 4;
    const whole = length === 1 ? Number(view.getBigUint64(at + 8)) : length;
    if (whole < 8) throw broken();
    at += whole;
  }
  throw broken();
}
