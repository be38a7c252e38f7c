import type { DictionaryEntry } from './dictionary.ts';
import { UN, type ValueRepresentation, vrFromCodes } from './vr.ts';

export const UNDEFINED_LENGTH = 0xffffffff;

/** What stands before a value; one object is filled again and again. */
export interface ElementHeader {
  vr: ValueRepresentation;
  /** Bytes of tag, VR and length. */
  size: number;
  length: number;
  /** What is wrong with it, if anything. */
  rule: string | undefined;
}

export function elementHeader(): ElementHeader {
  return { vr: UN, size: 8, length: 0, rule: undefined };
}

export function uint16(buffer: Buffer, at: number, bigEndian: boolean): number {
  const first = buffer[at] as number;
  const second = buffer[at + 1] as number;
  return bigEndian ? (first << 8) | second : (second << 8) | first;
}

export function uint32(buffer: Buffer, at: number, bigEndian: boolean): number {
  const first = uint16(buffer, at, bigEndian);
  const second = uint16(buffer, at + 2, bigEndian);
  return bigEndian ? first * 0x10000 + second : second * 0x10000 + first;
}

/**
 * Reads the VR and length of an explicit VR element (PS3.5 §7.1.2), of which at least 8 bytes are there.
 * @returns bytes that are needed from `at` on, or 0 where `out` is filled
 */
export function readExplicit(
  buffer: Buffer,
  at: number,
  available: number,
  bigEndian: boolean,
  entry: DictionaryEntry,
  out: ElementHeader,
): number {
  const first = buffer[at + 4] as number;
  const second = buffer[at + 5] as number;
  const vr = vrFromCodes(first, second);
  if (vr === undefined) return readOdd(buffer, at, available, bigEndian, entry, out);
  out.vr = vr;
  out.rule = undefined;
  if (!vr.long) {
    out.size = 8;
    out.length = uint16(buffer, at + 6, bigEndian);
    return 0;
  }
  if (available < 12) return 12;
  out.size = 12;
  out.length = uint32(buffer, at + 8, bigEndian);
  const short = uint16(buffer, at + 6, bigEndian);
  // The reserved bytes are zero; some old writers have a 16-bit length there, which shows where the other makes no sense.
  if (short !== 0) {
    out.rule = 'The reserved bytes after the VR are not zero (PS3.5 §7.1.2)';
    if (out.length > 0x7fffffff && out.length !== UNDEFINED_LENGTH) {
      out.size = 8;
      out.length = short;
    }
  }
  return 0;
}

/** A VR that the standard does not have: new ones have a 32-bit length (PS3.5 §7.1.2), older mistakes a 16-bit one. */
function readOdd(
  buffer: Buffer,
  at: number,
  available: number,
  bigEndian: boolean,
  entry: DictionaryEntry,
  out: ElementHeader,
): number {
  const first = buffer[at + 4] as number;
  const second = buffer[at + 5] as number;
  const short = uint16(buffer, at + 6, bigEndian);
  out.vr = entry.vr;
  if (first >= 0x20 && second >= 0x20 && first < 0x7f && second < 0x7f) {
    out.rule = 'A VR that the standard does not have (PS3.5 §6.2)';
    if (short !== 0) {
      out.size = 8;
      out.length = short;
      return 0;
    }
    if (available < 12) return 12;
    out.size = 12;
    out.length = uint32(buffer, at + 8, bigEndian);
    return 0;
  }
  out.rule = 'Encoded without a VR in an explicit VR data set (PS3.5 §7.1)';
  out.size = 8;
  out.length = uint32(buffer, at + 4, bigEndian);
  return 0;
}

/** True where the eight bytes at `at` read as the start of an explicit VR element. */
export function looksExplicit(buffer: Buffer, at: number): boolean {
  return vrFromCodes(buffer[at + 4] as number, buffer[at + 5] as number) !== undefined;
}
