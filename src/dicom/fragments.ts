/** More than these are not followed: a header that says so is a mistake or an attack. */
const MAX_FRAGMENTS = 1 << 20;

/** Bytes at either end of a fragment that are looked at. */
export const PEEK = 16;

/** Where the fragments of an encapsulated Pixel Data lie, and what their ends look like (PS3.5 §A.4). */
export class Fragments {
  /** Offset of the first fragment's item: what Basic Offset Table entries count from. */
  origin = 0;
  readonly offsets: number[] = [];
  readonly lengths: number[] = [];
  /** The fragment begins as a code stream does. */
  readonly starts: boolean[] = [];
  /** The fragment ends as a code stream does. */
  readonly ends: boolean[] = [];
  /** Entries of the Basic Offset Table. */
  basicOffsets: number[] = [];
  /** There were more fragments than are followed. */
  overflow = false;

  add(offset: number, length: number, starts: boolean): void {
    if (this.offsets.length >= MAX_FRAGMENTS) {
      this.overflow = true;
      return;
    }
    this.offsets.push(offset);
    this.lengths.push(length);
    this.starts.push(starts);
    this.ends.push(false);
  }

  /** Of the fragment that was added last. */
  markEnd(ends: boolean): void {
    if (!this.overflow) this.ends[this.ends.length - 1] = ends;
  }
}

/** True where bytes at `at` open a JPEG, JPEG-LS, JPEG 2000, HTJ2K or JPEG XL code stream or box file. */
export function startsCodeStream(buffer: Uint8Array, at: number, end: number): boolean {
  if (end - at < 2) return false;
  const first = buffer[at] as number;
  const second = buffer[at + 1] as number;
  if (first === 0xff) return second === 0xd8 || second === 0x4f || second === 0x0a;
  // The signature box of JP2, JPH and JPEG XL files.
  return end - at >= 12 && first === 0 && second === 0 && buffer[at + 3] === 0x0c && buffer[at + 8] === 0x0d;
}

/** True where `[from, end)` ends with EOI or EOC (both 0xFFD9), but for padding. */
export function endsCodeStream(buffer: Uint8Array, from: number, end: number): boolean {
  let last = end - 1;
  while (last > from && buffer[last] === 0) last--;
  return last > from && buffer[last] === 0xd9 && buffer[last - 1] === 0xff;
}
