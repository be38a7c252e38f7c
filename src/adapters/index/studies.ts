import { nameGroups, nameWords } from '../../dicom/matching.ts';
import type { DicomElement, DicomJson } from '../../dicom/model.ts';
import { STUDY_ATTRIBUTES } from './attributes.ts';
import type { Connection } from './database.ts';
import type { KeyValues } from './key-values.ts';
import {
  CHARACTER_SET,
  dateOf,
  GLUE,
  headerMembers,
  merge,
  ONLINE,
  pick,
  sameElements,
  textOf,
  timeOf,
  valueMember,
} from './members.ts';
import { SeriesTable } from './series.ts';

/** Kinds of rows in `names`. */
export const NAME_KINDS = { '00100010': { group: 1, word: 2 }, '00080090': { group: 3, word: 4 } } as const;

/** A study as the open transaction sees it. */
export interface StudyEntry {
  id: number;
  uid: string;
  revision: number;
  /** Row of the version that stands for the study. */
  latest: number;
  series: number;
  instances: number;
  modalities: string[];
  classes: string[];
  /** The header's study attributes, where an instance was added since the entry was read. */
  elements: (DicomElement | undefined)[] | undefined;
  /** The member text, where `elements` is not known. */
  text: string | undefined;
  dirty: boolean;
  /** `modalities` or `classes` grew. */
  grown: boolean;
  /** What `modalities` and `classes` are made of may have shrunk. */
  recount: boolean;
  textChanged: boolean;
  allSeries: SeriesTable;
}

const CLEAN = { dirty: false, grown: false, recount: false, textChanged: false };

/** Studies kept between transactions. */
const MAX_ENTRIES = 64;

/** The studies of the last additions; writes each once per transaction. */
export class StudyTable {
  readonly #writer: Connection;
  readonly #keys: KeyValues;
  readonly #keyTags: string[];
  readonly #entries = new Map<string, StudyEntry>();

  constructor(writer: Connection, keys: KeyValues) {
    this.#writer = writer;
    this.#keys = keys;
    this.#keyTags = keys.tags('study');
  }

  find(uid: string): StudyEntry | undefined {
    const held = this.#entries.get(uid);
    if (held) return held;
    const row = this.#writer.get(
      `SELECT s.id, revision, latest, series, instances, modalities, classes, text FROM studies s
        JOIN study_texts t ON t.id = s.id WHERE uid = ?`,
      uid,
    );
    if (!row) return undefined;
    return this.#keep({
      id: Number(row.id),
      uid,
      revision: Number(row.revision),
      latest: Number(row.latest),
      series: Number(row.series),
      instances: Number(row.instances),
      modalities: JSON.parse(String(row.modalities)),
      classes: JSON.parse(String(row.classes)),
      elements: undefined,
      text: String(row.text),
    });
  }

  create(uid: string): StudyEntry {
    const id = this.#writer.insert(
      `INSERT INTO studies (uid, revision, latest, series, instances, study_date, study_time, modalities, classes, patient_id, issuer,
        birth_date, sex, accession, study_id, description) VALUES (?, 0, 0, 0, 0, '', '', '[]', '[]', '', '', '', '', '', '', '')`,
      uid,
    );
    const entry = { id, uid, revision: 0, latest: 0, series: 0, instances: 0, modalities: [], classes: [], text: '' };
    return this.#keep({ ...entry, elements: undefined });
  }

  /** Takes over what the newest instance says about the study. */
  refresh(entry: StudyEntry, dataset: DicomJson): void {
    const elements = [...pick(dataset, STUDY_ATTRIBUTES), ...this.#keyTags.map((tag) => dataset[tag])];
    if (entry.elements && sameElements(entry.elements, elements)) return;
    const fresh = entry.revision === 0;
    entry.elements = elements;
    this.#keys.replace('study', entry.id, dataset, fresh);
    const text = studyText(entry);
    if (entry.text === text) return;
    entry.text = text;
    entry.textChanged = true;
    const value = (tag: string) => dataset[tag];
    this.#writer.run(
      `UPDATE studies SET study_date = ?, study_time = ?, patient_id = ?, issuer = ?, birth_date = ?, sex = ?, accession = ?,
        study_id = ?, description = ? WHERE id = ?`,
      dateOf(value('00080020')),
      timeOf(value('00080030')),
      textOf(value('00100020')),
      textOf(value('00100021')),
      dateOf(value('00100030')),
      textOf(value('00100040')),
      textOf(value('00080050')),
      textOf(value('00200010')),
      textOf(value('00081030')),
      entry.id,
    );
    this.#writer.run('DELETE FROM names WHERE study = ?', entry.id);
    for (const [tag, kinds] of Object.entries(NAME_KINDS)) {
      const groups = (value(tag)?.Value ?? []).flatMap(nameGroups);
      this.#addNames(kinds.group, groups, entry.id);
      this.#addNames(kinds.word, groups.flatMap(nameWords), entry.id);
    }
  }

  /** Adds to ModalitiesInStudy or SOPClassesInStudy. */
  include(entry: StudyEntry, set: 'modalities' | 'classes', value: string): void {
    if (value === '' || entry[set].includes(value)) return;
    entry[set].push(value);
    entry[set].sort();
    entry.grown = true;
  }

  #addNames(kind: number, texts: string[], study: number): void {
    for (const text of new Set(texts)) {
      this.#writer.run('INSERT INTO names (kind, text, study) VALUES (?, ?, ?)', kind, text, study);
    }
  }

  /** Writes what changed, series first. */
  flush(): void {
    for (const entry of this.#entries.values()) {
      if (!entry.dirty) continue;
      entry.allSeries.flush();
      if (entry.recount) this.#recount(entry);
      if (entry.recount || entry.grown) this.#writeSets(entry);
      if (entry.textChanged) {
        this.#writer.run('INSERT OR REPLACE INTO study_texts (id, text) VALUES (?, ?)', entry.id, entry.text ?? '');
      }
      this.#writer.run(
        'UPDATE studies SET revision = ?, latest = ?, series = ?, instances = ? WHERE id = ?',
        entry.revision,
        entry.latest,
        entry.series,
        entry.instances,
        entry.id,
      );
      Object.assign(entry, CLEAN);
    }
    for (const uid of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ENTRIES) break;
      this.#entries.delete(uid);
    }
  }

  forget(): void {
    this.#entries.clear();
  }

  /** ModalitiesInStudy and SOPClassesInStudy, counted anew. */
  #recount(entry: StudyEntry): void {
    const modalities = this.#writer.all(
      "SELECT DISTINCT modality AS name FROM series WHERE study = ? AND instances > 0 AND modality <> '' ORDER BY 1",
      entry.id,
    );
    const classes = this.#writer.all(
      `SELECT DISTINCT v.class AS name FROM series e JOIN instances i ON i.series = e.id JOIN versions v ON v.id = i.version
        WHERE e.study = ? ORDER BY 1`,
      entry.id,
    );
    entry.modalities = modalities.map((row) => String(row.name));
    entry.classes = classes.map((row) => String(row.name));
  }

  #writeSets(entry: StudyEntry): void {
    this.#writer.run(
      'UPDATE studies SET modalities = ?, classes = ? WHERE id = ?',
      JSON.stringify(entry.modalities),
      JSON.stringify(entry.classes),
      entry.id,
    );
    entry.text = studyText(entry);
    entry.textChanged = true;
  }

  #keep(read: Omit<StudyEntry, keyof typeof CLEAN | 'allSeries'>): StudyEntry {
    const entry = { ...read, ...CLEAN, allSeries: new SeriesTable(this.#writer, this.#keys, read) };
    this.#entries.set(read.uid, entry);
    return entry;
  }
}

/** Every member of a study row but the two counts, which come last. */
function studyText(entry: StudyEntry): string {
  const own = entry.elements ? headerMembers(entry.elements, STUDY_ATTRIBUTES) : (entry.text ?? '').split(GLUE);
  return merge([
    ...own.filter((text) => text !== ''),
    CHARACTER_SET,
    ONLINE,
    valueMember('00080061', 'CS', entry.modalities),
    valueMember('00080062', 'UI', entry.classes),
    valueMember('00081190', 'UR', [`retrieve:/studies/${entry.uid}`]),
    valueMember('0020000D', 'UI', [entry.uid]),
  ]);
}
