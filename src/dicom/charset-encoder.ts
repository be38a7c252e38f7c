import { specificCharacterSet } from './charset.ts';

/**
 * Text to the bytes of a Specific Character Set (PS3.5 §6.1.2). The tables are the decoder's own, turned round, so that
 * what is written is read back as it was.
 */
export interface CharacterEncoder {
  /** Value of Specific Character Set (0008,0005), backslash-separated. */
  readonly term: string;
  /** The bytes, or undefined where the set does not have one of the characters. */
  encode(text: string): Buffer | undefined;
}

/** A graphic set of ISO 2022: what designates it after ESC, and where its characters lie. */
interface CodeElement {
  escape: string;
  g0: boolean;
  width: 1 | 2;
  first: number;
  last: number;
}

function g1(sequence: string, first = 0xa0, last = 0xff): CodeElement {
  return { escape: sequence, g0: false, width: 1, first, last };
}

const ELEMENTS: Record<string, CodeElement> = {
  13: g1(')I', 0xa1, 0xdf),
  100: g1('-A'),
  101: g1('-B'),
  109: g1('-C'),
  110: g1('-D'),
  126: g1('-F'),
  127: g1('-G'),
  138: g1('-H'),
  144: g1('-L'),
  148: g1('-M'),
  166: g1('-T'),
  203: g1('-b'),
  58: { escape: '$)A', g0: false, width: 2, first: 0xa1, last: 0xfe },
  87: { escape: '$B', g0: true, width: 2, first: 0x21, last: 0x7e },
  149: { escape: '$)C', g0: false, width: 2, first: 0xa1, last: 0xfe },
  159: { escape: '$(D', g0: true, width: 2, first: 0x21, last: 0x7e },
};
const ESC = 0x1b;
const TO_ASCII = [ESC, 0x28, 0x42];
/** With JIS X 0201 as value 1, what G0 begins with and goes back to is its Roman letters (PS3.3 H.3.2). */
const TO_ROMAN = [ESC, 0x28, 0x4a];
/** Where the sets of value 1 count again (PS3.5 §6.1.2.5.3). */
const RESET = /[\\^=\r\n\f]/;

type Table = ReadonlyMap<string, readonly number[]>;
const tables = new Map<string, Table>();

/** Character → bytes, for all codes of a set, as `decode` reads them. */
function tableOf(name: string, codes: Iterable<number[]>, decode: (code: number[]) => string): Table {
  let table = tables.get(name) as Map<string, readonly number[]> | undefined;
  if (table) return table;
  table = new Map();
  for (const code of codes) {
    const text = decode(code);
    // A code without a character, or with several, cannot be turned round.
    if (text.length > 0 && [...text].length === 1 && text !== '\ufffd' && !table.has(text)) table.set(text, code);
  }
  tables.set(name, table);
  return table;
}

function* codes(first: number, last: number, width: 1 | 2): Generator<number[]> {
  for (let high = first; high <= last; high++) {
    if (width === 1) yield [high];
    else for (let low = first; low <= last; low++) yield [high, low];
  }
}

interface DesignatedSet {
  element: CodeElement;
  table: Table;
}

function designatedSet(number: string): DesignatedSet | undefined {
  const element = ELEMENTS[number];
  if (!element) return undefined;
  const { decode } = specificCharacterSet('ISO 2022 IR 6\\ISO 2022 IR 100');
  const designation = [ESC, ...Buffer.from(element.escape, 'latin1')];
  const table = tableOf(number, codes(element.first, element.last, element.width), (code) =>
    decode(Uint8Array.from([...designation, ...code]), false),
  );
  return { element, table };
}

const ASCII = /^[\0-\x7f]*$/;

function plain(term: string, encode: (text: string) => Buffer | undefined): CharacterEncoder {
  return { term, encode: (text) => (ASCII.test(text) ? Buffer.from(text, 'latin1') : encode(text)) };
}

export const UTF_8: CharacterEncoder = { term: 'ISO_IR 192', encode: (text) => Buffer.from(text) };

const encoders = new Map<string, CharacterEncoder | undefined>();

/** The encoder of a Specific Character Set value, or undefined where it is none that can be written. */
export function characterEncoder(value: string): CharacterEncoder | undefined {
  if (encoders.has(value)) return encoders.get(value);
  const encoder = make(value);
  if (encoders.size < 256) encoders.set(value, encoder);
  return encoder;
}

function make(value: string): CharacterEncoder | undefined {
  const terms = value.split('\\').map((term) => term.trim().toUpperCase());
  const [first = ''] = terms;
  if (first === 'ISO_IR 192') return UTF_8;
  if (first === 'GB18030' || first === 'GBK') return plain(first, chinese(first));
  const numbers = terms.map((term) => (term === '' ? '6' : /^ISO[_ ](?:2022 )?IR (\d+)$/.exec(term)?.[1]));
  if (!numbers.every((number) => number !== undefined && (number === '6' || number in ELEMENTS))) return undefined;
  const sets = numbers.map((number) => designatedSet(number as string));
  // A set in G0 as value 1, and one of two bytes, has to be designated before its use in any case.
  const initial = sets[0]?.element.g0 === false && sets[0].element.width === 1 ? sets[0] : undefined;
  const others = sets.filter((set): set is DesignatedSet => set !== undefined && set !== initial);
  const toASCII = numbers[0] === '13' ? TO_ROMAN : TO_ASCII;
  return plain(terms.join('\\'), (text) => encodeISO2022(text, initial, others, toASCII));
}

/** The two-byte part; the four-byte codes of GB 18030 are left to UTF-8. */
function chinese(term: string): (text: string) => Buffer | undefined {
  return (text) => {
    const { decode } = specificCharacterSet(term);
    const table = tableOf(term, codes(0x40, 0xfe, 2), ([high = 0, low = 0]) =>
      high > 0x80 && low !== 0x7f ? decode(Uint8Array.of(high, low), false) : '',
    );
    const bytes: number[] = [];
    for (const character of text) {
      if (character < '\x80') bytes.push(character.charCodeAt(0));
      else {
        const code = table.get(character);
        if (!code) return undefined;
        bytes.push(...code);
      }
    }
    return Buffer.from(bytes);
  };
}

function encodeISO2022(
  text: string,
  initial: DesignatedSet | undefined,
  others: DesignatedSet[],
  ascii: readonly number[],
): Buffer | undefined {
  const bytes: number[] = [];
  /** Undefined in G0: ASCII. */
  let inG0: DesignatedSet | undefined;
  let inG1 = initial;
  const toASCII = (): void => {
    if (inG0) bytes.push(...ascii);
    inG0 = undefined;
  };
  for (const character of text) {
    if (character < '\x80') {
      toASCII();
      bytes.push(character.charCodeAt(0));
      if (RESET.test(character)) inG1 = initial;
      continue;
    }
    let set = [inG0, inG1].find((held) => held?.table.has(character));
    if (!set) {
      set = others.find((other) => other.table.has(character)) ?? (initial?.table.has(character) ? initial : undefined);
      if (!set) return undefined;
      // What lies in G1 is read as such whatever G0 holds, but few readers expect it: ASCII comes back first.
      if (!set.element.g0) toASCII();
      bytes.push(ESC, ...Buffer.from(set.element.escape, 'latin1'));
      if (set.element.g0) inG0 = set;
      else inG1 = set;
    }
    bytes.push(...(set.table.get(character) as readonly number[]));
  }
  toASCII();
  return Buffer.from(bytes);
}
