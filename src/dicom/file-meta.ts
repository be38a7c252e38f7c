import { looksExplicit, uint16, uint32 } from './element-header.ts';
import { vrFromCodes } from './vr.ts';
import type { Warnings } from './warnings.ts';

/** Longer values of group 0002 (private information) are passed over. */
const MAX_META_VALUE = 65536;

/** Text of a UID as it lies in a file: padded with NUL, or with spaces by mistake. */
function uidText(buffer: Buffer, start: number, end: number): string {
  return buffer
    .toString('latin1', start, end)
    .replace(/[\0 ]+$/, '')
    .trim();
}

/** Reads the File Meta Information (PS3.10 §7.1), explicit VR little-endian, element by element. */
export class FileMetaParser {
  transferSyntaxUID = '';
  mediaStorageSOPClassUID = '';
  mediaStorageSOPInstanceUID = '';
  /** Bytes wanted from the position returned last; 0: none. */
  need = 0;
  /** Bytes to pass over from the position returned last. */
  skip = 0;
  /** The position returned last is that of the data set. */
  done = false;
  /** Where group 0002 ends by its own word. */
  #end: number | undefined;
  #any = false;
  readonly #warnings: Warnings;

  constructor(warnings: Warnings) {
    this.#warnings = warnings;
  }

  /** Takes the complete elements of `[from, to)`, which lies `base` bytes into the stream. */
  parse(buffer: Buffer, from: number, to: number, base: number): number {
    let pos = from;
    this.need = 0;
    this.skip = 0;
    for (;;) {
      // Compressed bytes may follow, which can look like anything: then the group's length counts.
      if (base + pos === this.#end && this.transferSyntaxUID.endsWith('.99')) return this.#finish(pos, base);
      if (to - pos < 8) {
        this.need = 8;
        return pos;
      }
      if (uint16(buffer, pos, false) !== 0x0002) return this.#finish(pos, base);
      const vr = vrFromCodes(buffer[pos + 4] as number, buffer[pos + 5] as number);
      if (!looksExplicit(buffer, pos)) this.#warnings.dataset('Group 0002 is not explicit VR (PS3.10 §7.1)');
      const size = vr?.long ? 12 : 8;
      if (to - pos < size) {
        this.need = size;
        return pos;
      }
      const length = vr && !vr.long ? uint16(buffer, pos + 6, false) : uint32(buffer, pos + size - 4, false);
      if (length > MAX_META_VALUE) {
        this.skip = size + length;
        if (to - pos < this.skip) return pos;
        pos += this.skip;
        this.skip = 0;
        continue;
      }
      if (to - pos < size + length) {
        this.need = size + length;
        return pos;
      }
      this.#take(uint16(buffer, pos + 2, false), buffer, pos + size, length, base);
      pos += size + length;
    }
  }

  #take(element: number, buffer: Buffer, start: number, length: number, base: number): void {
    const end = start + length;
    this.#any = true;
    if (element === 0x0000 && length === 4) this.#end = base + end + uint32(buffer, start, false);
    else if (element === 0x0002) this.mediaStorageSOPClassUID = uidText(buffer, start, end);
    else if (element === 0x0003) this.mediaStorageSOPInstanceUID = uidText(buffer, start, end);
    else if (element === 0x0010) this.transferSyntaxUID = uidText(buffer, start, end);
  }

  #finish(pos: number, base: number): number {
    this.done = true;
    // A data set without any group 0002 is told of elsewhere.
    if (this.#any && this.#end === undefined) this.#warnings.attribute(0x00020000, 'Missing (PS3.10 §7.1)');
    else if (this.#end !== undefined && this.#end !== base + pos)
      this.#warnings.attribute(0x00020000, 'Not the length of the group (PS3.5 §7.2)');
    return pos;
  }
}
