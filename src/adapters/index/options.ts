import type { Log } from '../../kernel/log.ts';

export interface IndexOptions {
  /** The data directory; the index is `index.sqlite` in it. It must exist. */
  dataDir: string;
  /** Told when an index is set aside and begun anew. */
  log: Log;
  /** Kilobytes of page cache for each of the two connections. */
  cacheKiB?: number;
  /** WAL pages after which a commit checkpoints even under load; while idle it happens much earlier. */
  checkpointPages?: number;
}

export const indexDefaults = {
  cacheKiB: 16_384,
  // A checkpoint stops the thread for 5 ms; with 8,192 pages for 30 ms, and an addition costs the same on average.
  checkpointPages: 1000,
} as const satisfies Partial<IndexOptions>;
