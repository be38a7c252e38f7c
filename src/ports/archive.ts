import type { Cid } from '../ipld/cid.ts';

/** Blocks that lie elsewhere: what a lost bridge is rebuilt from. Methods throw DagpacsError `swarm-unavailable`, `storage-failed`. */
export interface Archive {
  /** Says that all that hangs on `root` is asked for next, depth first, so that it can be fetched in one go. */
  follow(root: Cid): void;
  /** A block as it lies there, for the caller to check; undefined where it is not to be had. */
  get(cid: Cid): Promise<Uint8Array | undefined>;
  /** The dag-cbor blocks that are there beside those that a record leads to, where the archive can tell. */
  others?(): Iterable<Cid>;
  /**
   * Makes sure that the archive goes on to hold all that hangs on `root`, where that is its business.
   * @returns the identities of the nodes that do
   */
  pin?(root: Cid): Promise<string[]>;
  close(): Promise<void>;
}
