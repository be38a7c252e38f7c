import { zstdCompressSync } from 'node:zlib';
import { NOTE_ORIGIN, readRejectionNote } from '../../dicom/rejection-note.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Addition } from '../../ports/index.ts';
import { INSTANCE_ATTRIBUTES } from './attributes.ts';
import type { Connection } from './database.ts';
import type { KeyValues } from './key-values.ts';
import { GLUE, headerMembers, numberOf, pick } from './members.ts';
import { readHeader } from './rows.ts';
import { NO_NUMBER } from './schema.ts';
import type { SeriesEntry } from './series.ts';
import type { StateRow } from './state.ts';
import { type StudyEntry, StudyTable } from './studies.ts';

/** Bytes of JSON from which a frame table is worth compressing. */
const LARGE_LAYOUT = 1024;

/**
 * Writes additions into the open transaction: three rows for an instance, and one update of its study, its series and the
 * state for all additions of a transaction, which {@link flush} makes.
 */
export class Additions {
  readonly #writer: Connection;
  readonly #state: StateRow;
  readonly #studies: StudyTable;
  readonly #keys: KeyValues;

  constructor(writer: Connection, state: StateRow, keys: KeyValues) {
    this.#writer = writer;
    this.#state = state;
    this.#keys = keys;
    this.#studies = new StudyTable(writer, keys);
  }

  /** @throws DagpacsError `instance-in-other-study`, `storage-failed` */
  add(addition: Addition): void {
    if (addition.receivedFrom.startsWith(NOTE_ORIGIN)) {
      this.#reject(addition);
      return;
    }
    let study = this.#studies.find(addition.studyInstanceUID);
    if (!study) {
      study = this.#studies.create(addition.studyInstanceUID);
    }
    const series =
      study.allSeries.find(addition.seriesInstanceUID) ?? study.allSeries.create(addition.seriesInstanceUID);
    // Versions are never deleted, so that their count is the last one's row id.
    const id = this.#state.current.versions + 1;
    const number = numberOf(addition.dataset['00200013'], NO_NUMBER);
    const extra = headerMembers(pick(addition.dataset, INSTANCE_ATTRIBUTES), INSTANCE_ATTRIBUTES).join(GLUE);
    let instance = this.#writer.insert(
      'INSERT INTO instances (uid, series, number, version, extra) VALUES (?, ?, ?, ?, ?) ON CONFLICT (uid) DO NOTHING',
      addition.sopInstanceUID,
      series.id,
      number,
      id,
      extra,
    );
    let version = 1;
    let previous: number | null = null;
    if (instance === 0) {
      const held = this.#held(addition, study);
      if (!held) {
        this.#follow(addition);
        return;
      }
      instance = held.id;
      version = held.version + 1;
      previous = held.row;
      this.#writer.run(
        'UPDATE instances SET series = ?, number = ?, version = ?, extra = ? WHERE id = ?',
        series.id,
        number,
        id,
        extra,
        instance,
      );
      if (held.series < 0) {
        // It was rejected, and is there again.
        this.#enter(study, series);
        this.#count(study, 1);
      } else if (held.series !== series.id) {
        this.#leave(study, study.allSeries.byId(held.series), held.row, id);
        this.#enter(study, series);
      }
      if (held.class !== addition.sopClassUID) study.recount = true;
    } else {
      this.#enter(study, series);
      this.#count(study, 1);
    }
    this.#keys.replace('instance', instance, addition.dataset, previous === null);
    this.#insert(addition, { id, instance, series: series.id, version, previous });
    this.#state.change('versions', 1);
    this.#state.change('pending', 1);
    this.#follow(addition);
    if (study.allSeries.refresh(series, addition.dataset)) study.recount = true;
    this.#studies.refresh(study, addition.dataset);
    this.#studies.include(study, 'modalities', series.modality);
    this.#studies.include(study, 'classes', addition.sopClassUID);
    series.latest = id;
    series.revision = id;
    study.revision = id;
    study.latest = id;
    series.dirty = true;
    study.dirty = true;
  }

  flush(): void {
    this.#studies.flush();
  }

  forget(): void {
    this.#studies.forget();
  }

  #follow({ next }: Addition): void {
    if (next) this.#state.moveTo(next);
  }

  /** The instance as it is held, or undefined where this very node is. */
  #held(addition: Addition, study: StudyEntry) {
    if (this.#writer.get('SELECT 1 FROM versions WHERE node = ?', addition.node.bytes)) return undefined;
    const row = this.#writer.get(
      `SELECT i.id, i.series, i.version AS row, v.version, v.class, e.study FROM instances i JOIN versions v ON v.id = i.version
        JOIN series e ON e.id = abs(i.series) WHERE i.uid = ?`,
      addition.sopInstanceUID,
    );
    if (Number(row?.study) !== study.id) {
      throw new DagpacsError('instance-in-other-study', 'The instance is held in another study', {
        attribute: 'SOPInstanceUID',
        tag: '00080018',
      });
    }
    return {
      id: Number(row?.id),
      series: Number(row?.series),
      row: Number(row?.row),
      version: Number(row?.version),
      class: String(row?.class),
    };
  }

  /** A rejection note: it hides the instances that it names, and itself. */
  #reject(addition: Addition): void {
    const study = this.#studies.find(addition.studyInstanceUID) ?? this.#studies.create(addition.studyInstanceUID);
    const own = study.allSeries.find(addition.seriesInstanceUID) ?? study.allSeries.create(addition.seriesInstanceUID);
    const id = this.#state.current.versions + 1;
    const instance = this.#writer.insert(
      "INSERT INTO instances (uid, series, number, version, extra) VALUES (?, ?, ?, ?, '') ON CONFLICT (uid) DO NOTHING",
      addition.sopInstanceUID,
      -own.id,
      NO_NUMBER,
      id,
    );
    this.#follow(addition);
    if (instance === 0) return;
    this.#insert(addition, { id, instance, series: own.id, version: 1, previous: null });
    this.#state.change('versions', 1);
    this.#state.change('pending', 1);
    const { reason, instances } = readRejectionNote(addition.dataset);
    this.#writer.run('INSERT INTO rejections (id, reason) VALUES (?, ?)', id, reason);
    const touched = new Set<SeriesEntry>();
    for (const uid of instances) {
      const series = this.#hide(uid, study, id);
      if (series) touched.add(series);
    }
    if (touched.size > 0) this.#settle(study, touched, id);
  }

  /** Takes an instance out of its series, with all of its versions. @returns the series, where it was in one */
  #hide(sopInstanceUID: string, study: StudyEntry, note: number): SeriesEntry | undefined {
    const row = this.#writer.get(
      'SELECT i.id, i.series, i.version FROM instances i JOIN series e ON e.id = i.series WHERE i.uid = ? AND e.study = ?',
      sopInstanceUID,
      study.id,
    );
    if (!row) return undefined;
    this.#writer.run('UPDATE instances SET series = -series WHERE id = ?', Number(row.id));
    for (let version = Number(row.version); version > 0; ) {
      const sql = 'UPDATE versions SET rejected = coalesce(rejected, ?) WHERE id = ? RETURNING previous';
      version = Number(this.#writer.get(sql, note, version)?.previous ?? 0);
    }
    const series = study.allSeries.byId(Number(row.series));
    this.#leave(study, series, Number(row.version), note);
    this.#count(study, -1);
    return series;
  }

  /** What is left says what study and series are. */
  #settle(study: StudyEntry, touched: ReadonlySet<SeriesEntry>, revision: number): void {
    for (const series of touched) {
      if (series.instances > 0) study.allSeries.refresh(series, readHeader(this.#writer, series.latest));
    }
    study.recount = true;
    study.revision = revision;
    study.dirty = true;
    if (study.instances === 0) return;
    const sql = 'SELECT max(i.version) AS latest FROM series e JOIN instances i ON i.series = e.id WHERE e.study = ?';
    study.latest = Number(this.#writer.get(sql, study.id)?.latest);
    this.#studies.refresh(study, readHeader(this.#writer, study.latest));
  }

  /** An instance more or less; a study without any is none. */
  #count(study: StudyEntry, by: 1 | -1): void {
    study.instances += by;
    this.#state.change('instances', by);
    if (study.instances === (by === 1 ? 1 : 0)) this.#state.change('studies', by);
  }

  #enter(study: StudyEntry, series: SeriesEntry): void {
    series.instances += 1;
    if (series.instances > 1) return;
    study.series += 1;
    this.#state.change('series', 1);
  }

  #leave(study: StudyEntry, series: SeriesEntry, version: number, revision: number): void {
    series.instances -= 1;
    series.revision = revision;
    series.dirty = true;
    if (series.latest === version) study.allSeries.replaceLatest(series);
    if (series.instances > 0) return;
    study.series -= 1;
    study.recount = true;
    this.#state.change('series', -1);
  }

  #insert(
    addition: Addition,
    row: { id: number; instance: number; series: number; version: number; previous: number | null },
  ): void {
    this.#writer.run(
      `INSERT INTO versions (id, instance, series, version, previous, class, syntax, sha256, size, dataset_offset, received_at,
        received_from, node, object, wrapped_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      row.id,
      row.instance,
      row.series,
      row.version,
      row.previous,
      addition.sopClassUID,
      addition.transferSyntaxUID,
      addition.sha256,
      addition.size,
      addition.datasetOffset,
      addition.receivedAt,
      addition.receivedFrom,
      addition.node.bytes,
      addition.object.bytes,
      addition.wrappedKey,
    );
    const layout = JSON.stringify({ frames: addition.frames, bulk: addition.bulk });
    this.#writer.run(
      'INSERT INTO details (id, header, layout) VALUES (?, ?, ?)',
      row.id,
      addition.header,
      layout.length < LARGE_LAYOUT ? layout : zstdCompressSync(layout),
    );
  }
}
