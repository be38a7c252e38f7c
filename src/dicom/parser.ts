import { DagpacsError } from '../kernel/errors.ts';
import { specificCharacterSet } from './charset.ts';
import { type DictionaryEntry, lookup } from './dictionary.ts';
import { elementHeader, readExplicit, UNDEFINED_LENGTH, uint16, uint32 } from './element-header.ts';
import { settleEncoding } from './encoding.ts';
import { FragmentParser } from './fragment-parser.ts';
import type { Fragments } from './fragments.ts';
import type { ExtendedOffsets, NativePixels } from './frames.ts';
import { HeaderBuilder, type HeaderLimits } from './header-builder.ts';
import { isIdentified } from './identity.ts';
import { implicitVR, noteCreator } from './implicit-vr.ts';
import { decodeElement, type ValueContext } from './json.ts';
import { childLevel, type Level, ordered, rootLevel } from './level.ts';
import type { BulkValue, DicomElement } from './model.ts';
import { UN, type ValueRepresentation, vrNamed } from './vr.ts';
import type { Warnings } from './warnings.ts';

const ITEM = 0xfffee000;
const ITEM_DELIMITER = 0xfffee00d;
const SEQUENCE_DELIMITER = 0xfffee0dd;
const SPECIFIC_CHARACTER_SET = 0x00080005;
const PIXEL_REPRESENTATION = 0x00280103;
const FLOAT_PIXEL_DATA = 0x7fe00008;
const DOUBLE_FLOAT_PIXEL_DATA = 0x7fe00009;
const PIXEL_DATA = 0x7fe00010;
const EXTENDED_OFFSETS = 0x7fe00001;
const EXTENDED_LENGTHS = 0x7fe00002;
const SQ = vrNamed('SQ');
/** Open sequences at once, at most. */
const MAX_OPEN = 100_000;
/** An Extended Offset Table beyond this belongs to more frames than are followed. */
const MAX_EXTENDED_TABLE = 8 << 20;

/**
 * Parses the elements of a data set (PS3.5 §7) from a window that moves over the stream. It takes what is complete and says
 * what it needs next; open sequences are a list, so that nesting costs no stack.
 */
export class DatasetParser implements ValueContext {
  readonly extended: ExtendedOffsets = {};
  /** Bytes wanted from the position returned last; 0: none. */
  need = 0;
  /** Bytes to pass over from the position returned last; Infinity: all the rest. */
  skip = 0;
  native: NativePixels | undefined;
  fragments: Fragments | undefined;
  /** Pixel Data has been passed: what cannot be read from here on is padding. */
  pixelsPassed = false;
  readonly root: Level;
  #top: Level;
  #fragmentParser: FragmentParser | undefined;
  #fragmentPath: string | undefined;
  #tag = 0;
  #signed = false;
  readonly #builder: HeaderBuilder;
  readonly #warnings: Warnings;
  readonly #header = elementHeader();

  constructor(implicit: boolean, bigEndian: boolean, limits: HeaderLimits, warnings: Warnings) {
    this.root = rootLevel(implicit, bigEndian);
    this.#top = this.root;
    this.#builder = new HeaderBuilder(limits, warnings);
    this.#warnings = warnings;
  }

  get bigEndian(): boolean {
    return this.#top.bigEndian;
  }

  get charset(): Level['charset'] {
    return this.#top.charset;
  }

  readonly warn = (rule: string): void => this.#warnings.attribute(this.#tag, rule);

  get bulk(): Record<string, BulkValue> {
    return this.#builder.bulk;
  }

  /** Tag of the element that was looked at last. */
  get tag(): number {
    return this.#fragmentParser ? PIXEL_DATA : this.#tag;
  }

  /** No sequence or fragment is open. */
  get atRoot(): boolean {
    return this.#top === this.root && !this.#fragmentParser;
  }

  /**
   * Takes the complete elements of `[from, to)`, which lies `base` bytes into the stream.
   * @returns the position after them; {@link need} or {@link skip} says what comes next
   * @throws DagpacsError `malformed-dataset`
   */
  parse(buffer: Buffer, from: number, to: number, base: number): number {
    let pos = from;
    this.need = 0;
    this.skip = 0;
    for (;;) {
      if (this.#fragmentParser) {
        pos = this.#parseFragments(this.#fragmentParser, buffer, pos, to, base);
        if (this.#fragmentParser) return pos;
        continue;
      }
      while (base + pos >= this.#top.end) this.#close(base + pos, true);
      if (to - pos < 8) {
        this.need = 8;
        return pos;
      }
      const level = this.#top;
      const group = uint16(buffer, pos, level.bigEndian);
      const tag = group * 0x10000 + uint16(buffer, pos + 2, level.bigEndian);
      const next =
        level.sequence || group === 0xfffe
          ? this.#structure(level, tag, buffer, pos, base)
          : this.#element(level, tag, buffer, pos, to, base);
      if (this.need > 0) return pos;
      pos = next;
      if (this.skip > 0) {
        if (to - pos < this.skip) return pos;
        pos += this.skip;
        this.skip = 0;
      }
    }
  }

  /** Closes what is open at the stream's end. @returns false where something was to go on by its length */
  finish(position: number): boolean {
    let complete = true;
    if (this.#fragmentParser) {
      this.#tag = PIXEL_DATA;
      this.warn('No sequence delimiter at the end (PS3.5 §A.4)');
      this.#endFragments(this.#fragmentParser);
    }
    if (this.#top !== this.root) {
      if (this.#top.end !== Number.POSITIVE_INFINITY && position < this.#top.end) complete = false;
      else this.#warnings.dataset('A sequence without its delimiter at the end (PS3.5 §7.5)');
    }
    while (this.#top !== this.root) this.#close(position, false);
    if (this.root.unordered) this.root.dataset = ordered(this.root.dataset);
    return complete;
  }

  #parseFragments(parser: FragmentParser, buffer: Buffer, from: number, to: number, base: number): number {
    const pos = parser.parse(buffer, from, to, base);
    this.need = parser.need;
    this.skip = parser.skip;
    if (parser.done) {
      this.#endFragments(parser);
      if (parser.rule) {
        this.#tag = PIXEL_DATA;
        this.warn(parser.rule);
      }
    }
    return pos;
  }

  #endFragments(parser: FragmentParser): void {
    const value = this.#fragmentPath === undefined ? undefined : this.bulk[this.#fragmentPath];
    if (value) value.length = parser.end - parser.start;
    this.#fragmentParser = undefined;
  }

  /** Items and delimiters (PS3.5 §7.5), and what stands where one should be. */
  #structure(level: Level, tag: number, buffer: Buffer, pos: number, base: number): number {
    const length = uint32(buffer, pos + 4, level.bigEndian);
    const after = pos + 8;
    if (level.sequence) {
      if (tag === ITEM) {
        this.#openItem(level, base + after, length === UNDEFINED_LENGTH ? undefined : length);
        return after;
      }
      if (tag === SEQUENCE_DELIMITER) {
        this.#close(base + after, false);
        return after;
      }
      // An item's delimiter after an item that ended by length is harmless.
      if (tag === ITEM_DELIMITER) return after;
      return this.#broken(pos, base, 'A sequence that holds something else than items (PS3.5 §7.5)');
    }
    if (level === this.root) {
      if (tag === ITEM) return this.#broken(pos, base, 'An item outside a sequence (PS3.5 §7.5)');
      this.#warnings.dataset('A delimiter outside a sequence (PS3.5 §7.5)');
      return after;
    }
    this.#close(base + pos, false);
    if (tag === ITEM_DELIMITER) return after;
    // The item's own delimiter is missing: the sequence around it takes this one.
    this.#warnings.dataset('An item without its delimiter (PS3.5 §7.5)');
    return pos;
  }

  #element(level: Level, tag: number, buffer: Buffer, pos: number, to: number, base: number): number {
    if (!level.checked) {
      level.checked = true;
      if (settleEncoding(level, tag, buffer, pos, this.#warnings)) return pos;
    }
    const entry = lookup(tag);
    const header = this.#header;
    this.#tag = tag;
    if (level.implicit) {
      header.size = 8;
      header.length = uint32(buffer, pos + 4, level.bigEndian);
      header.vr = implicitVR(level, tag, entry, this.#signed);
      header.rule = undefined;
    } else {
      this.need = readExplicit(buffer, pos, to - pos, level.bigEndian, entry, header);
      if (this.need > 0) return pos;
      if (header.rule) {
        if (level === this.root && (tag === 0 || this.pixelsPassed)) return this.#padding(pos);
        this.warn(header.rule);
      }
    }
    if (tag === 0 && level === this.root) return this.#padding(pos);
    const { length, size } = header;
    const start = base + pos + size;
    let vr = header.vr;
    if (length === UNDEFINED_LENGTH) return this.#undefinedLength(level, tag, entry, vr, pos + size, start);
    if (start + length > level.end)
      return this.#broken(pos, base, 'A value that is longer than what it lies in (PS3.5 §7.5)');
    if (length % 2) this.warn('A value of odd length (PS3.5 §7.1.1)');
    if (vr === UN && !level.implicit && entry.vr !== UN && length > 0) {
      // Unknown to who wrote it, but not to us: read as the dictionary says, implicit and little-endian (PS3.5 §6.2.2).
      if (entry.vr.kind !== 'sequence') vr = entry.vr;
      else {
        if (to - pos < size + 8 && length >= 8) this.need = size + 8;
        if (this.need > 0) return pos;
        if (length >= 8 && uint32(buffer, pos + size, false) === 0xe000fffe) vr = SQ;
      }
    }
    if (vr.kind === 'sequence') {
      this.#openSequence(level, entry, start, length, header.vr === UN);
      return pos + size;
    }
    return this.#value(level, tag, entry, vr, buffer, pos, to, base);
  }

  #value(
    level: Level,
    tag: number,
    entry: DictionaryEntry,
    vr: ValueRepresentation,
    buffer: Buffer,
    pos: number,
    to: number,
    base: number,
  ): number {
    const { length, size } = this.#header;
    const value = pos + size;
    const pixels = tag === PIXEL_DATA || tag === FLOAT_PIXEL_DATA || tag === DOUBLE_FLOAT_PIXEL_DATA;
    const table =
      level === this.root && (tag === EXTENDED_OFFSETS || tag === EXTENDED_LENGTHS) && length <= MAX_EXTENDED_TABLE;
    const inline = !pixels && this.#builder.fits(vr, length);
    if (inline || table) {
      if (to - value < length) {
        this.need = size + length;
        return pos;
      }
      if (table)
        this.extended[tag === EXTENDED_OFFSETS ? 'offsets' : 'lengths'] = Buffer.from(
          buffer.subarray(value, value + length),
        );
    }
    if (inline) {
      if (!level.dropped)
        this.#builder.keep(level, tag, entry.key, this.#decode(level, tag, vr, buffer, value, length), length);
      return value + length;
    }
    if (length === 0) this.#builder.keep(level, tag, entry.key, { vr: vr.name });
    else this.#builder.keepBulk(level, tag, entry.key, vr.name, base + value, length);
    if (pixels && level === this.root) {
      this.native ??= { tag: entry.key as NativePixels['tag'], offset: base + value, length };
      this.pixelsPassed = true;
    }
    this.skip = length;
    return value;
  }

  #decode(
    level: Level,
    tag: number,
    vr: ValueRepresentation,
    buffer: Buffer,
    start: number,
    length: number,
  ): DicomElement {
    // UN that is read as something else is little-endian, whatever is around it.
    const context = this.#header.vr === UN && level.bigEndian ? { ...this.#context(level), bigEndian: false } : this;
    const element = decodeElement(vr, buffer, start, start + length, context);
    if (tag === SPECIFIC_CHARACTER_SET) {
      level.charset = specificCharacterSet((element.Value ?? []).map((term) => term ?? '').join('\\'));
      if (level.charset.unknown) this.warn('A character set that the standard does not define (PS3.3 C.12.1.1.2)');
      // JSON text is UTF-8, and says so (PS3.18 F.2).
      if (level.charset.named) element.Value = ['ISO_IR 192'];
    } else if (tag === PIXEL_REPRESENTATION && level === this.root) this.#signed = element.Value?.[0] === 1;
    else if (level.implicit) noteCreator(level, tag, element);
    return element;
  }

  #context({ charset }: Level): ValueContext {
    return { bigEndian: this.bigEndian, charset, warn: this.warn };
  }

  #undefinedLength(
    level: Level,
    tag: number,
    entry: DictionaryEntry,
    vr: ValueRepresentation,
    after: number,
    start: number,
  ): number {
    if (vr.kind === 'bytes' && (vr !== UN || tag === PIXEL_DATA)) {
      const parser = new FragmentParser(start);
      const name = vr === UN ? 'OB' : vr.name;
      this.#fragmentPath = this.#builder.keepBulk(level, tag, entry.key, name, start, 0);
      if (level === this.root && tag === PIXEL_DATA) {
        this.fragments ??= parser.fragments;
        this.pixelsPassed = true;
      }
      this.#fragmentParser = parser;
      return after;
    }
    if (vr.kind !== 'sequence' && vr !== UN)
      this.warn('Undefined length in a VR that does not allow it (PS3.5 §7.1.2)');
    // Unknown VR: the items are implicit little-endian, whatever is around them (PS3.5 §6.2.2).
    this.#openSequence(level, entry, start, undefined, vr === UN);
    return after;
  }

  #openSequence(
    level: Level,
    entry: DictionaryEntry,
    start: number,
    length: number | undefined,
    unknown: boolean,
  ): void {
    const element: DicomElement = { vr: 'SQ' };
    const kept = this.#builder.keep(level, this.#tag, entry.key, element);
    if (length === 0) return;
    const child = childLevel(level, true, start, length);
    child.key = entry.key;
    if (unknown) {
      child.implicit = true;
      child.bigEndian = false;
    }
    if (kept) {
      child.element = element;
      this.#builder.limitSequence(level, child, this.#tag, element);
    } else child.dropped = true;
    this.#top = child;
  }

  #openItem(level: Level, start: number, length: number | undefined): void {
    const item = childLevel(level, false, start, length);
    // A pretended nesting costs memory for as long as it is open: at some depth it ends.
    if (item.depth > MAX_OPEN)
      throw new DagpacsError('malformed-dataset', 'The data set cannot be parsed', {
        attribute: 'DataSet',
        rule: 'Sequences are nested more than 100,000 deep (PS3.5 §7.5)',
      });
    this.#builder.keepItem(level, item);
    this.#top = item;
  }

  /** Closes the innermost level at `position`; `byLength`: because its length, or that of one around it, is used up. */
  #close(position: number, byLength: boolean): void {
    const level = this.#top;
    if (byLength && level.delimited && level.end !== Number.POSITIVE_INFINITY)
      this.#warnings.dataset('A sequence without its delimiter (PS3.5 §7.5)');
    if (level.sequence) {
      this.#builder.endSequence(level, position);
    } else if (level.unordered && !level.dropped && level.parent) {
      level.parent.items[level.parent.items.length - 1] = ordered(level.dataset);
    }
    this.#top = level.parent ?? this.root;
  }

  /**
   * What cannot be parsed is passed over to the end of what it lies in. Nothing bounds it at the top: then the instance is
   * kept with the header so far where that identifies it, since its bytes are whole, and refused where it does not.
   */
  #broken(pos: number, base: number, rule: string): number {
    if (this.#top.end !== Number.POSITIVE_INFINITY) {
      this.#warnings.dataset(`${rule}: what follows in the sequence is not in the header`);
      this.skip = this.#top.end - (base + pos);
      return pos;
    }
    if (!isIdentified(this.root.dataset))
      throw new DagpacsError('malformed-dataset', 'The data set cannot be parsed', { attribute: 'DataSet', rule });
    this.#warnings.dataset(`${rule}: what follows is not in the header`);
    this.skip = Number.POSITIVE_INFINITY;
    return pos;
  }

  #padding(pos: number): number {
    this.#warnings.dataset('Bytes after the data set that are not elements');
    this.skip = Number.POSITIVE_INFINITY;
    return pos;
  }
}
