import type { Log } from '../../kernel/log.ts';

/** How the bridge reaches IPFS. */
export interface SwarmOptions {
  /** The bridge's data directory: a child keeps its repository in `kubo` under it. */
  dataDir: string;
  /**
   * RPC APIs of Kubos that are run elsewhere: each a URL (`http://127.0.0.1:5001`, `https://user:password@host/path`) or a
   * multiaddr (`/ip4/127.0.0.1/tcp/5001`). Without any a private Kubo is run as a child.
   */
  apis?: readonly string[];
  /** Value of the Authorization header for them, where their URL has no user. */
  authorization?: string;
  /** The `ipfs` program for the child. Without it: npm's package `kubo`, then the PATH. `none`: never start one. */
  bin?: string;
  log: Log;
  tuning?: Partial<SwarmTuning>;
}

/** Limits that have a good default; milliseconds and bytes. */
export interface SwarmTuning {
  /** Blocks in one request. */
  partsPerRequest: number;
  /** Bytes of blocks after which a request is sent, even if it could take more of them. */
  bytesPerRequest: number;
  /** Requests at a time. Kubo hashes and syncs one after the other in each, so that several keep it busy. */
  parallelRequests: number;
  /** Requests for blocks at a time. */
  parallelReads: number;
  /** From sending a request of blocks to its whole answer. */
  putTimeoutMs: number;
  /** For a recursive pin, which may have to fetch from peers and walks everything below the root. */
  pinTimeoutMs: number;
  /** For one block, which may have to come from a peer. */
  getTimeoutMs: number;
  /** For deleting what is not pinned. */
  gcTimeoutMs: number;
  /** For small questions, though the node be slow: version, identity, peers. */
  probeTimeoutMs: number;
  /** Between two looks at a node that is connected. */
  probeIntervalMs: number;
  /** For a child to be ready; the migration of an old repository is part of it. */
  startTimeoutMs: number;
  /** From asking a child to stop to killing it. */
  stopTimeoutMs: number;
  /** First wait before a new attempt; it doubles up to `maxBackoffMs`. */
  minBackoffMs: number;
  maxBackoffMs: number;
}

export const SWARM_TUNING: SwarmTuning = {
  partsPerRequest: 64,
  bytesPerRequest: 4 << 20,
  parallelRequests: 4,
  parallelReads: 16,
  putTimeoutMs: 60_000,
  pinTimeoutMs: 300_000,
  getTimeoutMs: 20_000,
  gcTimeoutMs: 600_000,
  probeTimeoutMs: 15_000,
  probeIntervalMs: 5_000,
  startTimeoutMs: 120_000,
  stopTimeoutMs: 10_000,
  minBackoffMs: 250,
  maxBackoffMs: 30_000,
};
