import { DagpacsError } from '../kernel/errors.ts';
import { lookup, tagKey } from './dictionary.ts';
import { UNDEFINED_LENGTH, uint16, uint32 } from './element-header.ts';
import type { TransferSyntax } from './transfer-syntax.ts';
import { UN, type ValueRepresentation, vrFromCodes, vrNamed } from './vr.ts';

const ITEM = 0xfffee000;
const ITEM_DELIMITER = 0xfffee00d;
const SEQUENCE_DELIMITER = 0xfffee0dd;
const PIXEL_REPRESENTATION = 0x00280103;
const SS = vrNamed('SS');
const MAX_DEPTH = 64;

/** A sequence or item that is open in the source. */
interface Open {
  sequence: boolean;
  /** Offset at which it ends; Infinity where a delimiter says so. */
  end: number;
}

/**
 * A native data set's bytes in another native transfer syntax (PS3.5 Annex A), as they come: values pass through, with their bytes
 * swapped where the order differs. Sequences and items get undefined lengths, since theirs are not known ahead.
 * @throws DagpacsError `malformed-dataset` for what cannot be followed
 */
export async function* reencode(
  source: AsyncIterable<Uint8Array>,
  from: TransferSyntax,
  to: TransferSyntax,
): AsyncGenerator<Uint8Array> {
  const encoder = new Reencoder(from, to);
  for await (const chunk of source) yield* encoder.push(chunk);
  yield* encoder.end();
}

class Reencoder {
  readonly #from: TransferSyntax;
  readonly #to: TransferSyntax;
  #held: Buffer = Buffer.alloc(0);
  /** Offset of `#held` in the source. */
  #position = 0;
  /** Bytes of a value that are still to come, the unit in which they are passed on, and whether it is swapped. */
  #valueLeft = 0;
  #unit = 1;
  #swaps = false;
  #open: Open[] = [];
  #signed = false;
  #isPixelRepresentation = false;
  #out: Uint8Array[] = [];

  constructor(from: TransferSyntax, to: TransferSyntax) {
    this.#from = from;
    this.#to = to;
  }

  push(chunk: Uint8Array): Uint8Array[] {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    this.#held = this.#held.length > 0 ? Buffer.concat([this.#held, bytes]) : bytes;
    while (this.#step());
    // What is held back outlives the chunk.
    this.#held = Buffer.from(this.#held);
    return this.#take();
  }

  end(): Uint8Array[] {
    this.#closeEnded();
    const delimited = this.#open.some(({ end }) => end !== Number.POSITIVE_INFINITY);
    if (this.#held.length > 0 || this.#valueLeft > 0 || delimited) throw malformed('it ends inside an element');
    while (this.#open.length > 0) this.#close();
    return this.#take();
  }

  #take(): Uint8Array[] {
    const out = this.#out;
    this.#out = [];
    return out;
  }

  #advance(count: number): void {
    this.#held = this.#held.subarray(count);
    this.#position += count;
  }

  /** @returns false where more bytes are needed */
  #step(): boolean {
    if (this.#valueLeft > 0) return this.#passValue();
    this.#closeEnded();
    if (this.#held.length < 8) return false;
    const { bigEndian } = this.#from;
    const tag = uint16(this.#held, 0, bigEndian) * 0x10000 + uint16(this.#held, 2, bigEndian);
    return tag >= ITEM && tag <= SEQUENCE_DELIMITER ? this.#structure(tag) : this.#element(tag);
  }

  #passValue(): boolean {
    let count = Math.min(this.#valueLeft, this.#held.length);
    if (count < this.#valueLeft) count -= count % this.#unit;
    if (count === 0) return false;
    const value = Buffer.from(this.#held.subarray(0, count));
    if (this.#isPixelRepresentation) this.#signed = uint16(value, 0, this.#from.bigEndian) === 1;
    if (this.#swaps && this.#unit > 1 && count % this.#unit === 0) swap(value, this.#unit);
    this.#out.push(value);
    this.#valueLeft -= count;
    this.#advance(count);
    return true;
  }

  /** Items and delimiters. */
  #structure(tag: number): boolean {
    const length = uint32(this.#held, 4, this.#from.bigEndian);
    const top = this.#open.at(-1);
    this.#advance(8);
    if (tag === ITEM) {
      if (!top?.sequence) throw malformed('an item outside of a sequence');
      this.#begin(false, length);
      this.#write(ITEM, undefined, UNDEFINED_LENGTH);
    } else if (tag === ITEM_DELIMITER || tag === SEQUENCE_DELIMITER) {
      const matches = top && top.sequence === (tag === SEQUENCE_DELIMITER) && top.end === Number.POSITIVE_INFINITY;
      if (!matches) throw malformed('a delimiter that ends nothing');
      this.#close();
    }
    return true;
  }

  #element(tag: number): boolean {
    const { bigEndian, implicit } = this.#from;
    if (this.#open.at(-1)?.sequence) throw malformed('an element between items');
    const entry = lookup(tag);
    let vr = entry.signedByPixels && this.#signed ? SS : entry.vr;
    let size = 8;
    let length = uint32(this.#held, 4, bigEndian);
    if (!implicit) {
      vr = vrFromCodes(this.#held[4] as number, this.#held[5] as number) ?? fail('a VR that is not known');
      if (vr.long) {
        if (this.#held.length < 12) return false;
        size = 12;
        length = uint32(this.#held, 8, bigEndian);
      } else length = uint16(this.#held, 6, bigEndian);
    }
    this.#advance(size);
    const isSequence = vr.kind === 'sequence' || (implicit && length === UNDEFINED_LENGTH);
    if (isSequence) {
      this.#write(tag, vrNamed('SQ'), UNDEFINED_LENGTH);
      this.#begin(true, length);
      return true;
    }
    if (length === UNDEFINED_LENGTH) throw malformed(`${tagKey(tag)} has no length`);
    // A value that a short VR has no room for is UN in an explicit data set (PS3.5 §6.2.2).
    if (!vr.long && length > 0xffff && !this.#to.implicit) vr = UN;
    this.#write(tag, vr, length);
    this.#valueLeft = length;
    this.#unit = unitOf(vr);
    this.#swaps = bigEndian !== this.#to.bigEndian;
    this.#isPixelRepresentation = tag === PIXEL_REPRESENTATION && this.#open.length === 0 && length === 2;
    return true;
  }

  #begin(sequence: boolean, length: number): void {
    if (this.#open.length >= MAX_DEPTH) throw malformed('sequences are nested too deeply');
    const end = length === UNDEFINED_LENGTH ? Number.POSITIVE_INFINITY : this.#position + length;
    this.#open.push({ sequence, end });
  }

  #closeEnded(): void {
    for (let top = this.#open.at(-1); top && this.#position >= top.end; top = this.#open.at(-1)) {
      if (this.#position > top.end) throw malformed('an element exceeds what holds it');
      this.#close();
    }
  }

  #close(): void {
    const top = this.#open.pop();
    this.#write(top?.sequence ? SEQUENCE_DELIMITER : ITEM_DELIMITER, undefined, 0);
  }

  /** Tag, VR and length; items and delimiters have no VR. */
  #write(tag: number, vr: ValueRepresentation | undefined, length: number): void {
    const { implicit, bigEndian } = this.#to;
    const plain = implicit || !vr;
    const head = Buffer.alloc(plain || !vr?.long ? 8 : 12);
    if (bigEndian) head.writeUInt32BE(tag, 0);
    else {
      head.writeUInt16LE(Math.floor(tag / 0x10000), 0);
      head.writeUInt16LE(tag % 0x10000, 2);
    }
    if (!plain) head.write(vr.name, 4, 'latin1');
    if (!plain && !vr.long) {
      if (bigEndian) head.writeUInt16BE(length, 6);
      else head.writeUInt16LE(length, 6);
    } else if (bigEndian) head.writeUInt32BE(length, head.length - 4);
    else head.writeUInt32LE(length, head.length - 4);
    this.#out.push(head);
  }
}

/** An AT value is two numbers of 2 bytes. */
function unitOf(vr: ValueRepresentation): number {
  return vr.kind === 'tag' ? 2 : vr.unit;
}

function swap(bytes: Buffer, unit: number): void {
  if (unit === 2) bytes.swap16();
  else if (unit === 4) bytes.swap32();
  else bytes.swap64();
}

function fail(rule: string): never {
  throw malformed(rule);
}

function malformed(rule: string): DagpacsError {
  const subject = { attribute: 'DataSet', rule };
  return new DagpacsError('malformed-dataset', 'The data set cannot be written in another transfer syntax', subject);
}
