import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Log } from '../../kernel/log.ts';
import type { Connection } from './database.ts';

/** Commits between two looks at the WAL's length. */
const LOOK_EVERY = 16;

/**
 * Writes the WAL back in a thread of its own: a checkpoint waits for the disk twice, which must not stop everything else.
 * The first pass runs beside the writer; while the second takes what came in meanwhile, the next transaction is held back
 * (see {@link ready}), so that the WAL is empty at its end and begins anew. If all this fails, SQLite's own checkpoint
 * comes in at a greater length.
 */
export class Checkpoints {
  readonly #path: string;
  readonly #writer: Connection;
  readonly #pages: number;
  readonly #log: Log;
  #worker: Worker | undefined;
  #commits = 0;
  #running: Promise<void> | undefined;
  #hold: Promise<void> | undefined;

  constructor(path: string, writer: Connection, pages: number, log: Log) {
    this.#path = path;
    this.#writer = writer;
    this.#pages = pages;
    this.#log = log;
  }

  /** What the next transaction should wait for; it never rejects. */
  get ready(): Promise<void> | undefined {
    return this.#hold;
  }

  /** To be called after each commit. */
  committed(): void {
    this.#commits += 1;
    if (this.#running || this.#commits % LOOK_EVERY !== 0) return;
    const frames = Number(this.#writer.get('PRAGMA wal_checkpoint(NOOP)')?.log);
    if (frames >= this.#pages) this.#running = this.#run();
  }

  /** Resolves when the thread is gone. */
  async close(): Promise<void> {
    await this.#running;
    await this.#worker?.terminate();
  }

  async #run(): Promise<void> {
    try {
      await this.#checkpoint();
      const second = this.#checkpoint();
      this.#hold = second.catch(() => undefined);
      await second;
    } catch (error) {
      this.#log.warn('index-checkpoint-failed', { reason: error instanceof Error ? error.name : 'unknown' });
      await this.#worker?.terminate();
      this.#worker = undefined;
    } finally {
      this.#hold = undefined;
      this.#running = undefined;
    }
  }

  async #checkpoint(): Promise<void> {
    if (!this.#worker) {
      this.#worker = new Worker(new URL('./checkpoint-worker.ts', import.meta.url), {
        workerData: this.#path,
        execArgv: [],
      });
      this.#worker.unref();
    }
    const worker = this.#worker;
    const over = new AbortController();
    const { signal } = over;
    const ended = once(worker, 'exit', { signal }).then(() => {
      throw new Error('the checkpoint thread ended');
    });
    worker.postMessage('checkpoint');
    try {
      await Promise.race([once(worker, 'message', { signal }), ended]);
    } finally {
      over.abort();
    }
  }
}
