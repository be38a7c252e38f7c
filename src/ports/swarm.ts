import type { Cid } from '../ipld/cid.ts';
import type { Block } from './blocks.ts';

export interface NodeStatus {
  /** Its address without credentials, or `child`. */
  name: string;
  /** `off`: there is no Kubo to run as a child. `starting` and `unreachable` mend themselves. */
  state: 'off' | 'starting' | 'connected' | 'unreachable';
  /** Peer identity, while connected. */
  node?: string;
  /** Since when it is connected without a break, ISO 8601. */
  since?: string;
  peers: number;
  /** Why it is not connected, in words. */
  reason?: string;
  /** What failed last, in words, until something succeeds again. */
  problem?: string;
}

/** That of the node that is best off, and of each. */
export interface SwarmStatus extends Omit<NodeStatus, 'name' | 'problem' | 'since'> {
  nodes: NodeStatus[];
}

/** A block to upload: with its bytes, or with how to read them, to the head of `into` where that is long enough. */
export type Outgoing = Block | { cid: Cid; read(into: Buffer): Promise<Uint8Array> };

/** A Kubo that is ours. But for the synchronous ones, methods throw DagpacsError `swarm-unavailable`. */
export interface SwarmNode {
  readonly name: string;
  /** As last known: this asks nobody. */
  status(): NodeStatus;
  /** True while it and the node of this identity are connected with each other, so that blocks move between them. */
  reaches(node: string): boolean;
  /** Uploads blocks; resolves when the node has them all and agreed on every CID. */
  put(blocks: AsyncIterable<Outgoing>): Promise<void>;
  /** Whether the node itself holds a block, its peers not counted; not where it says that its copy is damaged. */
  has(cid: Cid): Promise<boolean>;
  /** Reads what the node itself holds of a block. */
  check(cid: Cid): Promise<'whole' | 'missing' | 'damaged'>;
  /** Deletes a block, which no pin may hold; none is no failure. What is uploaded does not replace what is there. */
  drop(cid: Cid): Promise<void>;
  /** A block that the node holds, or, with `peers`, that it can get of its peers; checked against its CID. */
  get(cid: Cid, peers: boolean): Promise<Uint8Array | undefined>;
  /** Pins, with all that it links unless `direct` is given; gets of its peers what it does not hold. */
  pin(root: Cid, direct?: 'direct'): Promise<void>;
  /** Takes a pin back; none is no failure. */
  unpin(root: Cid): Promise<void>;
  /** Whether a root is pinned with all that it links. */
  isPinned(root: Cid): Promise<boolean>;
  /** The roots of its recursive pins. */
  pins(): AsyncIterable<Cid>;
  /** Deletes what no pin holds. */
  collectGarbage(): Promise<void>;
}

/** IPFS proper: the nodes that blocks are replicated to. */
export interface Swarm {
  /** In the order of the setting. */
  readonly nodes: readonly SwarmNode[];
  status(): Promise<SwarmStatus>;
  /**
   * A block of whichever node has it, or gets it of a peer, checked against its CID; undefined where none does.
   * @throws DagpacsError `swarm-unavailable` where no node is connected
   */
  get(cid: Cid): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}
