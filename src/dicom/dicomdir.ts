import { vrOf } from './dictionary.ts';
import { PATIENT_KEYS, recordTypeOf, SERIES_KEYS, STUDY_KEYS } from './directory-records.ts';
import { encodeDataset } from './encode.ts';
import { writeFileMeta } from './meta.ts';
import type { DicomJson } from './model.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN } from './transfer-syntax.ts';

/** One file of a file-set. */
export interface DirectoryFile {
  /** Components of its File ID, at most 8 of at most 8 upper-case letters, digits and underscores each (PS3.10 §8.2). */
  fileID: readonly string[];
  sopClassUID: string;
  sopInstanceUID: string;
  transferSyntaxUID: string;
  header: DicomJson;
}

const MEDIA_STORAGE_DIRECTORY = '1.2.840.10008.1.3.10';
const ENCODING = { implicit: false, bigEndian: false };
const ITEM_HEADER = 8;
/** Of a record's body: the value of Offset of the Next Directory Record, its first element … */
const NEXT = 8;
/** … and that of Offset of Referenced Lower-Level Directory Entity, its third one. */
const LOWER = 30;

interface Node {
  body: Buffer;
  offset: number;
  children: Node[];
}

/**
 * Makes the DICOMDIR (PS3.3 Annex F, PS3.10 §8.6) of one study's files as they are added, which are of one series after the
 * other. Only the records are held, some 300 bytes a file.
 */
export class DicomdirWriter {
  readonly #series: Node[] = [];
  #patient: Node | undefined;
  #study: Node | undefined;
  #seriesUID: unknown;

  add({ fileID, sopClassUID, sopInstanceUID, transferSyntaxUID, header }: DirectoryFile): void {
    this.#patient ??= record('PATIENT', header, PATIENT_KEYS);
    this.#study ??= record('STUDY', header, STUDY_KEYS);
    const seriesUID = header['0020000E']?.Value?.[0];
    if (seriesUID !== this.#seriesUID) this.#series.push(record('SERIES', header, SERIES_KEYS));
    this.#seriesUID = seriesUID;
    const { name, keys } = recordTypeOf(sopClassUID);
    const file = record(name, header, keys, {
      ...(name === 'PRIVATE' && { '00041432': { vr: 'UI', Value: [sopClassUID] } }),
      '00041500': { vr: 'CS', Value: [...fileID] },
      '00041510': { vr: 'UI', Value: [sopClassUID] },
      '00041511': { vr: 'UI', Value: [sopInstanceUID] },
      '00041512': { vr: 'UI', Value: [transferSyntaxUID] },
    });
    (this.#series.at(-1) as Node).children.push(file);
  }

  /** The whole file. @param sopInstanceUID its own UID */
  end(sopInstanceUID: string): Buffer {
    const meta = writeFileMeta({
      sopClassUID: MEDIA_STORAGE_DIRECTORY,
      sopInstanceUID,
      transferSyntaxUID: EXPLICIT_VR_LITTLE_ENDIAN,
    });
    const roots = this.#patient && this.#study ? [{ ...this.#patient, children: [this.#study] }] : [];
    if (this.#study) this.#study.children = this.#series;
    const head = Buffer.concat([
      element('1130', 'CS', Buffer.from('DAGPACS ')),
      element('1200', 'UL', Buffer.alloc(4)),
      element('1202', 'UL', Buffer.alloc(4)),
      element('1212', 'US', Buffer.alloc(2)),
    ]);
    const sequence = Buffer.from([0x04, 0x00, 0x20, 0x12, 0x53, 0x51, 0, 0, 0, 0, 0, 0]);
    const start = meta.length + head.length + sequence.length;
    const nodes = [...inOrder(roots)];
    let at = start;
    for (const node of nodes) {
      node.offset = at;
      at += ITEM_HEADER + node.body.length;
    }
    sequence.writeUInt32LE(at - start, 8);
    const root = roots[0]?.offset ?? 0;
    // Behind the first element's value of 8 bytes: two elements of 12 bytes.
    head.writeUInt32LE(root, 16 + 8);
    head.writeUInt32LE(root, 28 + 8);
    link(roots);
    const items = nodes.flatMap(({ body }) => [itemOf(body), body]);
    return Buffer.concat([meta, head, sequence, ...items], at);
  }
}

function element(number: string, vr: string, value: Buffer): Buffer {
  const head = Buffer.from(`0400${number.slice(2)}${number.slice(0, 2)}00000000`, 'hex');
  head.write(vr, 4, 'latin1');
  head.writeUInt16LE(value.length, 6);
  return Buffer.concat([head, value]);
}

function itemOf(body: Buffer): Buffer {
  const item = Buffer.from('feff00e000000000', 'hex');
  item.writeUInt32LE(body.length, 4);
  return item;
}

/** A record without its links. */
function record(name: string, header: DicomJson, keys: readonly string[], own: DicomJson = {}): Node {
  const dataset: DicomJson = {
    '00041400': { vr: 'UL', Value: [0] },
    '00041410': { vr: 'US', Value: [0xffff] },
    '00041420': { vr: 'UL', Value: [0] },
    '00041430': { vr: 'CS', Value: [name] },
    ...own,
  };
  for (const tag of keys) dataset[tag] = header[tag] ?? { vr: vrOf(tag) };
  const charset = (header['00080005']?.Value ?? []).join('\\');
  return { body: encodeDataset(dataset, ENCODING, charset), offset: 0, children: [] };
}

function* inOrder(nodes: readonly Node[]): Generator<Node> {
  for (const node of nodes) {
    yield node;
    yield* inOrder(node.children);
  }
}

/** Writes where the record after each is, and the first one below it; 0 where there is none. */
function link(nodes: readonly Node[]): void {
  nodes.forEach(({ body, children }, i) => {
    body.writeUInt32LE(nodes[i + 1]?.offset ?? 0, NEXT);
    body.writeUInt32LE(children[0]?.offset ?? 0, LOWER);
    link(children);
  });
}
