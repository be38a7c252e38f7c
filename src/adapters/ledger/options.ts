import type { Hex } from '../../ports/ledger.ts';

/** How the chain is reached. Times are in milliseconds. */
export interface LedgerOptions {
  /** Holds the key, the deployment and the child anvil's state. */
  directory: string;
  /** JSON-RPC URL of an outside chain. Unset: an anvil of our own, run as a child on loopback. */
  rpc?: string;
  /** Private key of the institution's account: 32 bytes. Unset: made at first start and kept in `directory`. */
  key?: Hex;
  /** Address of an AnchorLog that is there already. Unset: the one deployed at first start. */
  contract?: Hex;
  /** Addresses that may anchor, for the deployment. Unset: our own. */
  members?: readonly Hex[];
  /**
   * Blocks after which a block is final on an outside chain. Unset: what the node calls `finalized`, and 64 on a chain
   * without such a thing.
   */
  finalityDepth?: number;
  /** The anvil binary. Unset: the one of npm's @foundry-rs/anvil. */
  anvil?: string;
  /** Until a call to the node fails. */
  callTimeoutMs: number;
  /** From a block of the child anvil's to its state on disk, at least: what a crash can take back. */
  stateIntervalMs: number;
  /** Between attempts to connect: the first, and the most it doubles up to. */
  retryMinMs: number;
  retryMaxMs: number;
}

export const ledgerDefaults = {
  callTimeoutMs: 10_000,
  stateIntervalMs: 500,
  retryMinMs: 250,
  retryMaxMs: 30_000,
} satisfies Partial<LedgerOptions>;
