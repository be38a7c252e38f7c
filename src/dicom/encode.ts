import { type CharacterEncoder, characterEncoder, UTF_8 } from './charset-encoder.ts';
import { swapped } from './json.ts';
import type { DicomElement, DicomJson, DicomValue, PersonName } from './model.ts';
import { type ValueRepresentation, vrNamed } from './vr.ts';

/** How a data set is written (PS3.5 §7, Annex A). */
export interface Encoding {
  implicit: boolean;
  bigEndian: boolean;
}

const SPECIFIC_CHARACTER_SET = '00080005';
/** Longest DS (PS3.5 §6.2). */
const MAX_DECIMAL = 16;
/** The longest text that is written without being looked at before. */
const MAX_QUOTED = 4096;
const BACKSLASH = 0x5c;
const ITEM = 0xfffee000;

/** A character that the character set does not have. */
class Unencodable extends Error {}
/** Thrown once for each answer of a query in a set that lacks a character: without a stack of its own, which costs most. */
export const UNENCODABLE = new Unencodable();

/**
 * The bytes of a data set that is given in the DICOM JSON model, with Specific Character Set set to the one that is used:
 * `wanted`, where it has every character, else ISO_IR 192 (UTF-8). Bulk data are written as empty values.
 */
export function encodeDataset(dataset: DicomJson, encoding: Encoding, wanted = ''): Buffer {
  for (const charset of [characterEncoder(wanted), UTF_8]) {
    if (!charset) continue;
    try {
      const element: DicomElement = { vr: 'CS', Value: charset.term.split('\\') };
      return new DatasetWriter(encoding, charset).write({ ...dataset, [SPECIFIC_CHARACTER_SET]: element });
    } catch (error) {
      if (error !== UNENCODABLE) throw error;
    }
  }
  throw new TypeError('UTF-8 has every character');
}

/** What a BulkDataURI stands for: the value's bytes, little-endian. */
export type BulkResolver = (uri: string) => Uint8Array;

/** The bytes of some of a data set's elements in explicit VR little-endian, their text in UTF-8. */
export function encodeElements(elements: DicomJson, bulk: BulkResolver): Buffer {
  return new DatasetWriter({ implicit: false, bigEndian: false }, UTF_8, bulk).write(elements);
}

/** Where data sets are written before they are copied out; one at a time, since nothing here waits. */
let scratch = Buffer.allocUnsafeSlow(64 * 1024);
const KEPT_SCRATCH = 1 << 20;
const ASCII = /^[\0-\x7f]*$/;

/** Writes data sets one after the other; what it writes is kept by {@link DatasetWriter.taken} only. */
export class DatasetWriter {
  readonly #encoding: Encoding;
  readonly #charset: CharacterEncoder;
  readonly #bulk: BulkResolver | undefined;
  #at = 0;

  constructor(encoding: Encoding, charset: CharacterEncoder, bulk?: BulkResolver) {
    this.#encoding = encoding;
    this.#charset = charset;
    this.#bulk = bulk;
  }

  write(dataset: DicomJson): Buffer {
    this.begin();
    this.#dataset(dataset);
    return this.taken();
  }

  begin(): void {
    this.#at = 0;
  }

  /** What was written since {@link begin}. */
  taken(): Buffer {
    const bytes = scratch.subarray(0, this.#at);
    if (scratch.length <= KEPT_SCRATCH) return Buffer.from(bytes);
    scratch = Buffer.allocUnsafeSlow(64 * 1024);
    return bytes;
  }

  /** Elements that are written already. */
  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    scratch.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** @throws UNENCODABLE */
  element(tag: number, element: DicomElement): void {
    const vr = vrNamed(element.vr);
    if (vr.kind === 'sequence') this.#sequence(tag, vr, element.Value ?? []);
    else this.#value(tag, vr, element);
  }

  /**
   * Writes an element of text, which is characters `from` to `end` of a JSON text.
   * @returns false, and nothing is written, where it is long, escaped or not in ASCII
   */
  quoted(tag: number, vr: ValueRepresentation, json: string, from: number, end: number): boolean {
    const length = end - from;
    if (length > MAX_QUOTED) return false;
    const start = this.#at;
    const odd = length % 2;
    this.#head(tag, vr, length + odd);
    this.#reserve(length + odd);
    let at = this.#at;
    for (let i = from; i < end; i++) {
      const code = json.charCodeAt(i);
      if (code > 0x7f || code === BACKSLASH) {
        this.#at = start;
        return false;
      }
      scratch[at++] = code;
    }
    if (odd) scratch[at++] = paddingOf(vr);
    this.#at = at;
    return true;
  }

  #reserve(count: number): void {
    if (this.#at + count <= scratch.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * scratch.length, this.#at + count));
    scratch.copy(larger, 0, 0, this.#at);
    scratch = larger;
  }

  #dataset(dataset: DicomJson): void {
    for (const tag of Object.keys(dataset).sort()) this.element(tagNumber(tag), dataset[tag] as DicomElement);
  }

  /** With explicit lengths, which are known once the items are written. */
  #sequence(tag: number, vr: ValueRepresentation, items: DicomValue[]): void {
    this.#head(tag, vr, 0);
    const start = this.#at;
    for (const item of items) {
      this.#tagAndLength(ITEM, 0);
      const itemStart = this.#at;
      this.#dataset((item ?? {}) as DicomJson);
      this.#length(itemStart - 4, this.#at - itemStart);
    }
    this.#length(start - 4, this.#at - start);
  }

  #length(at: number, length: number): void {
    if (this.#encoding.bigEndian) scratch.writeUInt32BE(length, at);
    else scratch.writeUInt32LE(length, at);
  }

  #tagAndLength(tag: number, length: number): void {
    this.#reserve(8);
    this.#tag(scratch, this.#at, tag);
    this.#length(this.#at + 4, length);
    this.#at += 8;
  }

  #tag(out: Buffer, at: number, tag: number): void {
    if (this.#encoding.bigEndian) out.writeUInt32BE(tag, at);
    else {
      out.writeUInt16LE(tag >>> 16, at);
      out.writeUInt16LE(tag & 0xffff, at + 2);
    }
  }

  #head(tag: number, vr: ValueRepresentation, length: number): void {
    const { implicit, bigEndian } = this.#encoding;
    if (implicit) {
      this.#tagAndLength(tag, length);
      return;
    }
    // A value that a short VR has no room for is written as UN (PS3.5 §6.2.2).
    const long = vr.long || length > 0xffff;
    this.#reserve(12);
    const at = this.#at;
    this.#tag(scratch, at, tag);
    scratch.write(vr.long === long ? vr.name : 'UN', at + 4, 'latin1');
    if (long) {
      scratch.writeUInt16LE(0, at + 6);
      this.#length(at + 8, length);
    } else if (bigEndian) scratch.writeUInt16BE(length, at + 6);
    else scratch.writeUInt16LE(length, at + 6);
    this.#at += long ? 12 : 8;
  }

  /** An element whose value are these bytes, made even by one of `padding`. */
  #bytes(tag: number, vr: ValueRepresentation, bytes: Uint8Array, padding: number): void {
    const odd = bytes.length % 2;
    this.#head(tag, vr, bytes.length + odd);
    this.#reserve(bytes.length + odd);
    scratch.set(bytes, this.#at);
    this.#at += bytes.length;
    if (odd) scratch[this.#at++] = padding;
  }

  #value(tag: number, vr: ValueRepresentation, { Value = [], InlineBinary, BulkDataURI }: DicomElement): void {
    if (BulkDataURI !== undefined && this.#bulk) {
      this.#bytes(tag, vr, this.#bulk(BulkDataURI), vr.unit > 1 || vr.kind === 'bytes' ? 0 : 0x20);
    } else if (vr.kind === 'bytes') {
      const bytes = Buffer.from(InlineBinary ?? '', 'base64');
      this.#bytes(tag, vr, this.#encoding.bigEndian ? swapped(bytes, vr.unit) : bytes, 0);
    } else if (Value.length === 0) this.#head(tag, vr, 0);
    else if (vr.kind === 'binary-number') this.#bytes(tag, vr, this.#numbers(vr, Value), 0);
    else if (vr.kind === 'tag') {
      const tags = Buffer.alloc(4 * Value.length);
      for (const [i, value] of Value.entries()) this.#tag(tags, 4 * i, tagNumber(String(value)));
      this.#bytes(tag, vr, tags, 0);
    } else this.#text(tag, vr, Value);
  }

  #text(tag: number, vr: ValueRepresentation, values: DicomValue[]): void {
    const text =
      values.length === 1 ? textOf(vr, values[0] as DicomValue) : values.map((value) => textOf(vr, value)).join('\\');
    const padding = paddingOf(vr);
    if (!ASCII.test(text)) {
      const bytes = this.#charset.encode(text);
      if (!bytes) throw UNENCODABLE;
      this.#bytes(tag, vr, bytes, padding);
      return;
    }
    const odd = text.length % 2;
    this.#head(tag, vr, text.length + odd);
    this.#reserve(text.length + odd);
    scratch.write(text, this.#at, 'latin1');
    this.#at += text.length;
    if (odd) scratch[this.#at++] = padding;
  }

  #numbers({ name, unit }: ValueRepresentation, values: DicomValue[]): Buffer {
    const bytes = Buffer.alloc(unit * values.length);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const little = !this.#encoding.bigEndian;
    for (const [i, value] of values.entries()) {
      const at = i * unit;
      if (name === 'UV' || name === 'SV') view.setBigInt64(at, BigInt.asIntN(64, BigInt(String(value ?? 0))), little);
      else if (name === 'FD') view.setFloat64(at, numberOf(value), little);
      else if (name === 'FL') view.setFloat32(at, numberOf(value), little);
      else if (unit === 4) view.setInt32(at, numberOf(value) | 0, little);
      else view.setInt16(at, numberOf(value), little);
    }
    return bytes;
  }
}

/** A tag of eight hexadecimal digits. */
export function tagNumber(tag: string): number {
  return Number.parseInt(tag, 16);
}

function paddingOf({ name }: ValueRepresentation): number {
  return name === 'UI' ? 0 : 0x20;
}

/** JSON's words for numbers that it has not (PS3.18 F.2.3) are read too. */
function numberOf(value: DicomValue): number {
  if (value === 'inf') return Number.POSITIVE_INFINITY;
  if (value === '-inf') return Number.NEGATIVE_INFINITY;
  return Number(value ?? 0);
}

function textOf({ kind }: ValueRepresentation, value: DicomValue): string {
  if (value === null) return '';
  if (typeof value === 'number') return kind === 'decimal' ? decimal(value) : String(value);
  if (typeof value === 'string') return value;
  const { Alphabetic = '', Ideographic = '', Phonetic = '' } = value as PersonName;
  return [Alphabetic, Ideographic, Phonetic].join('=').replace(/=+$/, '');
}

function decimal(value: number): string {
  const text = String(value);
  if (text.length <= MAX_DECIMAL) return text;
  for (let digits = MAX_DECIMAL; digits > 0; digits--) {
    const rounded = String(Number(value.toPrecision(digits)));
    if (rounded.length <= MAX_DECIMAL) return rounded;
  }
  return text;
}
