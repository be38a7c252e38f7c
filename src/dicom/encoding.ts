import { lookup } from './dictionary.ts';
import { looksExplicit, UNDEFINED_LENGTH, uint16, uint32 } from './element-header.ts';
import type { Level } from './level.ts';
import type { Warnings } from './warnings.ts';

/**
 * Looks at the first element of a data set, whole or item, and sets the level to how it is really encoded: some writers say
 * one thing and do another.
 * @returns true where the byte order is another one, so that the element has to be read again
 */
export function settleEncoding(level: Level, tag: number, buffer: Buffer, pos: number, warnings: Warnings): boolean {
  const explicit = looksExplicit(buffer, pos);
  if (!level.parent) {
    const other = uint16(buffer, pos, !level.bigEndian);
    const group = Math.floor(tag / 0x10000);
    // Data sets begin with a low group, of which the wrong byte order makes a high one that ends in two zeros.
    if (other < group && group % 0x100 === 0) {
      warnings.dataset('The byte order is not that of the transfer syntax (PS3.5 §7.3)');
      level.bigEndian = !level.bigEndian;
      level.checked = false;
      return true;
    }
  }
  if (level.implicit && explicit && prefersExplicit(level, tag, buffer, pos)) {
    warnings.dataset('Explicit VR in an implicit VR data set (PS3.5 §A.1)');
    level.implicit = false;
  } else if (!level.implicit && !explicit && prefersImplicit(level, buffer, pos)) {
    warnings.dataset('Implicit VR in an explicit VR data set (PS3.5 §A.2)');
    level.implicit = true;
  }
  return false;
}

/** Two letters that are a VR may be the low half of a length, too; inside an item that needs more than a glance. */
function prefersExplicit(level: Level, tag: number, buffer: Buffer, pos: number): boolean {
  if (!level.parent || level.end - 8 < uint32(buffer, pos + 4, level.bigEndian)) return true;
  return lookup(tag).vr.name === String.fromCharCode(buffer[pos + 4] as number, buffer[pos + 5] as number);
}

function prefersImplicit(level: Level, buffer: Buffer, pos: number): boolean {
  const first = buffer[pos + 4] as number;
  const second = buffer[pos + 5] as number;
  const letters = first >= 0x41 && first <= 0x5a && second >= 0x41 && second <= 0x5a;
  const length = uint32(buffer, pos + 4, level.bigEndian);
  return !letters && (length < 0x10000 || length === UNDEFINED_LENGTH);
}
