import type { DicomElement, DicomJson } from '../../dicom/model.ts';
import { SERIES_ATTRIBUTES, SERIES_STEP_ATTRIBUTES } from './attributes.ts';
import type { Connection } from './database.ts';
import type { KeyValues } from './key-values.ts';
import {
  CHARACTER_SET,
  dateOf,
  GLUE,
  headerMembers,
  merge,
  numberOf,
  pick,
  sameElements,
  textOf,
  timeOf,
  valueMember,
} from './members.ts';
import { NO_NUMBER } from './schema.ts';

/** A series as the open transaction sees it. */
export interface SeriesEntry {
  id: number;
  uid: string;
  revision: number;
  /** Row of the version that was added last and is current: it stands for the series. */
  latest: number;
  instances: number;
  modality: string;
  elements: (DicomElement | undefined)[] | undefined;
  text: string | undefined;
  dirty: boolean;
}

const ALL_ATTRIBUTES = [...SERIES_ATTRIBUTES, ...SERIES_STEP_ATTRIBUTES];

/** The series of one study that additions were made to. */
export class SeriesTable {
  readonly #writer: Connection;
  readonly #study: number;
  readonly #studyUID: string;
  readonly #keys: KeyValues;
  readonly #keyTags: string[];
  readonly #entries = new Map<string, SeriesEntry>();

  constructor(writer: Connection, keys: KeyValues, study: { id: number; uid: string }) {
    this.#writer = writer;
    this.#keys = keys;
    this.#keyTags = keys.tags('series');
    this.#study = study.id;
    this.#studyUID = study.uid;
  }

  find(uid: string): SeriesEntry | undefined {
    const held = this.#entries.get(uid);
    if (held) return held;
    const row = this.#writer.get(
      `SELECT e.id, revision, latest, instances, modality, head, tail FROM series e JOIN series_texts t ON t.id = e.id
        WHERE uid = ? AND study = ?`,
      uid,
      this.#study,
    );
    if (!row) return undefined;
    return this.#keep({
      id: Number(row.id),
      uid,
      revision: Number(row.revision),
      latest: Number(row.latest),
      instances: Number(row.instances),
      modality: String(row.modality),
      text: row.head + GLUE + row.tail,
    });
  }

  /** The series with this row id. */
  byId(id: number): SeriesEntry {
    const row = this.#writer.get('SELECT uid FROM series WHERE id = ?', id);
    const entry = row && this.find(String(row.uid));
    if (!entry) throw new Error('an instance names a series that is not there');
    return entry;
  }

  create(uid: string): SeriesEntry {
    const id = this.#writer.insert(
      `INSERT INTO series (study, uid, revision, latest, instances, number, modality, description, body_part, pps_date, pps_time)
        VALUES (?, ?, 0, 0, 0, 0, '', '', '', '', '')`,
      this.#study,
      uid,
    );
    return this.#keep({ id, uid, revision: 0, latest: 0, instances: 0, modality: '', text: '' });
  }

  /** Takes over what the newest instance says about the series; true where that takes a modality away. */
  refresh(entry: SeriesEntry, dataset: DicomJson): boolean {
    const elements = [...pick(dataset, ALL_ATTRIBUTES), ...this.#keyTags.map((tag) => dataset[tag])];
    if (entry.elements && sameElements(entry.elements, elements)) return false;
    entry.elements = elements;
    this.#keys.replace('series', entry.id, dataset, entry.revision === 0);
    const head = merge([
      CHARACTER_SET,
      ...headerMembers(elements, SERIES_ATTRIBUTES),
      valueMember('00081190', 'UR', [`retrieve:/studies/${this.#studyUID}/series/${entry.uid}`]),
      valueMember('0020000D', 'UI', [this.#studyUID]),
      valueMember('0020000E', 'UI', [entry.uid]),
    ]);
    const tail = headerMembers(elements.slice(SERIES_ATTRIBUTES.length), SERIES_STEP_ATTRIBUTES).join(GLUE);
    const text = head + GLUE + tail;
    if (entry.text === text) return false;
    entry.text = text;
    const value = (tag: string) => dataset[tag];
    const modality = textOf(value('00080060'));
    this.#writer.run(
      `UPDATE series SET number = ?, modality = ?, description = ?, body_part = ?, pps_date = ?, pps_time = ? WHERE id = ?`,
      numberOf(value('00200011'), NO_NUMBER),
      modality,
      textOf(value('0008103E')),
      textOf(value('00180015')),
      dateOf(value('00400244')),
      timeOf(value('00400245')),
      entry.id,
    );
    this.#writer.run('INSERT OR REPLACE INTO series_texts (id, head, tail) VALUES (?, ?, ?)', entry.id, head, tail);
    const changed = entry.modality !== '' && modality !== entry.modality;
    entry.modality = modality;
    return changed;
  }

  /** Finds the version that stands for the series, after it lost the one that did. */
  replaceLatest(entry: SeriesEntry): void {
    const row = this.#writer.get('SELECT max(version) AS latest FROM instances WHERE series = ?', entry.id);
    entry.latest = Number(row?.latest ?? 0);
  }

  flush(): void {
    for (const entry of this.#entries.values()) {
      if (!entry.dirty) continue;
      this.#writer.run(
        'UPDATE series SET revision = ?, latest = ?, instances = ? WHERE id = ?',
        entry.revision,
        entry.latest,
        entry.instances,
        entry.id,
      );
      entry.dirty = false;
    }
  }

  #keep(read: Omit<SeriesEntry, 'dirty' | 'elements'>): SeriesEntry {
    const entry = { ...read, elements: undefined, dirty: false };
    this.#entries.set(read.uid, entry);
    return entry;
  }
}
