import { type CharacterEncoder, characterEncoder, UTF_8 } from './charset-encoder.ts';
import { DatasetWriter, type Encoding, encodeDataset, tagNumber, UNENCODABLE } from './encode.ts';
import type { DicomElement, DicomJson } from './model.ts';
import { type ValueKind, type ValueRepresentation, vrNamed } from './vr.ts';

const SPECIFIC_CHARACTER_SET = '00080005';
/** VRs whose single values are written as JSON has them. */
const TEXTS: ReadonlySet<ValueKind> = new Set(['ascii', 'text', 'long-text', 'uri', 'person', 'decimal', 'integer']);
const EQUALS = 0x3d;

/** An attribute that is looked for in each row. */
interface Field {
  tag: number;
  key: DicomElement;
  vr: ValueRepresentation;
  /** How its member of a row's JSON object begins, and how where it is the first. */
  needle: string;
  /** What is written where the row does not have it. */
  empty: Buffer;
  /** Where the value is one text: what is before it, and what follows it. Undefined for VRs of other values. */
  text: { before: string; after: string } | undefined;
}

/**
 * Writes rows of `Index.query` as data sets: of each row what `keys` names, a sequence with what the key's item names, and
 * `fixed` elements, which count before those. A row is not parsed: the members that are asked for are looked up in its text,
 * and only what is no single ASCII text is read as JSON. The bytes are those of {@link encodeDataset} for the same elements.
 */
export class RowEncoder {
  readonly #ways: { writer: DatasetWriter; parts: (Buffer | Field)[] }[];

  /** @param wanted Specific Character Set; rows with characters that it lacks are written in ISO_IR 192 */
  constructor(keys: DicomJson, fixed: DicomJson, encoding: Encoding, wanted = '') {
    const own = characterEncoder(wanted);
    const charsets = own && own !== UTF_8 ? [own, UTF_8] : [UTF_8];
    this.#ways = charsets.map((charset) => {
      const writer = new DatasetWriter(encoding, charset);
      return { writer, parts: partsOf(keys, { ...fixed, ...declared(charset) }, writer) };
    });
  }

  /** @param row JSON object with one member a line, as the index gives it */
  encode(row: string): Buffer {
    for (const { writer, parts } of this.#ways) {
      try {
        writer.begin();
        let at = 0;
        for (const part of parts) {
          if (Buffer.isBuffer(part)) writer.bytes(part);
          else at = write(writer, part, row, at);
        }
        return writer.taken();
      } catch (error) {
        if (error !== UNENCODABLE) throw error;
      }
    }
    throw new TypeError('UTF-8 has every character');
  }
}

function declared({ term }: CharacterEncoder): DicomJson {
  return { [SPECIFIC_CHARACTER_SET]: { vr: 'CS', Value: term.split('\\') } };
}

/** Elements in their order; those that are the same in each row are written here. */
function partsOf(keys: DicomJson, fixed: DicomJson, writer: DatasetWriter): (Buffer | Field)[] {
  const written = (tag: string, element: DicomElement): Buffer => {
    writer.begin();
    writer.element(tagNumber(tag), element);
    return writer.taken();
  };
  const tags = [...new Set([...Object.keys(keys), ...Object.keys(fixed)])].sort();
  return tags.map((tag) => {
    const same = fixed[tag];
    if (same) return written(tag, same);
    const key = keys[tag] as DicomElement;
    const vr = vrNamed(key.vr);
    const text = TEXTS.has(vr.kind)
      ? vr.kind === 'person'
        ? { before: `{"vr":"${vr.name}","Value":[{"Alphabetic":"`, after: '"}]}' }
        : { before: `{"vr":"${vr.name}","Value":["`, after: '"]}' }
      : undefined;
    return { tag: tagNumber(tag), key, vr, needle: `\n"${tag}":`, empty: written(tag, { vr: key.vr }), text };
  });
}

/** Writes one attribute of a row. @param from where it is looked for first @returns where the next one may be */
function write(writer: DatasetWriter, { tag, key, vr, needle, empty, text }: Field, row: string, from: number): number {
  let found = row.indexOf(needle, from);
  if (found < 0 && from > 0) found = row.indexOf(needle);
  // The first member has a brace before it.
  if (found < 0 && row.startsWith(needle.slice(1), 1)) found = 0;
  if (found < 0) {
    writer.bytes(empty);
    return from;
  }
  const start = found + needle.length;
  if (text && row.startsWith(text.before, start)) {
    const end = row.indexOf('"', start + text.before.length);
    // Equals signs at a name's end stand for component groups that are not there.
    const plain = row.startsWith(text.after, end) && !(vr.kind === 'person' && row.charCodeAt(end - 1) === EQUALS);
    if (plain && writer.quoted(tag, vr, row, start + text.before.length, end)) return end;
  }
  const end = row.indexOf('\n', start);
  // A comma, or the brace of the object, comes after it.
  const member = JSON.parse(row.slice(start, end < 0 ? -1 : end - 1)) as DicomElement;
  writer.element(tag, pruned(member, key));
  return start;
}

/** A sequence with the attributes of its items that the key's item asks for; anything else as it is, or empty. */
function pruned(element: DicomElement | undefined, key: DicomElement): DicomElement {
  if (!element) return { vr: key.vr };
  const [item] = (key.vr === 'SQ' ? (key.Value ?? []) : []) as DicomJson[];
  if (!item || Object.keys(item).length === 0 || element.vr !== 'SQ') return element;
  const items = (element.Value ?? []).map((value) => {
    const held = (value ?? {}) as DicomJson;
    return Object.fromEntries(Object.entries(item).map(([tag, inner]) => [tag, pruned(held[tag], inner)]));
  });
  return { vr: 'SQ', Value: items };
}
