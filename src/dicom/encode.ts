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

/** A character that the character set does not have. */
class Unencodable extends Error {}

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
      if (!(error instanceof Unencodable)) throw error;
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

class DatasetWriter {
  readonly #encoding: Encoding;
  readonly #charset: CharacterEncoder;
  readonly #bulk: BulkResolver | undefined;
  readonly #parts: Buffer[] = [];
  #size = 0;

  constructor(encoding: Encoding, charset: CharacterEncoder, bulk?: BulkResolver) {
    this.#encoding = encoding;
    this.#charset = charset;
    this.#bulk = bulk;
  }

  write(dataset: DicomJson): Buffer {
    this.#dataset(dataset);
    return Buffer.concat(this.#parts, this.#size);
  }

  #push(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#size += bytes.length;
  }

  #dataset(dataset: DicomJson): void {
    for (const tag of Object.keys(dataset).sort()) {
      const element = dataset[tag] as DicomElement;
      const vr = vrNamed(element.vr);
      if (vr.kind === 'sequence') this.#sequence(tag, vr, element.Value ?? []);
      else {
        const value = this.#value(vr, element);
        this.#push(this.#head(tag, vr, value.length));
        this.#push(value);
      }
    }
  }

  /** With explicit lengths, which are known once the items are written. */
  #sequence(tag: string, vr: ValueRepresentation, items: DicomValue[]): void {
    const at = this.#parts.length;
    this.#push(Buffer.alloc(0));
    const before = this.#size;
    for (const item of items) {
      const itemAt = this.#parts.length;
      this.#push(Buffer.alloc(0));
      const start = this.#size;
      this.#dataset((item ?? {}) as DicomJson);
      this.#insert(itemAt, this.#tagAndLength('FFFEE000', this.#size - start));
    }
    this.#insert(at, this.#head(tag, vr, this.#size - before));
  }

  #insert(at: number, bytes: Buffer): void {
    this.#parts[at] = bytes;
    this.#size += bytes.length;
  }

  #tagAndLength(tag: string, length: number): Buffer {
    const head = Buffer.alloc(8);
    this.#tag(head, 0, tag);
    if (this.#encoding.bigEndian) head.writeUInt32BE(length, 4);
    else head.writeUInt32LE(length, 4);
    return head;
  }

  #tag(out: Buffer, at: number, tag: string): void {
    const number = Number.parseInt(tag, 16);
    if (this.#encoding.bigEndian) out.writeUInt32BE(number, at);
    else {
      out.writeUInt16LE(Math.floor(number / 0x10000), at);
      out.writeUInt16LE(number % 0x10000, at + 2);
    }
  }

  #head(tag: string, vr: ValueRepresentation, length: number): Buffer {
    const { implicit, bigEndian } = this.#encoding;
    if (implicit) return this.#tagAndLength(tag, length);
    // A value that a short VR has no room for is written as UN (PS3.5 §6.2.2).
    const long = vr.long || length > 0xffff;
    const head = Buffer.alloc(long ? 12 : 8);
    this.#tag(head, 0, tag);
    head.write(vr.long === long ? vr.name : 'UN', 4, 'latin1');
    if (long && bigEndian) head.writeUInt32BE(length, 8);
    else if (long) head.writeUInt32LE(length, 8);
    else if (bigEndian) head.writeUInt16BE(length, 6);
    else head.writeUInt16LE(length, 6);
    return head;
  }

  #value(vr: ValueRepresentation, { Value = [], InlineBinary, BulkDataURI }: DicomElement): Buffer {
    if (BulkDataURI !== undefined && this.#bulk) {
      const bytes = this.#bulk(BulkDataURI);
      return even(
        Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
        vr.unit > 1 || vr.kind === 'bytes' ? 0 : 0x20,
      );
    }
    if (vr.kind === 'bytes') {
      const bytes = Buffer.from(InlineBinary ?? '', 'base64');
      return even(this.#encoding.bigEndian ? swapped(bytes, vr.unit) : bytes, 0);
    }
    if (Value.length === 0) return Buffer.alloc(0);
    if (vr.kind === 'binary-number') return this.#numbers(vr, Value);
    if (vr.kind === 'tag') {
      const tags = Buffer.alloc(4 * Value.length);
      for (const [i, value] of Value.entries()) this.#tag(tags, 4 * i, String(value));
      return tags;
    }
    const text = Value.map((value) => textOf(vr, value)).join('\\');
    const bytes = this.#charset.encode(text);
    if (!bytes) throw new Unencodable();
    return even(bytes, vr.name === 'UI' ? 0 : 0x20);
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

/** JSON's words for numbers that it has not (PS3.18 F.2.3) are read too. */
function numberOf(value: DicomValue): number {
  if (value === 'inf') return Number.POSITIVE_INFINITY;
  if (value === '-inf') return Number.NEGATIVE_INFINITY;
  return Number(value ?? 0);
}

function even(bytes: Buffer, padding: number): Buffer {
  return bytes.length % 2 ? Buffer.concat([bytes, Buffer.of(padding)]) : bytes;
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
