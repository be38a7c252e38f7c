import type { Log } from '../../kernel/log.ts';

/** Options of the pack block store. */
export interface BlockStoreOptions {
  /** Directory of the packs and of the locations database; made with mode 0700. */
  directory: string;
  /** A pack that has reached this many bytes is closed and the next one begun. */
  packBytes: number;
  log: Log;
}

export const blockStoreDefaults = { packBytes: 1024 ** 3 };
