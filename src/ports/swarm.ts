import type { Cid } from '../ipld/cid.ts';
import type { Block } from './blocks.ts';

export interface SwarmStatus {
  /** `off`: none is configured or found. `starting` and `unreachable` mend themselves. */
  state: 'off' | 'starting' | 'connected' | 'unreachable';
  /** Peer identity of the node, while connected. */
  node?: string;
  peers: number;
  /** Why it is not connected, in words. */
  reason?: string;
}

/** IPFS proper: what blocks are replicated to. */
export interface Swarm {
  status(): Promise<SwarmStatus>;
  /** Uploads blocks; resolves when the node has them all and agreed on every CID. @throws DagpacsError `swarm-unavailable` */
  put(blocks: AsyncIterable<Block>): Promise<void>;
  /** Pins recursively. @throws DagpacsError `swarm-unavailable` */
  pin(root: Cid): Promise<void>;
  close(): Promise<void>;
}
