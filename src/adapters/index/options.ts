/** What the index tells of itself. */
export interface IndexLog {
  warn(message: string): void;
}

export interface IndexOptions {
  /** The data directory; the index is `index.sqlite` in it. It must exist. */
  dataDir: string;
  /** Told when an index is set aside and begun anew. */
  log: IndexLog;
  /** Kilobytes of page cache for each of the two connections. */
  cacheKiB?: number;
  /** WAL pages after which a commit checkpoints even under load; while idle it happens much earlier. */
  checkpointPages?: number;
}

export const indexDefaults = {
  cacheKiB: 16_384,
  // 32 MiB: hot pages are rewritten many times in between, and the two fsyncs of a checkpoint are rare.
  checkpointPages: 8192,
} as const satisfies Partial<IndexOptions>;
