import { ByteReader } from './byte-reader.ts';
import { lookup } from './dictionary.ts';
import { elementHeader, readExplicit, UNDEFINED_LENGTH, uint16, uint32 } from './element-header.ts';
import { settleEncoding } from './encoding.ts';
import { implicitVR, noteCreator } from './implicit-vr.ts';
import { childLevel, type Level, rootLevel } from './level.ts';
import { undecodable } from './pixels.ts';
import { UN, type ValueRepresentation, vrNamed } from './vr.ts';
import { Warnings } from './warnings.ts';
import {
  CLOSE_ITEM,
  CLOSE_SEQUENCE,
  elementStart,
  ITEM,
  ITEM_DELIMITER,
  OPEN_ITEM,
  SEQUENCE_DELIMITER,
} from './write-element.ts';

/** A data set as it is stored, and what is to become of it. */
export interface Rewriting {
  implicit: boolean;
  bigEndian: boolean;
  /** Offset of the source's first byte. */
  offset: number;
  /** Pixel Representation: what US or SS an implicit VR element is. */
  signed: boolean;
  /** Elements at the top in place of the stored ones, as they are to be written; undefined leaves out. */
  changes: ReadonlyMap<number, Buffer | undefined>;
  /** In place of Pixel Data: the whole element. */
  pixels?: () => AsyncIterable<Uint8Array>;
  /** Bytes of a unit of Pixel Data that has to be turned round though its VR does not say so. */
  pixelUnit?: number;
}

const PIXEL_DATA = 0x7fe00010;
const SQ = vrNamed('SQ');
const CHUNK_BYTES = 64 * 1024;

/**
 * Writes a data set anew in explicit VR little-endian (PS3.5 §A.2), in one pass and with only small pieces in memory.
 * Sequences get undefined length, group lengths are left out, values stay as they are but for byte order and padding.
 * @throws DagpacsError `undecodable` where the data set cannot be followed
 */
export async function* rewriteDataset(
  source: AsyncIterable<Uint8Array>,
  rewriting: Rewriting,
): AsyncGenerator<Uint8Array, void, void> {
  const reader = new ByteReader(source, rewriting.offset);
  const writer = new Rewriter(reader, rewriting);
  let held: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const piece of writer.pieces()) {
      held.push(piece);
      size += piece.length;
      if (size < CHUNK_BYTES) continue;
      yield held.length === 1 ? piece : Buffer.concat(held);
      held = [];
      size = 0;
    }
    if (size > 0) yield Buffer.concat(held);
  } finally {
    await reader.close();
  }
}

class Rewriter {
  readonly #reader: ByteReader;
  readonly #rewriting: Rewriting;
  readonly #root: Level;
  #top: Level;
  #pixelsPassed = false;
  readonly #header = elementHeader();
  readonly #warnings = new Warnings();

  constructor(reader: ByteReader, rewriting: Rewriting) {
    this.#reader = reader;
    this.#rewriting = rewriting;
    this.#root = rootLevel(rewriting.implicit, rewriting.bigEndian);
    this.#top = this.#root;
  }

  async *pieces(): AsyncGenerator<Uint8Array, void, void> {
    const reader = this.#reader;
    for (;;) {
      while (this.#top !== this.#root && reader.position >= this.#top.end) yield this.#close();
      if (!(await reader.hold(8))) break;
      const { bigEndian, sequence } = this.#top;
      const group = uint16(reader.buffer, reader.at, bigEndian);
      const tag = group * 0x10000 + uint16(reader.buffer, reader.at + 2, bigEndian);
      if (sequence || group === 0xfffe) {
        const piece = this.#structure(tag);
        if (piece) yield piece;
        continue;
      }
      // What follows the data set is padding, of no use to anyone.
      if (tag === 0 && this.#top === this.#root) break;
      if (!(yield* this.#element(tag))) break;
    }
    while (this.#top !== this.#root) yield this.#close();
  }

  #close(): Buffer {
    const { sequence, parent } = this.#top;
    this.#top = parent as Level;
    return sequence ? CLOSE_SEQUENCE : CLOSE_ITEM;
  }

  /** Items and delimiters (PS3.5 §7.5), with the leniency of the scan. */
  #structure(tag: number): Buffer | undefined {
    const reader = this.#reader;
    const level = this.#top;
    const length = uint32(reader.buffer, reader.at + 4, level.bigEndian);
    if (!level.sequence && level !== this.#root) {
      // An item whose delimiter is missing ends where something stands that cannot be in it.
      if (tag === ITEM_DELIMITER) reader.advance(8);
      return this.#close();
    }
    reader.advance(8);
    if (!level.sequence || tag === ITEM_DELIMITER) return undefined;
    if (tag === SEQUENCE_DELIMITER) return this.#close();
    if (tag !== ITEM) throw undecodable('A sequence that holds items (PS3.5 §7.5)');
    this.#top = childLevel(level, false, reader.position, length === UNDEFINED_LENGTH ? undefined : length);
    return OPEN_ITEM;
  }

  /** One element, or the start of a sequence. @returns false where the data set is over */
  async *#element(tag: number): AsyncGenerator<Uint8Array, boolean, void> {
    const reader = this.#reader;
    const level = this.#top;
    const header = this.#header;
    if (!level.checked) {
      level.checked = true;
      if (settleEncoding(level, tag, reader.buffer, reader.at, this.#warnings)) return true;
    }
    const entry = lookup(tag);
    if (level.implicit) {
      header.size = 8;
      header.length = uint32(reader.buffer, reader.at + 4, level.bigEndian);
      header.vr = implicitVR(level, tag, entry, this.#rewriting.signed);
      header.rule = undefined;
    } else {
      await reader.hold(12);
      if (readExplicit(reader.buffer, reader.at, reader.available, level.bigEndian, entry, header) > 0) return false;
      if (header.rule && level === this.#root && this.#pixelsPassed) return false;
    }
    const { vr, size, length } = header;
    reader.advance(size);
    const undefinedLength = length === UNDEFINED_LENGTH;
    if (!undefinedLength && reader.position + length > level.end)
      throw undecodable('A value that lies in what it is part of (PS3.5 §7.5)');
    const top = level === this.#root;
    const { changes, pixels } = this.#rewriting;
    const replaced = top && tag === PIXEL_DATA && pixels !== undefined;
    if (top && tag === PIXEL_DATA) this.#pixelsPassed = true;
    if (replaced || (top && changes.has(tag)) || tag % 0x10000 === 0) {
      if (replaced) yield* pixels();
      else if (top && changes.get(tag)) yield changes.get(tag) as Buffer;
      await this.#pass(undefinedLength, length);
      return true;
    }
    if (undefinedLength && vr.kind === 'bytes' && (vr !== UN || tag === PIXEL_DATA)) {
      yield elementStart(tag, vr === UN ? vrNamed('OB') : vr, UNDEFINED_LENGTH);
      yield* this.#fragments();
      return true;
    }
    if (undefinedLength || vr.kind === 'sequence') {
      yield elementStart(tag, SQ, UNDEFINED_LENGTH);
      this.#top = childLevel(level, true, reader.position, undefinedLength ? undefined : length);
      if (vr !== UN) return true;
      // The items of what is unknown are implicit VR little-endian (PS3.5 §6.2.2).
      this.#top.implicit = true;
      this.#top.bigEndian = false;
      return true;
    }
    yield* this.#value(level, tag, vr, length);
    return true;
  }

  async *#value(level: Level, tag: number, vr: ValueRepresentation, length: number): AsyncGenerator<Uint8Array> {
    const reader = this.#reader;
    const odd = length % 2;
    yield elementStart(tag, vr, length + odd);
    if (level.implicit && length <= 64 && (await reader.hold(length))) {
      // A private creator tells the VRs of its block.
      const text = reader.buffer.toString('latin1', reader.at, reader.at + length).trim();
      noteCreator(level, tag, { vr: vr.name, Value: [text] });
    }
    const { pixelUnit } = this.#rewriting;
    const turned = tag === PIXEL_DATA && level === this.#root ? pixelUnit : undefined;
    // A tag is two numbers of 16 bits.
    const unit = turned ?? (!level.bigEndian || vr === UN ? 1 : vr.kind === 'tag' ? 2 : vr.unit);
    let left = length;
    while (left > 0) {
      const whole = Math.min(left, unit);
      if (!(await reader.hold(whole))) throw undecodable('A value that is there to its end (PS3.5 §7.1)');
      const count = whole < unit ? whole : Math.min(left, reader.available) - (Math.min(left, reader.available) % unit);
      const chunk = reader.buffer.subarray(reader.at, reader.at + count);
      reader.advance(count);
      left -= count;
      yield unit === 1 || count < unit ? chunk : swapped(chunk, unit);
    }
    if (odd) yield Buffer.from(vr.kind === 'bytes' || vr.name === 'UI' ? '\0' : ' ', 'latin1');
  }

  /** Encapsulated fragments, as they are; they are little-endian in any case (PS3.5 §A.4). */
  async *#fragments(): AsyncGenerator<Uint8Array> {
    const reader = this.#reader;
    for (;;) {
      if (!(await reader.hold(8))) break;
      const tag = uint16(reader.buffer, reader.at, false) * 0x10000 + uint16(reader.buffer, reader.at + 2, false);
      const length = uint32(reader.buffer, reader.at + 4, false);
      if (tag !== ITEM || length === UNDEFINED_LENGTH) {
        if (tag === SEQUENCE_DELIMITER) reader.advance(8);
        break;
      }
      yield* reader.take(8 + length);
    }
    yield CLOSE_SEQUENCE;
  }

  async #pass(undefinedLength: boolean, length: number): Promise<void> {
    const passed = undefinedLength ? this.#fragments() : this.#reader.take(length);
    for await (const _ of passed);
  }
}

function swapped(chunk: Buffer, unit: number): Buffer {
  const copy = Buffer.from(chunk);
  if (unit === 2) return copy.swap16();
  return unit === 4 ? copy.swap32() : copy.swap64();
}
