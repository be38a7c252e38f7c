import type { Cid } from '../ipld/cid.ts';

/** A place in the append-only log: the pack's number and the byte after the last section that counts. */
export interface Position {
  pack: number;
  offset: number;
}

export interface Block {
  cid: Cid;
  bytes: Uint8Array;
}

export interface ClosedPack {
  pack: number;
  bytes: number;
}

/** The local, durable store of IPFS blocks, and the log that everything else follows from. */
export interface BlockStore {
  /**
   * Appends a block. Blocks land in the order of the calls. The parts must not be changed until the promise resolves,
   * which is when the operating system has the bytes; they are durable after the next {@link commit}.
   * @returns the log's end after this block
   * @throws DagpacsError `storage-failed`
   */
  append(cid: Cid, parts: Uint8Array[]): Promise<Position>;
  /** Resolves when all that was appended before the call survives a power cut. Callers that wait share one fsync. */
  commit(): Promise<void>;
  /** The log's end as appended so far. */
  position(): Position;
  has(cid: Cid): boolean;
  /**
   * Bytes `start` (inclusive) to `end` (exclusive) of a block, as they lie on disk: the caller authenticates them. They are
   * the head of `target` where that is given and long enough.
   * @throws DagpacsError `block-missing`, `storage-failed`
   */
  read(cid: Cid, start?: number, end?: number, target?: Buffer): Promise<Uint8Array>;
  /**
   * The dag-cbor blocks (instance nodes, records) between two positions, in order, each with the position after it. Where the
   * pack of the first was thinned or compacted since it was noted, some before it come again.
   */
  replay(from: Position, to: Position): AsyncIterable<Block & { next: Position }>;
  /**
   * A whole block, checked against its CID; a damaged or missing one is first fetched from the swarm and put right here,
   * where that is possible. For what {@link read} could not give.
   * @throws DagpacsError `block-missing`, `block-damaged`, `storage-failed`
   */
  mend(cid: Cid): Promise<Uint8Array>;
  /**
   * Puts bytes, which the caller has checked, where the block is damaged, or to the end of the log where it is missing. Like
   * {@link append} it is durable after the next {@link commit}. `only`: the swarm may not have it, so that it is not dropped.
   * @throws DagpacsError `storage-failed`
   */
  restore(cid: Cid, bytes: Uint8Array, only?: 'only'): Promise<void>;
  /** The packs that are closed, oldest first. */
  closedPacks(): Promise<ClosedPack[]>;
  /**
   * The blocks of a pack, in order, without their bytes, up to where it is damaged. @throws DagpacsError `block-damaged`
   * there, with `whole`
   */
  list(pack: number, whole?: 'whole'): AsyncIterable<{ cid: Cid; size: number }>;
  /**
   * Writes a closed pack anew without the blocks that `drop` names, which are then missing; a crash leaves the old pack or
   * the new one.
   * @returns bytes that were freed
   * @throws DagpacsError `storage-failed`
   */
  thin(pack: number, drop: (cid: Cid) => boolean): Promise<number>;
  /** The same for blocks to which nothing leads: what is missing besides goes on to be told as lost. */
  compact(pack: number, drop: (cid: Cid) => boolean): Promise<number>;
  /** Closes the pack that is appended to, where anything is in it. @throws DagpacsError `storage-failed` */
  closePack(): Promise<void>;
  /** Whether a block came by {@link restore} to the end of the log, and so from the swarm. */
  wasFetched(cid: Cid): boolean;
  /** Whether anything was ever dropped by {@link thin}, or left out: what is missing may be in the swarm then. */
  thinned(): boolean;
  /** Notes in the log that blocks are left out which the swarm has. @throws DagpacsError `storage-failed` */
  leaveOut(): Promise<void>;
  /** Bytes of the packs, and free on their file system. */
  usage(): { packs: number; blocks: number; bytes: number; free: number };
  /** Commits and closes. */
  close(): Promise<void>;
}
