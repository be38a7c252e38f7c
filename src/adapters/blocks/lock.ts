import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DagpacsError } from '../../kernel/errors.ts';

/**
 * Takes a data directory for this process. The lock is the operating system's (through SQLite), so that it goes with the
 * process however that ends.
 * @returns a function that gives the directory back
 * @throws DagpacsError `bad-setting` where another process has it, or where it cannot be written
 */
export function lockDirectory(directory: string): () => void {
  try {
    makeDirectory(directory);
    const database = new DatabaseSync(join(directory, 'lock.sqlite'), { timeout: 0 });
    try {
      database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    } catch (error) {
      database.close();
      throw error;
    }
    return () => database.close();
  } catch (error) {
    const busy = (error as { errcode?: number }).errcode === 5;
    const message = busy
      ? `another DagPACS runs on the data directory ${directory}`
      : `the data directory ${directory} cannot be used: lock.sqlite: ${(error as Error).message}`;
    const rule = busy ? 'one bridge a data directory' : 'must be a directory that can be written';
    throw new DagpacsError('bad-setting', message, { attribute: 'DAGPACS_DATA_DIR', rule }, { cause: error });
  }
}

/** One directory at a time: Node's recursive mkdir never ends where a parent takes no directories, as under `/proc`. */
function makeDirectory(directory: string): void {
  if (existsSync(directory)) return;
  makeDirectory(dirname(directory));
  mkdirSync(directory, { mode: 0o700 });
}
