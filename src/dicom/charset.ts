import { TextDecoder } from 'node:util';

/**
 * Specific Character Set (0008,0005): text as bytes to Unicode (PS3.3 C.12.1.1.2, PS3.5 §6.1.2).
 *
 * The tables are those of Node's TextDecoder (WHATWG encodings, full ICU): iso-8859-x for the single-byte sets, euc-jp for
 * JIS X 0208 and JIS X 0212, euc-kr for KS X 1001, gb18030 for GB 2312, GBK and GB 18030. What is done here is ISO 2022:
 * finding out which set each byte belongs to.
 */

/** A code element of ISO 2022 that holds a set of graphic characters. */
interface CharacterSet {
  /** Bytes per character. */
  readonly width: 1 | 2;
  /** Text of bytes as they lie in the value. */
  decode(bytes: Uint8Array): string;
}

/** What the value of Specific Character Set means for the text that it governs. */
export interface SpecificCharacterSet {
  /** The value that it is made from. */
  readonly value: string;
  /** False: ISO IR 6 only, by default or by name. */
  readonly named: boolean;
  /** Terms that are not in the standard; text is then taken as UTF-8 or Latin-1. */
  readonly unknown: boolean;
  decode(bytes: Uint8Array, person: boolean): string;
}

const ESC = 0x1b;
const decoders = new Map<string, TextDecoder>();

function decodeAs(label: string, bytes: Uint8Array): string {
  let decoder = decoders.get(label);
  if (!decoder) {
    decoder = new TextDecoder(label, { ignoreBOM: true });
    decoders.set(label, decoder);
  }
  return decoder.decode(bytes);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function single(label: string): CharacterSet {
  return { width: 1, decode: (bytes) => decodeAs(label, bytes) };
}

/** Two-byte sets invoked in G0 lie at 0x21–0x7E; the EUC encodings have them with the high bit set. */
function raised(bytes: Uint8Array, prefix?: number): Uint8Array {
  const out: number[] = [];
  for (let i = 0; i < bytes.length; i++) {
    if (prefix !== undefined && i % 2 === 0 && i + 1 < bytes.length) out.push(prefix);
    out.push((bytes[i] as number) | 0x80);
  }
  return Uint8Array.from(out);
}

// TextDecoder's iso-8859-1 is windows-1252, which differs in 0x80–0x9F.
const LATIN_1: CharacterSet = { width: 1, decode: latin1 };
const ASCII = LATIN_1;
/** JIS X 0201 katakana; the left half is read as ASCII, so that 0x5C stays the delimiter that it is. */
const KATAKANA: CharacterSet = {
  width: 1,
  decode: (bytes) => latin1(bytes).replace(/[\xa1-\xdf]/g, (c) => String.fromCharCode(c.charCodeAt(0) + 0xfec0)),
};
const JIS_X_0208: CharacterSet = { width: 2, decode: (bytes) => decodeAs('euc-jp', raised(bytes)) };
const JIS_X_0212: CharacterSet = { width: 2, decode: (bytes) => decodeAs('euc-jp', raised(bytes, 0x8f)) };
const KS_X_1001: CharacterSet = { width: 2, decode: (bytes) => decodeAs('euc-kr', bytes) };
const GB_2312: CharacterSet = { width: 2, decode: (bytes) => decodeAs('gb18030', bytes) };

/** ISO registration number of defined terms (PS3.3 Tables C.12-2 to C.12-4) → the set, and where it is invoked. */
const SETS: Record<string, { g0?: CharacterSet; g1?: CharacterSet }> = {
  6: { g0: ASCII },
  13: { g0: ASCII, g1: KATAKANA },
  58: { g1: GB_2312 },
  87: { g0: JIS_X_0208 },
  100: { g1: LATIN_1 },
  101: { g1: single('iso-8859-2') },
  109: { g1: single('iso-8859-3') },
  110: { g1: single('iso-8859-4') },
  126: { g1: single('iso-8859-7') },
  127: { g1: single('iso-8859-6') },
  138: { g1: single('iso-8859-8') },
  144: { g1: single('iso-8859-5') },
  148: { g1: single('iso-8859-9') },
  149: { g1: KS_X_1001 },
  159: { g0: JIS_X_0212 },
  166: { g1: single('iso-8859-11') },
  203: { g1: single('iso-8859-15') },
};

/** Escape sequences after ESC → what they designate. */
const ESCAPES: [sequence: string, { g0?: CharacterSet | undefined; g1?: CharacterSet | undefined }][] = [
  ['(B', { g0: ASCII }],
  ['(J', { g0: ASCII }],
  [')I', { g1: KATAKANA }],
  ['$B', { g0: JIS_X_0208 }],
  ['$@', { g0: JIS_X_0208 }],
  ['$(D', { g0: JIS_X_0212 }],
  ['$)C', { g1: KS_X_1001 }],
  ['$)A', { g1: GB_2312 }],
  ...Object.entries({ A: 100, B: 101, C: 109, D: 110, F: 126, G: 127, H: 138, L: 144, M: 148, T: 166, b: 203 }).map(
    ([final, ir]): [string, { g1?: CharacterSet | undefined }] => [`-${final}`, { g1: SETS[ir]?.g1 }],
  ),
];

function escapeAt(bytes: Uint8Array, at: number): (typeof ESCAPES)[number] | undefined {
  return ESCAPES.find(([sequence]) => {
    for (let i = 0; i < sequence.length; i++) if (bytes[at + i] !== sequence.charCodeAt(i)) return false;
    return true;
  });
}

/** ISO 2022 code extensions: a run of bytes is decoded by the set that is designated where it lies. */
function decodeISO2022(bytes: Uint8Array, person: boolean, initialG0: CharacterSet, initialG1: CharacterSet): string {
  let text = '';
  let g0 = initialG0;
  let g1 = initialG1;
  let start = 0;
  let high = false;
  const flush = (end: number): void => {
    if (end > start) text += (high ? g1 : g0).decode(bytes.subarray(start, end));
    start = end;
  };
  for (let i = 0; i < bytes.length; ) {
    const byte = bytes[i] as number;
    if (byte === ESC) {
      const found = escapeAt(bytes, i + 1);
      if (found) {
        flush(i);
        g0 = found[1].g0 ?? g0;
        g1 = found[1].g1 ?? g1;
        i += 1 + found[0].length;
        start = i;
        continue;
      }
    }
    if (byte >= 0x80 !== high) {
      flush(i);
      high = byte >= 0x80;
    }
    // Delimiters and line ends bring back the sets of value 1 (PS3.5 §6.1.2.5.3); inside a two-byte character there are none.
    const twoBytes = high ? g1.width === 2 : g0.width === 2 && byte >= 0x21;
    if (twoBytes) {
      i += 2;
      continue;
    }
    i++;
    if (
      byte === 0x5c ||
      byte === 0x0a ||
      byte === 0x0c ||
      byte === 0x0d ||
      (person && (byte === 0x5e || byte === 0x3d))
    ) {
      flush(i);
      g0 = initialG0;
      g1 = initialG1;
    }
  }
  flush(bytes.length);
  return text;
}

function isUTF8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function whole(label: string): Omit<SpecificCharacterSet, 'value'> {
  return { named: true, unknown: false, decode: (bytes) => decodeAs(label, bytes) };
}

function decodeUndeclared(bytes: Uint8Array, person: boolean): string {
  if (bytes.includes(ESC)) return decodeISO2022(bytes, person, ASCII, LATIN_1);
  return isUTF8(bytes) ? decodeAs('utf-8', bytes) : latin1(bytes);
}

/** No Specific Character Set: ISO IR 6. Bytes beyond it are taken as UTF-8 where they are that, else as Latin-1. */
export const DEFAULT_CHARACTER_SET: SpecificCharacterSet = {
  value: '',
  named: false,
  unknown: false,
  decode: decodeUndeclared,
};

const parsed = new Map<string, SpecificCharacterSet>();

/** What a Specific Character Set value (backslash-separated) says; spellings that are common but wrong are understood. */
export function specificCharacterSet(value: string): SpecificCharacterSet {
  let set = parsed.get(value);
  if (!set) {
    set = { ...parse(value), value };
    if (parsed.size < 256) parsed.set(value, set);
  }
  return set;
}

function parse(value: string): Omit<SpecificCharacterSet, 'value'> {
  const terms = value.split('\\').map((term) => term.trim().toUpperCase());
  const first = terms[0] as string;
  if (/^GB[\s_-]?18030$/.test(first)) return whole('gb18030');
  if (first === 'GBK') return whole('gbk');
  if (/192$|^UTF-?8$/.test(first)) return whole('utf-8');
  let unknown = false;
  const sets = terms.map((term) => {
    if (term === '') return { g0: ASCII };
    const number = /^ISO[\s_-]*(?:2022)?[\s_-]*IR[\s_-]*(\d+)$/.exec(term)?.[1];
    const found = number === undefined ? undefined : SETS[number];
    if (!found) unknown = true;
    return found ?? {};
  });
  if (unknown && sets.length === 1) return { named: true, unknown, decode: decodeUndeclared };
  if (terms.every((term) => term === '' || /^ISO[\s_-]*(2022)?[\s_-]*IR[\s_-]*6$/.test(term)))
    return { ...DEFAULT_CHARACTER_SET, named: true };
  // A two-byte set in G0 has to be designated before use, even as value 1 (PS3.3 C.12.1.1.2).
  const g0 = sets[0]?.g0?.width === 1 ? sets[0].g0 : ASCII;
  // Value 1 says what G1 holds at the start; writers that leave out an escape mean the first set that can be there.
  const g1 = sets[0]?.g1 ?? sets.find((candidate) => candidate.g1)?.g1 ?? LATIN_1;
  return { named: true, unknown, decode: (bytes, person) => decodeISO2022(bytes, person, g0, g1) };
}
