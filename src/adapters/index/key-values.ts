import type { DicomJson } from '../../dicom/model.ts';
import type { QueryLevel } from '../../dicom/query.ts';
import type { Log } from '../../kernel/log.ts';
import type { Connection } from './database.ts';
import { COLUMN_KEYS, ENTITY, type Key, keyTexts, listedKey } from './keys.ts';
import { readHeader } from './rows.ts';

/** Entities that are read at once while a key is taken in. */
const PAGE = 1000;

type Entity = 's' | 'e' | 'i';

/** Where the entities of a level are, and which version's header tells their values. */
const SOURCES: Record<Entity, string> = {
  s: 'SELECT id, latest AS version FROM studies WHERE id > ? ORDER BY id LIMIT ?',
  e: 'SELECT id, latest AS version FROM series WHERE id > ? AND instances > 0 ORDER BY id LIMIT ?',
  i: 'SELECT id, version FROM instances WHERE id > ? ORDER BY id LIMIT ?',
};

/**
 * Keys that have no column and are indexed because a setting says so: their values lie in `key_values`, under the number
 * that `key_names` gives each.
 */
export class KeyValues {
  /** By path. */
  readonly keys: ReadonlyMap<string, Key>;
  readonly #writer: Connection;
  readonly #byEntity = new Map<Entity, [path: string, key: Key][]>();

  constructor(writer: Connection, keys: ReadonlyMap<string, Key>) {
    this.#writer = writer;
    this.keys = keys;
    for (const entry of keys) {
      const entity = ENTITY[entry[1].level];
      this.#byEntity.set(entity, [...(this.#byEntity.get(entity) ?? []), entry]);
    }
  }

  /** Tags that an entity's values are made of. */
  tags(level: QueryLevel): string[] {
    return [...new Set((this.#byEntity.get(ENTITY[level]) ?? []).map(([path]) => path.slice(0, 8)))];
  }

  /** Takes over what a header says of an entity; `fresh`: it had nothing before. */
  replace(level: QueryLevel, entity: number, dataset: DicomJson, fresh: boolean): void {
    for (const [path, { kind, attribute = 0 }] of this.#byEntity.get(ENTITY[level]) ?? []) {
      if (!fresh) this.#writer.run('DELETE FROM key_values WHERE entity = ? AND attribute = ?', entity, attribute);
      this.#insert(attribute, keyTexts(dataset, path, kind), entity);
    }
  }

  /** Takes `paths` in from the headers of all that is held. */
  takeIn(paths: readonly string[]): void {
    for (const [entity, keys] of this.#byEntity) {
      const added = keys.filter(([path]) => paths.includes(path));
      if (added.length === 0) continue;
      for (let last = 0; ; ) {
        const rows = this.#writer.all(SOURCES[entity], last, PAGE);
        for (const row of rows) {
          const header = readHeader(this.#writer, Number(row.version));
          last = Number(row.id);
          for (const [path, { kind, attribute = 0 }] of added)
            this.#insert(attribute, keyTexts(header, path, kind), last);
        }
        if (rows.length < PAGE) break;
      }
    }
  }

  #insert(attribute: number, texts: string[], entity: number): void {
    for (const text of texts) {
      this.#writer.run('INSERT INTO key_values (attribute, text, entity) VALUES (?, ?, ?)', attribute, text, entity);
    }
  }
}

/**
 * Opens the keys of the setting: those that are new are taken in from the stored headers, which takes a second for some
 * 20,000 of them, and those that are named no more are dropped, all in one transaction.
 */
export function openKeyValues(writer: Connection, listed: readonly string[], log: Log): KeyValues {
  const paths = [...new Set(listed)].filter((path) => !COLUMN_KEYS.has(path));
  writer.run('BEGIN IMMEDIATE');
  try {
    const held = new Map(
      writer.all('SELECT id, path FROM key_names').map((row) => [String(row.path), Number(row.id)] as const),
    );
    for (const [path, id] of held) {
      if (paths.includes(path)) continue;
      writer.run('DELETE FROM key_values WHERE attribute = ?', id);
      writer.run('DELETE FROM key_names WHERE id = ?', id);
    }
    const added = paths.filter((path) => !held.has(path));
    for (const path of added) held.set(path, writer.insert('INSERT INTO key_names (path) VALUES (?)', path));
    const keys = new Map(paths.map((path) => [path, listedKey(path, held.get(path) ?? 0)]));
    const values = new KeyValues(writer, keys);
    values.takeIn(added);
    writer.run('COMMIT');
    if (added.length > 0) log.info('index-keys-added', { count: added.length });
    return values;
  } catch (error) {
    if (writer.inTransaction) writer.run('ROLLBACK');
    throw error;
  }
}
