import { DagpacsError } from '../kernel/errors.ts';
import { keywordOf } from './dictionary.ts';
import { UNDEFINED_LENGTH } from './element-header.ts';
import { encodeElements } from './encode.ts';
import { writeFileMeta } from './meta.ts';
import type { DicomElement, DicomJson } from './model.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN, transferSyntax } from './transfer-syntax.ts';
import { isUsableUID } from './uid.ts';
import { vrNamed } from './vr.ts';
import { CLOSE_SEQUENCE, elementStart, ITEM, itemStart } from './write-element.ts';

/** A bulk value on its way in. */
export interface BulkPart {
  /** Media type in lower case, without parameters. */
  type: string;
  transferSyntaxUID: string | undefined;
  /** Bytes, where they are known ahead. */
  size: number | undefined;
  /** Read once. */
  bytes: AsyncIterable<Uint8Array>;
}

/** Where the values of BulkDataURIs come from. */
export interface BulkSource {
  /** The next part for `uri`, which stays the next one. Undefined where there is none. */
  look(uri: string): Promise<BulkPart | undefined>;
  /** Takes the next part for `uri`; several are its frames, one after the other. */
  take(uri: string): Promise<BulkPart | undefined>;
  /** A whole value in memory. @throws DagpacsError `too-large` */
  whole(uri: string): Promise<Buffer | undefined>;
}

const PIXEL_DATA = '7FE00010';
const TRANSFER_SYNTAX = '00020010';
const AVAILABLE_TRANSFER_SYNTAX = '00083002';
const CHARACTER_SET = '00080005';
const MAX_LENGTH = 0xfffffffe;
const OB = vrNamed('OB');

/**
 * Makes the Part 10 file of an instance that came as metadata and bulk data (PS3.18 §10.5.2), as its bytes are asked for. Native
 * pixels are written in explicit VR little-endian, in which bulk data come (§8.7.3.3); compressed ones are encapsulated, a
 * fragment for each part. Text is in UTF-8.
 * @throws DagpacsError `missing-attribute`, `invalid-attribute`, `malformed-dataset`, `too-large`, and what the source throws
 */
export async function* makeInstance(
  metadata: DicomJson,
  bulk: BulkSource,
): AsyncGenerator<Uint8Array, void, undefined> {
  const sopClassUID = requiredUID(metadata, '00080016', 'SOPClassUID');
  const sopInstanceUID = requiredUID(metadata, '00080018', 'SOPInstanceUID');
  const dataset: DicomJson = {
    ...withoutCharacterSets(metadata),
    [CHARACTER_SET]: { vr: 'CS', Value: ['ISO_IR 192'] },
  };
  delete dataset[AVAILABLE_TRANSFER_SYNTAX];
  const transferSyntaxUID = await syntaxOf(metadata, bulk);
  const encapsulated = transferSyntax(transferSyntaxUID)?.encapsulated === true;
  yield writeFileMeta({ sopClassUID, sopInstanceUID, transferSyntaxUID });

  let elements: DicomJson = {};
  const values = new Map<string, Buffer>();
  const flush = (): Buffer => {
    const bytes = encodeElements(elements, (uri) => values.get(uri) as Buffer);
    elements = {};
    values.clear();
    return bytes;
  };
  for (const tag of Object.keys(dataset).sort()) {
    if (tag < '00080000') continue;
    const element = dataset[tag] as DicomElement;
    if (tag === PIXEL_DATA && encapsulated) {
      yield flush();
      yield* encapsulate(element, bulk);
    } else if (element.BulkDataURI !== undefined && vrNamed(element.vr).long) {
      yield flush();
      yield* streamed(tag, element.BulkDataURI, dataset, bulk);
    } else {
      elements[tag] = element;
      for (const uri of urisOf(element)) values.set(uri, (await bulk.whole(uri)) ?? fail(missing(uri)));
    }
  }
  yield flush();
}

/** Every BulkDataURI of an element, in its items too. */
export function* urisOf(element: DicomElement): Generator<string> {
  if (element.BulkDataURI !== undefined) yield element.BulkDataURI;
  if (element.vr !== 'SQ') return;
  for (const item of element.Value ?? []) {
    for (const inner of Object.values((item ?? {}) as DicomJson)) yield* urisOf(inner);
  }
}

function requiredUID(metadata: DicomJson, tag: string, attribute: string): string {
  const value = metadata[tag]?.Value?.[0];
  if (typeof value !== 'string' || value === '') {
    const subject = { attribute, tag, rule: 'identifies the instance and has a value (PS3.3 C.12.1)' };
    throw new DagpacsError('missing-attribute', 'an attribute that identifies the instance is missing', subject);
  }
  if (isUsableUID(value)) return value;
  const subject = { attribute, tag, rule: 'a UID of digits and dots, at most 64 characters (PS3.5 §9.1)' };
  throw new DagpacsError('invalid-attribute', 'a UID breaks its rule', subject);
}

/** Text is UTF-8 wherever it stands, so that no item may say otherwise. */
function withoutCharacterSets(dataset: DicomJson): DicomJson {
  const out: DicomJson = {};
  for (const [tag, element] of Object.entries(dataset)) {
    if (tag === CHARACTER_SET) continue;
    const nested = element.vr === 'SQ' && element.Value !== undefined;
    out[tag] = nested
      ? { vr: 'SQ', Value: element.Value?.map((item) => withoutCharacterSets((item ?? {}) as DicomJson)) ?? [] }
      : element;
  }
  return out;
}

/** What the metadata say, else what the part of Pixel Data says, else native. */
async function syntaxOf(metadata: DicomJson, bulk: BulkSource): Promise<string> {
  const declared = [TRANSFER_SYNTAX, AVAILABLE_TRANSFER_SYNTAX]
    .map((tag) => metadata[tag]?.Value?.[0])
    .find((value) => typeof value === 'string');
  const uri = metadata[PIXEL_DATA]?.BulkDataURI;
  const part = declared === undefined && uri !== undefined ? await bulk.look(uri) : undefined;
  const uid = declared ?? part?.transferSyntaxUID ?? (part && DEFAULTS[part.type]);
  if (uid === undefined) return EXPLICIT_VR_LITTLE_ENDIAN;
  const known = transferSyntax(uid as string);
  const attribute = 'TransferSyntaxUID';
  const rule =
    'a transfer syntax of PS3.6 Annex A, in the metadata or in the Content-Type of Pixel Data (PS3.18 §8.7.3)';
  if (!known)
    throw new DagpacsError('invalid-attribute', 'the transfer syntax is not known', {
      attribute,
      tag: TRANSFER_SYNTAX,
      rule,
    });
  return known.encapsulated ? known.uid : EXPLICIT_VR_LITTLE_ENDIAN;
}

/** The syntaxes that a media type stands for where no parameter says which (PS3.18 Tables 8.7.3-2, 8.7.3-5). */
const DEFAULTS: Record<string, string> = {
  'image/jpeg': '1.2.840.10008.1.2.4.70',
  'image/jls': '1.2.840.10008.1.2.4.80',
  'image/jp2': '1.2.840.10008.1.2.4.90',
  'image/jpx': '1.2.840.10008.1.2.4.92',
  'image/jphc': '1.2.840.10008.1.2.4.201',
  'image/jxl': '1.2.840.10008.1.2.4.110',
  'image/dicom-rle': '1.2.840.10008.1.2.5',
  'video/mpeg2': '1.2.840.10008.1.2.4.100',
  'video/mp4': '1.2.840.10008.1.2.4.102',
};

/** A value of the data set itself, as it comes: only where nothing tells its length it is held. */
async function* streamed(tag: string, uri: string, dataset: DicomJson, bulk: BulkSource): AsyncGenerator<Uint8Array> {
  const part = (await bulk.look(uri)) ?? fail(missing(uri));
  const known = part.size ?? (tag === PIXEL_DATA ? nativeSize(dataset) : undefined);
  const whole = known === undefined ? ((await bulk.whole(uri)) ?? fail(missing(uri))) : undefined;
  const size = whole?.length ?? (known as number);
  if (size > MAX_LENGTH) throw tooLong(tag);
  const { vr } = dataset[tag] as DicomElement;
  yield elementStart(Number.parseInt(tag, 16), vrNamed(vr), size + (size % 2));
  if (whole) yield whole;
  else yield* exactly(((await bulk.take(uri)) as BulkPart).bytes, size);
  if (size % 2) yield Buffer.alloc(1, vrNamed(vr).kind === 'bytes' ? 0 : 0x20);
}

/** Bytes of native Pixel Data by its description (PS3.3 C.7.6.3). */
function nativeSize(dataset: DicomJson): number | undefined {
  const number = (tag: string, otherwise?: number) => Number(dataset[tag]?.Value?.[0] ?? otherwise);
  const samples = number('00280010') * number('00280011') * number('00280002', 1) * number('00280008', 1);
  const bits = samples * number('00280100');
  return Number.isSafeInteger(bits) && bits > 0 ? Math.ceil(bits / 8) : undefined;
}

async function* encapsulate(
  { BulkDataURI: uri, InlineBinary }: DicomElement,
  bulk: BulkSource,
): AsyncGenerator<Uint8Array> {
  yield elementStart(0x7fe00010, OB, UNDEFINED_LENGTH);
  if (uri === undefined) yield* wrapped(Buffer.from(InlineBinary ?? '', 'base64'), true);
  else {
    let part = (await bulk.take(uri)) ?? fail(missing(uri));
    for (let first = true; part; first = false) {
      if (part.size === undefined || part.type === 'application/octet-stream') {
        // Such a part may be the whole encapsulated value, as bulk data are retrieved.
        yield* headed(part, first);
      } else yield* fragment(part.bytes, part.size, first);
      const next = await bulk.take(uri);
      if (!next) break;
      part = next;
    }
  }
  yield CLOSE_SEQUENCE;
}

async function* headed({ size, bytes }: BulkPart, first: boolean): AsyncGenerator<Uint8Array> {
  const iterator = bytes[Symbol.asyncIterator]();
  const chunks: Uint8Array[] = [];
  let held = 0;
  while (held < 8 || size === undefined) {
    const { done, value } = await iterator.next();
    if (done) break;
    chunks.push(Buffer.from(value));
    held += value.length;
    if (size === undefined && held > MAX_FRAGMENT)
      throw broken(`a part of more than ${MAX_FRAGMENT} bytes has a Content-Length`);
  }
  const head = Buffer.concat(chunks, held);
  const rest = async function* () {
    yield head;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  };
  const total = size ?? held;
  if (first && isItem(head)) yield* exactly(rest(), total);
  else yield* fragment(rest(), total, first);
}

/** Bytes of a fragment whose length has to be found out. */
const MAX_FRAGMENT = 64 * 1024 * 1024;

function* wrapped(value: Buffer, first: boolean): Generator<Uint8Array> {
  if (isItem(value)) {
    yield value;
    return;
  }
  if (first) yield itemStart(ITEM, 0);
  yield itemStart(ITEM, value.length + (value.length % 2));
  yield value;
  if (value.length % 2) yield Buffer.alloc(1);
}

function isItem(bytes: Buffer): boolean {
  return bytes.length >= 8 && bytes.readUInt32LE(0) === 0xe000fffe;
}

async function* fragment(bytes: AsyncIterable<Uint8Array>, size: number, first: boolean): AsyncGenerator<Uint8Array> {
  if (size > MAX_LENGTH) throw tooLong(PIXEL_DATA);
  if (first) yield itemStart(ITEM, 0);
  yield itemStart(ITEM, size + (size % 2));
  yield* exactly(bytes, size);
  if (size % 2) yield Buffer.alloc(1);
}

async function* exactly(bytes: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let left = size;
  for await (const chunk of bytes) {
    left -= chunk.length;
    if (left < 0) break;
    yield chunk;
  }
  if (left !== 0) throw broken(`its part has ${size} bytes, as its Content-Length or the image's size says`);
}

function missing(uri: string): DagpacsError {
  const rule = 'every BulkDataURI is the Content-Location of a part (PS3.18 §10.5.2)';
  return new DagpacsError('malformed-dataset', 'a bulk value did not come', {
    attribute: `BulkDataURI ${uri.slice(0, 100)}`,
    rule,
  });
}

function broken(rule: string): DagpacsError {
  return new DagpacsError('malformed-dataset', 'Pixel Data cannot be taken', {
    attribute: 'PixelData',
    tag: PIXEL_DATA,
    rule,
  });
}

function tooLong(tag: string): DagpacsError {
  const subject = {
    attribute: keywordOf(tag) ?? tag,
    tag,
    rule: `a value has at most ${MAX_LENGTH} bytes (PS3.5 §7.1)`,
  };
  return new DagpacsError('too-large', 'a value is too long', subject);
}

function fail(error: DagpacsError): never {
  throw error;
}
