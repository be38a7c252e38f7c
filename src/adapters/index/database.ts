import { chmodSync, closeSync, openSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { diskFull, isDiskFull } from '../../kernel/disk-full.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import { type IndexOptions, indexDefaults } from './options.ts';
import { APPLICATION_ID, SCHEMA, SCHEMA_VERSION } from './schema.ts';

export type Row = Record<string, SQLOutputValue>;

/** Statements kept per connection; queries are composed, so there is no end to their texts. */
const MAX_STATEMENTS = 256;

/** One connection with its prepared statements. Every failure is a DagpacsError: `pushback` for a full disk, else `storage-failed`. */
export class Connection {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(path: string, readOnly: boolean, cacheKiB: number) {
    this.#database = guard(() => new DatabaseSync(path, { readOnly, timeout: 5000 }));
    try {
      this.exec(`PRAGMA cache_size = -${cacheKiB}; PRAGMA temp_store = MEMORY`);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get inTransaction(): boolean {
    return this.#database.isTransaction;
  }

  exec(sql: string): void {
    guard(() => this.#database.exec(sql));
  }

  run(sql: string, ...values: SQLInputValue[]): number {
    return guard(() => Number(this.#prepare(sql).run(...values).changes));
  }

  /** Runs an INSERT and answers its row id, or 0 where a conflict made it do nothing. */
  insert(sql: string, ...values: SQLInputValue[]): number {
    return guard(() => {
      const { changes, lastInsertRowid } = this.#prepare(sql).run(...values);
      return changes === 0 ? 0 : Number(lastInsertRowid);
    });
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return guard(() => this.#prepare(sql).get(...values));
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return guard(() => this.#prepare(sql).all(...values));
  }

  close(): void {
    this.#statements.clear();
    if (this.#database.isOpen) this.#database.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#database.prepare(sql);
      const oldest = this.#statements.size >= MAX_STATEMENTS ? this.#statements.keys().next().value : undefined;
      if (oldest !== undefined) this.#statements.delete(oldest);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

function guard<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof DagpacsError) throw error;
    if (isDiskFull(error)) throw diskFull(error);
    const advice = isDamage(error) ? ': index.sqlite is damaged; move it away, and a start builds it anew' : '';
    throw new DagpacsError('storage-failed', `The index database failed${advice}`, {}, { cause: error });
  }
}

export interface Connections {
  path: string;
  writer: Connection;
  /** Reads the last committed state while a transaction of the writer is open (WAL snapshot). */
  reader: Connection;
}

/**
 * Opens `index.sqlite`, or makes it. A file that is damaged or of another schema is set aside as `index.sqlite.old`, since
 * all that it holds follows from the log and the chain. @throws DagpacsError `storage-failed`
 */
export function openDatabase(options: IndexOptions): Connections {
  const path = join(options.dataDir, 'index.sqlite');
  const settings = { ...indexDefaults, ...options };
  return guard(() => {
    try {
      return connect(path, settings);
    } catch (error) {
      const reason = unusable(error);
      if (!reason) throw error;
      options.log.warn('index-set-aside', { reason, file: 'index.sqlite.old', next: 'built anew from the log' });
    }
    for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
    renameSync(path, `${path}.old`);
    const connections = connect(path, settings);
    keepValues(`${path}.old`, connections.writer, options);
    return connections;
  });
}

/**
 * Makes `index.sqlite` anew, empty but for its named values, so that nothing is left in it of what does not follow from the
 * log any more; what was set aside before is removed with it. @throws DagpacsError `storage-failed`
 */
export function renewDatabase(options: IndexOptions): void {
  const path = join(options.dataDir, 'index.sqlite');
  guard(() => {
    const remove = (file: string) => {
      for (const suffix of ['', '-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true });
    };
    remove(`${path}.old`);
    // Closing a connection writes its WAL into the file, so that all values are in it.
    const before = connect(path, { ...indexDefaults, ...options });
    before.reader.close();
    before.writer.close();
    renameSync(path, `${path}.old`);
    const { writer, reader } = connect(path, { ...indexDefaults, ...options });
    keepValues(`${path}.old`, writer, options);
    reader.close();
    writer.close();
    remove(`${path}.old`);
  });
}

/** Named values follow from nothing else, so they are taken over as far as the old file still gives them. */
function keepValues(path: string, writer: Connection, options: IndexOptions): void {
  let old: Connection | undefined;
  try {
    // Not read-only, so that closing it clears its WAL away.
    old = new Connection(path, false, indexDefaults.cacheKiB);
    for (const { name, value } of old.all('SELECT name, value FROM named_values')) {
      writer.run('INSERT INTO named_values (name, value) VALUES (?, ?)', String(name), String(value));
    }
  } catch {
    options.log.warn('index-values-lost', { file: 'index.sqlite.old' });
  } finally {
    old?.close();
  }
}

class OtherSchema extends Error {}

function connect(path: string, settings: { cacheKiB: number; checkpointPages: number }): Connections {
  // SQLite gives the WAL the mode of the database file, so it has to be right from the start.
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  const writer = new Connection(path, false, settings.cacheKiB);
  try {
    writer.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
    // The thread comes first, as long as it can (checkpoints.ts).
    writer.exec(`PRAGMA wal_autocheckpoint = ${settings.checkpointPages * 8}`);
    const id = Number(writer.get('PRAGMA application_id')?.application_id);
    const version = Number(writer.get('PRAGMA user_version')?.user_version);
    const tables = Number(writer.get('SELECT count(*) AS n FROM sqlite_schema')?.n);
    if (tables === 0) {
      writer.exec(
        `BEGIN; ${SCHEMA} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`,
      );
    } else if (id !== APPLICATION_ID || version !== SCHEMA_VERSION) {
      throw new OtherSchema(`the file has schema ${version} where ${SCHEMA_VERSION} is wanted`);
    }
    if (!writer.get('SELECT pack FROM state WHERE id = 1')) throw new OtherSchema('the file lacks its cursor');
    return { path, writer, reader: new Connection(path, true, settings.cacheKiB) };
  } catch (error) {
    writer.close();
    throw error;
  }
}

/** Why the file cannot be used, or undefined where the failure is not the file's (permissions, a full disk). */
function unusable(error: unknown): string | undefined {
  if (error instanceof OtherSchema) return error.message;
  const cause = error instanceof DagpacsError ? error.cause : error;
  // A table is missing.
  return isDamage(cause) || codeOf(cause) === SQLITE_ERROR ? 'the file is damaged' : undefined;
}

const SQLITE_ERROR = 1;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

function isDamage(error: unknown): boolean {
  return [SQLITE_CORRUPT, SQLITE_NOTADB].includes(codeOf(error));
}

function codeOf(error: unknown): number {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0;
}
