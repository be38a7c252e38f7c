import { chmodSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Cid } from '../../ipld/cid.ts';
import type { Log } from '../../kernel/log.ts';
import type { Position } from '../../ports/blocks.ts';

/** Where a block's bytes lie. */
export interface Location {
  pack: number;
  offset: number;
  length: number;
}

/** Found blocks wait here for one transaction: the insert is kept out of the way of the answer. */
const FLUSH_AFTER_MS = 200;
const FLUSH_AT = 4096;

/**
 * CID → place in the packs. Derived from the packs: what was not flushed before a crash is read from them again, so this
 * database is never synced for its own sake.
 */
export class Locations {
  readonly #database: DatabaseSync;
  readonly #find: StatementSync;
  readonly #insert: StatementSync;
  readonly #move: StatementSync;
  readonly #setCursor: StatementSync;
  readonly #recent = new Map<string, Location>();
  #waiting: { cid: Cid; location: Location }[] = [];
  #durable: Position;
  #timer: NodeJS.Timeout | undefined;
  #blocks: number;
  readonly #log: Log;

  constructor(path: string, log: Log) {
    this.#log = log;
    this.#database = new DatabaseSync(path);
    chmodSync(path, 0o600);
    this.#database.exec(`
      PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384;
      CREATE TABLE IF NOT EXISTS blocks (cid BLOB PRIMARY KEY, pack INTEGER NOT NULL, start INTEGER NOT NULL,
        length INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS cursor (id INTEGER PRIMARY KEY CHECK (id = 0), pack INTEGER NOT NULL,
        end INTEGER NOT NULL, blocks INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS fetched (cid BLOB PRIMARY KEY) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS thinned (pack INTEGER PRIMARY KEY);
      INSERT OR IGNORE INTO cursor VALUES (0, 0, 0, 0);`);
    this.#find = this.#database.prepare('SELECT pack, start, length FROM blocks WHERE cid = ?');
    this.#insert = this.#database.prepare('INSERT OR IGNORE INTO blocks VALUES (?, ?, ?, ?)');
    this.#move = this.#database.prepare('UPDATE blocks SET pack = ?, start = ?, length = ? WHERE cid = ?');
    this.#setCursor = this.#database.prepare('UPDATE cursor SET pack = ?, end = ?, blocks = ?');
    const row = this.#database.prepare('SELECT pack, end, blocks FROM cursor').get() as Record<string, number>;
    this.#durable = { pack: row.pack as number, offset: row.end as number };
    this.#blocks = row.blocks as number;
  }

  /** How far the packs are known here: all before it was durable when it was noted. */
  get cursor(): Position {
    return this.#durable;
  }

  get blocks(): number {
    return this.#blocks + this.#waiting.length;
  }

  /** Notes a block; it is found at once. */
  add(cid: Cid, location: Location): void {
    this.#recent.set(cid.toString(), location);
    this.#waiting.push({ cid, location });
  }

  /** All that was added so far is durable in the packs, up to `cursor`: it may be flushed. */
  settle(cursor: Position): void {
    this.#durable = cursor;
    if (this.#waiting.length >= FLUSH_AT) this.#flushInBackground();
    else this.#timer ??= setTimeout(() => this.#flushInBackground(), FLUSH_AFTER_MS).unref();
  }

  find(cid: Cid): Location | undefined {
    const recent = this.#recent.size > 0 ? this.#recent.get(cid.toString()) : undefined;
    if (recent) return recent;
    const row = this.#find.get(cid.bytes) as { pack: number; start: number; length: number } | undefined;
    return row && { pack: row.pack, offset: row.start, length: row.length };
  }

  #flushInBackground(): void {
    try {
      this.flush();
    } catch (error) {
      // Nothing is lost: the rows stay in memory, are tried again, and could be read from the packs.
      this.#log.error('block-locations-not-written', { reason: (error as Error).message });
    }
  }

  /** Writes the rows up to the settled cursor. @throws the database's error */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { pack, offset } = this.#durable;
    const settled = ({ location }: { location: Location }) =>
      location.pack < pack || (location.pack === pack && location.offset + location.length <= offset);
    const rows = this.#waiting.filter(settled);
    this.#database.exec('BEGIN');
    try {
      let added = 0;
      for (const { cid, location } of rows) {
        const { pack, offset, length } = location;
        const fresh = Number(this.#insert.run(cid.bytes, pack, offset, length).changes);
        added += fresh;
        // What was missing and is held again lies at its newest place.
        if (fresh === 0) this.#move.run(pack, offset, length, cid.bytes);
      }
      this.#setCursor.run(pack, offset, this.#blocks + added);
      this.#database.exec('COMMIT');
      this.#blocks += added;
    } catch (error) {
      // A full disk has rolled it back already.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
    this.#waiting = this.#waiting.filter((row) => !settled(row));
    for (const { cid } of rows) this.#recent.delete(cid.toString());
  }

  /** Notes that a block came from the swarm, where it therefore is. */
  noteFetched(cid: Cid): void {
    this.#database.prepare('INSERT OR IGNORE INTO fetched VALUES (?)').run(cid.bytes);
  }

  wasFetched(cid: Cid): boolean {
    return this.#database.prepare('SELECT 1 FROM fetched WHERE cid = ?').get(cid.bytes) !== undefined;
  }

  /**
   * Says where the blocks of a pack lie in the file that is to take its place, and which are gone. Durable when it returns:
   * this is the moment from which the new file counts. @throws the database's error
   */
  replacePack(pack: number, kept: readonly { cid: Cid; location: Location }[], dropped: readonly Cid[]): void {
    this.flush();
    // SQLite takes this outside a transaction only.
    this.#database.exec('PRAGMA synchronous = FULL; BEGIN');
    try {
      const move = this.#database.prepare('UPDATE blocks SET start = ? WHERE cid = ? AND pack = ?');
      let gone = 0;
      for (const { cid, location } of kept) {
        // The mark of a thinned pack is new in it.
        gone -= Number(this.#insert.run(cid.bytes, pack, location.offset, location.length).changes);
        move.run(location.offset, cid.bytes, pack);
      }
      const drop = this.#database.prepare('DELETE FROM blocks WHERE cid = ? AND pack = ?');
      const forget = this.#database.prepare('DELETE FROM fetched WHERE cid = ?');
      for (const cid of dropped) {
        gone += Number(drop.run(cid.bytes, pack).changes);
        forget.run(cid.bytes);
      }
      this.#database.prepare('UPDATE cursor SET blocks = blocks - ?').run(gone);
      this.#database.prepare('INSERT OR IGNORE INTO thinned VALUES (?)').run(pack);
      this.#database.exec('COMMIT');
      this.#blocks -= gone;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    } finally {
      this.#database.exec('PRAGMA synchronous = NORMAL');
    }
  }

  /** Packs of which {@link replacePack} was told, and whose file may not have been put in place yet. */
  replacedPacks(): number[] {
    return this.#database
      .prepare('SELECT pack FROM thinned')
      .all()
      .map((row) => Number(row.pack));
  }

  /** The new file is in its place. */
  packReplaced(pack: number): void {
    this.#database.prepare('DELETE FROM thinned WHERE pack = ?').run(pack);
  }

  close(): void {
    try {
      this.flush();
    } finally {
      this.#database.close();
    }
  }
}
