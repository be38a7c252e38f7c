import type { Connection } from './database.ts';

interface Job {
  apply(): void;
  /** Resolves when what the job follows is durable, to what is then left to write, or to the reason why it is not. */
  settled: Promise<{ conclude(): void } | { reason: unknown }> | undefined;
  resolve(): void;
  reject(reason: unknown): void;
}

export interface TransactionHooks {
  /** Before a BEGIN that may wait: what to wait for; it never rejects. */
  ready(): Promise<void> | undefined;
  /** Before a COMMIT: write what was gathered in memory. */
  flush(): void;
  /** After a COMMIT. */
  committed(): void;
  /** After a ROLLBACK: forget what was gathered or cached. */
  rolledBack(): void;
}

/**
 * The writer's transactions. Jobs that arrive while a transaction waits for its fsync share the next one. A transaction
 * is filled at once and committed when all it waits for has happened; a synchronous one that comes in between rolls it
 * back and it is filled again, since SQLite has a single writer and such ones are rare.
 */
export class WriteQueue {
  readonly #writer: Connection;
  readonly #hooks: TransactionHooks;
  #waiting: Job[] = [];
  #active = false;
  #running: Promise<void> = Promise.resolve();
  /** The open transaction holds the rows of the jobs that run. */
  #filled = false;

  constructor(writer: Connection, hooks: TransactionHooks) {
    this.#writer = writer;
    this.#hooks = hooks;
  }

  /**
   * Runs `apply` in a transaction that is committed when `durable` resolves, after `conclude` got what it resolved to.
   * Rejects with its reason, or with the job's own error.
   */
  submit<T = void>(apply: () => void, durable?: Promise<T>, conclude?: (value: T) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const settled = durable?.then(
      (value) => ({ conclude: () => conclude?.(value) }),
      (reason: unknown) => ({ reason }),
    );
    this.#waiting.push({ apply, settled, resolve, reject });
    if (!this.#active) {
      this.#active = true;
      this.#running = this.#run();
    }
    return promise;
  }

  /** Runs `work` in a transaction of its own, now; `full`: it survives a power cut once this returns. */
  now<T>(work: () => T, full = false): T {
    this.#rollback();
    // SQLite takes this outside a transaction only.
    if (full) this.#writer.exec('PRAGMA synchronous = FULL');
    try {
      this.#begin();
      const result = work();
      this.#commit();
      return result;
    } finally {
      this.#rollback();
      if (full) this.#writer.exec('PRAGMA synchronous = NORMAL');
    }
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#active) await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const ready = this.#hooks.ready();
      if (ready) await ready;
      let jobs = this.#waiting;
      this.#waiting = [];
      jobs = this.#fill(jobs);
      const durable: Job[] = [];
      const conclusions: { conclude(): void }[] = [];
      for (const job of jobs) {
        const settled = await job.settled;
        if (settled && 'reason' in settled) job.reject(settled.reason);
        else durable.push(job);
        if (settled && 'conclude' in settled) conclusions.push(settled);
      }
      if (durable.length < jobs.length) this.#rollback();
      if (!this.#filled) jobs = this.#fill(durable);
      try {
        if (this.#filled) for (const last of conclusions) last.conclude();
        if (this.#filled) this.#commit();
        for (const job of jobs) job.resolve();
      } catch (error) {
        this.#rollback();
        for (const job of jobs) job.reject(error);
      }
    }
    this.#active = false;
  }

  /** Opens a transaction with the rows of the jobs; those that fail are rejected and left out. */
  #fill(jobs: Job[]): Job[] {
    let left = jobs;
    while (left.length > 0) {
      let current: Job | undefined;
      try {
        this.#begin();
        for (current of left) current.apply();
        return left;
      } catch (error) {
        this.#rollback();
        // A failure that is no job's own (BEGIN) is everyone's.
        const failed = current;
        for (const job of left) if (!failed || job === failed) job.reject(error);
        left = failed ? left.filter((job) => job !== failed) : [];
      }
    }
    return left;
  }

  #begin(): void {
    this.#writer.run('BEGIN IMMEDIATE');
    this.#filled = true;
  }

  #commit(): void {
    this.#hooks.flush();
    this.#writer.run('COMMIT');
    this.#filled = false;
    this.#hooks.committed();
  }

  #rollback(): void {
    if (!this.#filled) return;
    this.#filled = false;
    this.#hooks.rolledBack();
    // A full disk makes SQLite roll back by itself.
    if (this.#writer.inTransaction) this.#writer.run('ROLLBACK');
  }
}
