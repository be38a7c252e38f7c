import { UNDEFINED_LENGTH, uint16, uint32 } from './element-header.ts';
import { endsCodeStream, Fragments, PEEK, startsCodeStream } from './fragments.ts';

const ITEM = 0xfffee000;
const SEQUENCE_DELIMITER = 0xfffee0dd;
/** Entries beyond these bytes belong to more fragments than are followed. */
const MAX_OFFSET_TABLE = 4 << 20;

/** Tag of an item or delimiter; encapsulated values are little-endian (PS3.5 §A.4). */
function tagAt(buffer: Buffer, at: number): number {
  return uint16(buffer, at, false) * 0x10000 + uint16(buffer, at + 2, false);
}

/** Follows one encapsulated value from item to item; of the fragments only both ends are looked at. */
export class FragmentParser {
  readonly fragments = new Fragments();
  /** Offset of the first byte of the value, its offset table's item. */
  readonly start: number;
  /** Bytes wanted from the position returned last; 0: none. */
  need = 0;
  /** Bytes to pass over from the position returned last. */
  skip = 0;
  done = false;
  /** What ended the value before its delimiter. */
  rule: string | undefined;
  /** Offset after the last item. */
  end: number;
  #sawTable = false;
  #tail = false;

  constructor(start: number) {
    this.start = start;
    this.end = start;
  }

  /** Takes what it can of `[from, to)`, which lies `base` bytes into the stream, and returns how far it came. */
  parse(buffer: Buffer, from: number, to: number, base: number): number {
    let pos = from;
    this.need = 0;
    this.skip = 0;
    while (!this.done) {
      if (this.#tail) {
        if (to - pos < PEEK) {
          this.need = PEEK;
          return pos;
        }
        this.fragments.markEnd(endsCodeStream(buffer, pos, pos + PEEK));
        pos += PEEK;
        this.end = base + pos;
        this.#tail = false;
        continue;
      }
      if (to - pos < 8) {
        this.need = 8;
        return pos;
      }
      const tag = tagAt(buffer, pos);
      const length = uint32(buffer, pos + 4, false);
      if (tag === SEQUENCE_DELIMITER) {
        this.done = true;
        return pos + 8;
      }
      if (tag !== ITEM || length === UNDEFINED_LENGTH) {
        this.rule = 'An item that is not a fragment (PS3.5 §A.4)';
        this.done = true;
        return pos;
      }
      const next = this.#sawTable
        ? this.#fragment(buffer, pos, to, base, length)
        : this.#table(buffer, pos, to, base, length);
      if (next === pos && this.need > 0) return pos;
      pos = next;
      if (this.skip > 0) {
        if (to - pos < this.skip) return pos;
        pos += this.skip;
        this.skip = 0;
      }
    }
    return pos;
  }

  #table(buffer: Buffer, pos: number, to: number, base: number, length: number): number {
    const kept = length <= MAX_OFFSET_TABLE;
    if (kept && to - pos < 8 + length) {
      this.need = 8 + length;
      return pos;
    }
    this.#sawTable = true;
    this.end = base + pos + 8 + length;
    this.fragments.origin = this.end;
    if (!kept) {
      this.skip = length;
      return pos + 8;
    }
    for (let at = 0; at + 4 <= length; at += 4) this.fragments.basicOffsets.push(uint32(buffer, pos + 8 + at, false));
    return pos + 8 + length;
  }

  #fragment(buffer: Buffer, pos: number, to: number, base: number, length: number): number {
    const whole = length <= 2 * PEEK;
    const wanted = 8 + (whole ? length : PEEK);
    if (to - pos < wanted) {
      this.need = wanted;
      return pos;
    }
    const value = pos + 8;
    this.fragments.add(base + value, length, startsCodeStream(buffer, value, pos + wanted));
    if (whole) {
      this.fragments.markEnd(endsCodeStream(buffer, value, value + length));
      this.end = base + value + length;
    } else {
      this.skip = length - 2 * PEEK;
      this.#tail = true;
    }
    return pos + wanted;
  }
}
