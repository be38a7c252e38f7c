import type { Log } from '../../kernel/log.ts';

export interface IndexOptions {
  /** The data directory; the index is `index.sqlite` in it. It must exist. */
  dataDir: string;
  /** Told when an index is set aside and begun anew. */
  log: Log;
  /** Attributes that are indexed beside those with a column: tags, or paths of them through sequences. */
  keys?: readonly string[];
  /** Kilobytes of page cache for each of the two connections. */
  cacheKiB?: number;
  /** WAL pages (4 KiB) after which a thread writes them back. */
  checkpointPages?: number;
}

export const indexDefaults = {
  cacheKiB: 16_384,
  checkpointPages: 4096,
} as const satisfies Partial<IndexOptions>;
