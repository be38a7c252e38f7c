import { DagpacsError } from '../kernel/errors.ts';
import { keywordOf, vrOf } from './dictionary.ts';
import type { DicomElement, DicomJson, DicomValue, PersonName } from './model.ts';
import { type ValueRepresentation, vrFromCodes } from './vr.ts';

const MAX_DEPTH = 64;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const DECIMAL = /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*$/;
const INTEGER = /^\s*[+-]?\d+\s*$/;
/** How numbers that are none are written (PS3.18 F.2.3, and as C does). */
const WORD = /^([+-]?)(?:(nan)|inf(?:inity)?)$/i;
const RANGES: Record<string, readonly [bigint, bigint]> = {
  US: [0n, 0xffffn],
  SS: [-0x8000n, 0x7fffn],
  UL: [0n, 0xffffffffn],
  SL: [-0x80000000n, 0x7fffffffn],
  UV: [0n, 0xffffffffffffffffn],
  SV: [-0x8000000000000000n, 0x7fffffffffffffffn],
};

/**
 * Reads a body of the DICOM JSON model (PS3.18 Annex F): an array of data sets, or a single one. Numbers that a double does
 * not hold are kept as their text. @throws DagpacsError `malformed-dataset`, naming attribute and rule
 */
export function readDicomJson(text: string): DicomJson[] {
  let value: unknown;
  try {
    value = JSON.parse(text, exact as Parameters<typeof JSON.parse>[1]);
  } catch (cause) {
    const subject = { attribute: 'DataSet', rule: 'a JSON text (RFC 8259) of bounded depth' };
    throw new DagpacsError('malformed-dataset', 'The body is not JSON', subject, { cause });
  }
  const list = Array.isArray(value) ? value : [value];
  return list.map((each) => checkDataset(each));
}

function exact(_key: string, value: unknown, context: { source?: string }): unknown {
  const { source } = context;
  if (typeof value !== 'number' || source === undefined || String(value) === source) return value;
  // 1.50 and 1.5 are the same number; 0.30000000000000000001 and 0.3 are not.
  const digits = source
    .replace(/[eE].*$/, '')
    .replace(/[-.]/g, '')
    .replace(/^0+/, '')
    .replace(/0+$/, '');
  return digits.length > 15 || !Number.isFinite(value) ? source : value;
}

/**
 * Checks that a value is a data set of the DICOM JSON model and gives it with its attributes in the order of tags, without
 * group lengths. A VR that is left out is that of the dictionary.
 * @throws DagpacsError `malformed-dataset`
 */
export function checkDataset(value: unknown, depth = 0): DicomJson {
  if (depth > MAX_DEPTH) throw malformed('DataSet', undefined, `sequences are nested at most ${MAX_DEPTH} deep`);
  if (!isObject(value)) throw malformed('DataSet', undefined, 'a data set is an object of attributes (PS3.18 F.2.2)');
  const dataset: DicomJson = {};
  const tags = Object.keys(value).map((key) => [key.toUpperCase(), key] as const);
  for (const [tag, key] of tags.sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!/^[\dA-F]{8}$/.test(tag)) throw malformed('DataSet', undefined, 'names are tags of eight hexadecimal digits');
    if (tag > 'FFFD') throw malformed(tag, tag, 'this group has no place in a data set');
    if (!tag.endsWith('0000')) dataset[tag] = checkElement(tag, value[key], depth);
  }
  return dataset;
}

function checkElement(tag: string, value: unknown, depth: number): DicomElement {
  const rule = (text: string): DagpacsError => malformed(keywordOf(tag) ?? tag, tag, text);
  if (!isObject(value)) throw rule('an attribute is an object (PS3.18 F.2.2)');
  const vr = namedVR(value.vr ?? vrOf(tag));
  if (!vr) throw rule('vr is a value representation (PS3.5 §6.2)');
  const { Value, InlineBinary, BulkDataURI } = value;
  const given = [Value, InlineBinary, BulkDataURI].filter((each) => each !== undefined && each !== null);
  if (given.length > 1) throw rule('one of Value, InlineBinary and BulkDataURI is given (PS3.18 F.2.2)');
  if (given.length === 0) return { vr: vr.name };
  if (BulkDataURI !== undefined) {
    if (typeof BulkDataURI !== 'string' || BulkDataURI === '') throw rule('BulkDataURI is a URI (PS3.18 F.2.6)');
    if (vr.kind === 'sequence') throw rule('a sequence has its items as values (PS3.18 F.2.5)');
    return { vr: vr.name, BulkDataURI };
  }
  if (InlineBinary !== undefined) {
    if (typeof InlineBinary !== 'string' || !BASE64.test(InlineBinary))
      throw rule('InlineBinary is Base64 with padding (PS3.18 F.2.7)');
    if (vr.kind !== 'bytes') throw rule('InlineBinary is for OB, OD, OF, OL, OV, OW and UN (PS3.18 F.2.7)');
    return { vr: vr.name, InlineBinary };
  }
  if (!Array.isArray(Value)) throw rule('Value is an array (PS3.18 F.2.2)');
  if (vr.kind === 'bytes' && Value.length > 0) throw rule('its value is InlineBinary or BulkDataURI (PS3.18 F.2.7)');
  const values = Value.map((each) => checkValue(vr, each, depth, rule));
  if ((vr.kind === 'long-text' || vr.kind === 'uri') && values.length > 1) throw rule('it has one value (PS3.5 §6.2)');
  return values.length > 0 ? { vr: vr.name, Value: values } : { vr: vr.name };
}

function checkValue(
  { name, kind }: ValueRepresentation,
  value: unknown,
  depth: number,
  rule: (text: string) => DagpacsError,
): DicomValue {
  if (kind === 'sequence') return value === null ? {} : checkDataset(value, depth + 1);
  if (value === null) {
    if (kind === 'binary-number' || kind === 'tag') throw rule('binary values cannot be empty (PS3.5 §6.4)');
    return null;
  }
  switch (kind) {
    case 'person':
      return personName(value, rule);
    case 'tag':
      if (typeof value !== 'string' || !/^[\dA-Fa-f]{8}$/.test(value)) throw rule('values are tags of eight digits');
      return value.toUpperCase();
    case 'integer':
    case 'decimal':
      // Text that is no number is what some devices write: it is stored as it is, with a warning.
      if (typeof value === 'string' && !value.includes('\\')) return value;
      if (!isNumber(value, kind === 'integer')) throw rule('values are numbers or their text (PS3.18 F.2.3.1)');
      return value;
    case 'binary-number':
      return binaryNumber(name, value, rule);
    default:
      if (typeof value !== 'string') throw rule('values are strings (PS3.18 F.2.3)');
      if (kind !== 'long-text' && kind !== 'uri' && value.includes('\\'))
        throw rule('a backslash separates values, and stands in none (PS3.5 §6.2)');
      return value;
  }
}

function binaryNumber(name: string, value: unknown, rule: (text: string) => DagpacsError): string | number {
  const range = RANGES[name];
  const text = typeof value === 'string' ? value.trim() : value;
  if (!range) {
    const word = typeof text === 'string' ? WORD.exec(text) : null;
    if (word) return word[2] ? 'NaN' : word[1] === '-' ? '-inf' : 'inf';
    if (typeof text === 'string' ? !DECIMAL.test(text) : !isNumber(text, false))
      throw rule('values are numbers (PS3.5 §6.2)');
    return text as string | number;
  }
  const whole = typeof text === 'string' ? INTEGER.test(text) : isNumber(text, true);
  const number = whole ? BigInt(text as string | number) : undefined;
  if (number === undefined || number < range[0] || number > range[1])
    throw rule(`values are whole numbers from ${range[0]} to ${range[1]} (PS3.5 §6.2)`);
  return text as string | number;
}

function personName(value: unknown, rule: (text: string) => DagpacsError): PersonName {
  if (!isObject(value)) throw rule('a name is an object of component groups (PS3.18 F.2.2)');
  const name: PersonName = {};
  for (const group of ['Alphabetic', 'Ideographic', 'Phonetic'] as const) {
    const text = value[group];
    if (text === undefined || text === null) continue;
    if (typeof text !== 'string' || /[\\]/.test(text)) throw rule('component groups are strings (PS3.18 F.2.2)');
    name[group] = text;
  }
  return name;
}

function isNumber(value: unknown, whole: boolean): value is number {
  return typeof value === 'number' && (whole ? Number.isSafeInteger(value) : Number.isFinite(value));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function namedVR(name: unknown): ValueRepresentation | undefined {
  return typeof name === 'string' && name.length === 2
    ? vrFromCodes(name.charCodeAt(0), name.charCodeAt(1))
    : undefined;
}

function malformed(attribute: string, tag: string | undefined, rule: string): DagpacsError {
  const subject = { attribute, ...(tag !== undefined && { tag }), rule };
  return new DagpacsError('malformed-dataset', 'The data set breaks a rule', subject);
}
