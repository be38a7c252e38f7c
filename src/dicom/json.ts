import type { SpecificCharacterSet } from './charset.ts';
import type { DicomElement, DicomJson, DicomValue, PersonName } from './model.ts';
import type { ValueRepresentation } from './vr.ts';

/** What a value's bytes are read with. */
export interface ValueContext {
  bigEndian: boolean;
  charset: SpecificCharacterSet;
  /** Called with the rule that the value breaks. */
  warn(rule: string): void;
}

const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const INTEGER = /^[+-]?\d+$/;
const DATE = /^\d{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])$/;
const TIME = /^(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?$/;

/** One attribute of the DICOM JSON model (PS3.18 Annex F) from its value's bytes, `[start, end)` of `buffer`. */
export function decodeElement(
  vr: ValueRepresentation,
  buffer: Buffer,
  start: number,
  end: number,
  context: ValueContext,
): DicomElement {
  if (end <= start) return { vr: vr.name };
  switch (vr.kind) {
    case 'bytes':
      return { vr: vr.name, InlineBinary: inlineBinary(vr, buffer, start, end, context.bigEndian) };
    case 'binary-number':
      return numberElement(vr, buffer, start, end, context);
    case 'tag':
      return tagElement(vr, buffer, start, end, context);
    default:
      return textElement(vr, buffer, start, end, context);
  }
}

function inlineBinary(vr: ValueRepresentation, buffer: Buffer, start: number, end: number, bigEndian: boolean): string {
  if (!bigEndian || vr.unit === 1) return buffer.toString('base64', start, end);
  return swapped(buffer.subarray(start, end), vr.unit).toString('base64');
}

/** A copy of big-endian values of `unit` bytes as little-endian; a rest shorter than a unit stays as it is. */
export function swapped(bytes: Uint8Array, unit: number): Buffer {
  const out = Buffer.from(bytes);
  const whole = out.subarray(0, out.length - (out.length % unit));
  if (unit === 2) whole.swap16();
  else if (unit === 4) whole.swap32();
  else if (unit === 8) whole.swap64();
  return out;
}

function tagElement(
  vr: ValueRepresentation,
  buffer: Buffer,
  start: number,
  end: number,
  { bigEndian, warn }: ValueContext,
): DicomElement {
  const Value: DicomValue[] = [];
  for (let at = start; at + 4 <= end; at += 4) {
    const group = bigEndian ? buffer.readUInt16BE(at) : buffer.readUInt16LE(at);
    const element = bigEndian ? buffer.readUInt16BE(at + 2) : buffer.readUInt16LE(at + 2);
    Value.push((group * 0x10000 + element).toString(16).toUpperCase().padStart(8, '0'));
  }
  if ((end - start) % 4) warn('The value length is not a multiple of 4 (PS3.5 §6.2)');
  return Value.length ? { vr: vr.name, Value } : { vr: vr.name };
}

function numberElement(
  vr: ValueRepresentation,
  buffer: Buffer,
  start: number,
  end: number,
  { bigEndian, warn }: ValueContext,
): DicomElement {
  const { unit, name } = vr;
  const Value: DicomValue[] = [];
  for (let at = start; at + unit <= end; at += unit) Value.push(readNumber(name, buffer, at, bigEndian));
  if ((end - start) % unit) warn(`The value length is not a multiple of ${unit} (PS3.5 §6.2)`);
  return Value.length ? { vr: name, Value } : { vr: name };
}

function readNumber(name: string, buffer: Buffer, at: number, bigEndian: boolean): DicomValue {
  switch (name) {
    case 'US':
      return bigEndian ? buffer.readUInt16BE(at) : buffer.readUInt16LE(at);
    case 'SS':
      return bigEndian ? buffer.readInt16BE(at) : buffer.readInt16LE(at);
    case 'UL':
      return bigEndian ? buffer.readUInt32BE(at) : buffer.readUInt32LE(at);
    case 'SL':
      return bigEndian ? buffer.readInt32BE(at) : buffer.readInt32LE(at);
    case 'FL':
      return finite(bigEndian ? buffer.readFloatBE(at) : buffer.readFloatLE(at));
    case 'FD':
      return finite(bigEndian ? buffer.readDoubleBE(at) : buffer.readDoubleLE(at));
    case 'UV':
      return safe(bigEndian ? buffer.readBigUInt64BE(at) : buffer.readBigUInt64LE(at));
    default:
      return safe(bigEndian ? buffer.readBigInt64BE(at) : buffer.readBigInt64LE(at));
  }
}

/** JSON has no other numbers; PS3.18 F.2.3 gives these words for them. */
function finite(value: number): DicomValue {
  if (Number.isFinite(value)) return value;
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'inf' : '-inf';
}

function safe(value: bigint): DicomValue {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

function isASCII(buffer: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const byte = buffer[i] as number;
    if (byte >= 0x80 || byte === 0x1b) return false;
  }
  return true;
}

function textElement(
  vr: ValueRepresentation,
  buffer: Buffer,
  start: number,
  end: number,
  context: ValueContext,
): DicomElement {
  const { name, kind } = vr;
  // Padding is a space, or NUL in UI; NULs are found after other text too.
  let last = end;
  while (last > start && (buffer[last - 1] === 0x20 || buffer[last - 1] === 0)) last--;
  if (last === start) return { vr: name };
  let text: string;
  if (isASCII(buffer, start, last)) text = buffer.toString('latin1', start, last);
  else {
    const inCharset = kind === 'text' || kind === 'long-text' || kind === 'person';
    if (!inCharset) context.warn(`Characters outside the default repertoire in ${name} (PS3.5 §6.2)`);
    else if (!context.charset.named)
      context.warn('Characters outside ISO IR 6 without a Specific Character Set (PS3.3 C.12.1.1.2)');
    text = context.charset.decode(buffer.subarray(start, last), kind === 'person');
  }
  if (kind === 'long-text' || kind === 'uri') return { vr: name, Value: [text] };
  if (!text.includes('\\')) return { vr: name, Value: [single(vr, text, context)] };
  return { vr: name, Value: text.split('\\').map((value) => single(vr, value, context)) };
}

function single(vr: ValueRepresentation, raw: string, context: ValueContext): DicomValue {
  // Leading spaces do not count, except in UC (PS3.5 §6.2).
  const text = vr.name === 'UC' ? raw.trimEnd() : trim(raw);
  if (text === '') return null;
  switch (vr.kind) {
    case 'person':
      return personName(text, context);
    case 'decimal':
    case 'integer':
      return numberOf(vr, text, context);
    default:
      check(vr.name, text, context);
      return text;
  }
}

function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && text.charCodeAt(start) === 0x20) start++;
  while (end > start && (text.charCodeAt(end - 1) === 0x20 || text.charCodeAt(end - 1) === 0)) end--;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

function check(name: string, text: string, { warn }: ValueContext): void {
  switch (name) {
    case 'DA':
      if (!DATE.test(text)) warn('Not a date of the form YYYYMMDD (PS3.5 §6.2)');
      return;
    case 'TM':
      if (!TIME.test(text)) warn('Not a time of the form HHMMSS.FFFFFF (PS3.5 §6.2)');
      return;
    case 'SH':
      if (text.length > 16) warn('Longer than 16 characters (PS3.5 §6.2)');
      return;
    case 'LO':
      if (text.length > 64) warn('Longer than 64 characters (PS3.5 §6.2)');
      return;
    case 'CS':
    case 'AE':
      if (text.length > 16) warn('Longer than 16 bytes (PS3.5 §6.2)');
  }
}

/** DS and IS as numbers where a double holds exactly what is written, else as the text (PS3.18 F.2.3.1). */
function numberOf({ kind }: ValueRepresentation, text: string, { warn }: ValueContext): DicomValue {
  if (kind === 'integer') {
    if (!INTEGER.test(text)) {
      warn('Not an integer string (PS3.5 §6.2)');
      return text;
    }
    const integer = Number(text);
    return Number.isSafeInteger(integer) ? integer + 0 : text;
  }
  if (!DECIMAL.test(text)) {
    warn('Not a decimal string (PS3.5 §6.2)');
    return text;
  }
  const number = Number(text);
  if (!Number.isFinite(number)) return text;
  // Up to 15 significant digits always survive; more are compared.
  if (text.length > 15 && !sameDecimal(text, number)) return text;
  return number === 0 ? (/[1-9]/.test(text.split(/e/i)[0] as string) ? text : 0) : number;
}

function sameDecimal(text: string, number: number): boolean {
  const [digits, exponent] = scientific(text);
  const [ownDigits, ownExponent] = scientific(String(number));
  return digits === ownDigits && (digits === '' || exponent === ownExponent);
}

/** Significant digits without zeros at either end, and the power of ten of the last one. */
function scientific(text: string): [digits: string, exponent: number] {
  const [mantissa = '', power = '0'] = text.toLowerCase().replace(/^[+-]/, '').split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const all = (whole + fraction).replace(/^0+/, '');
  const digits = all.replace(/0+$/, '');
  return [digits, Number(power) - fraction.length + (all.length - digits.length)];
}

/** Component groups of a person name (PS3.5 §6.2.1, PS3.18 F.2.2); a group that is empty is left out. */
function personName(text: string, { warn }: ValueContext): PersonName | null {
  if (!text.includes('=')) return { Alphabetic: text };
  const [alphabetic, ideographic, phonetic, ...more] = text.split('=');
  const name: PersonName = {};
  const set = (key: keyof PersonName, value: string | undefined): void => {
    const group = trim(value ?? '');
    if (group !== '') name[key] = group;
  };
  set('Alphabetic', alphabetic);
  set('Ideographic', ideographic);
  // A fourth group has no name in the model: it is kept, behind its delimiter, in the third.
  set('Phonetic', more.length ? [phonetic, ...more].join('=') : phonetic);
  if (more.length) warn('More than three component groups (PS3.5 §6.2.1)');
  return Object.keys(name).length ? name : null;
}

/**
 * The JSON text of a data set with its attributes in ascending order, as PS3.18 F.2.2 has it. JSON.stringify alone does not
 * always do that: tags that read as decimal numbers (`30060020`) come first in any JavaScript object.
 */
export function stringifyHeader(header: DicomJson): string {
  return isOrdered(header) ? JSON.stringify(header) : orderedText(header);
}

function isOrdered(dataset: DicomJson): boolean {
  let last = '';
  for (const key in dataset) {
    if (key < last) return false;
    last = key;
    const element = dataset[key] as DicomElement;
    if (element.vr === 'SQ' && element.Value && !element.Value.every((item) => isOrdered(item as DicomJson)))
      return false;
  }
  return true;
}

function orderedText(dataset: DicomJson): string {
  const attributes = Object.keys(dataset)
    .sort()
    .map((key) => {
      const element = dataset[key] as DicomElement;
      if (element.vr !== 'SQ' || !element.Value) return `"${key}":${JSON.stringify(element)}`;
      return `"${key}":{"vr":"SQ","Value":[${element.Value.map((item) => orderedText(item as DicomJson)).join(',')}]}`;
    });
  return `{${attributes.join(',')}}`;
}
