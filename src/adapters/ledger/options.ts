import type { Hex } from '../../ports/ledger.ts';
import type { Profile } from './profile.ts';

/** How the chain is reached. Times are in milliseconds. */
export interface LedgerOptions {
  /** Holds the key, the deployment and the child anvil's state. */
  directory: string;
  /** JSON-RPC URL of an outside chain. Unset: an anvil of our own, run as a child on loopback. */
  rpc?: string;
  /** Private key of the institution's account: 32 bytes. Unset: `keyFile`'s. */
  key?: Hex;
  /** A file with the private key, or an Ethereum keystore. Unset too: made at first start and kept in `directory`. */
  keyFile?: string;
  /** A file with the keystore's passphrase. */
  passphraseFile?: string;
  /** Address of an AnchorLog that is there already. Unset: the one deployed at first start. */
  contract?: Hex;
  /** Our profile as the first member of the consortium that is founded where there is no AnchorLog. */
  profile?: () => Promise<Profile>;
  /**
   * Blocks after which a block is final on an outside chain. Unset: what the node calls `finalized`, and 64 on a chain
   * without such a thing.
   */
  finalityDepth?: number | undefined;
  /** The anvil binary. Unset: the one of npm's @foundry-rs/anvil. */
  anvil?: string;
  /** Until a call to the node fails. */
  callTimeoutMs: number;
  /** Until a node that is asked for its head counts as unreachable. */
  statusTimeoutMs: number;
  /** Between two looks at whether the node is still on the chain with our contract. */
  identityCheckMs: number;
  /** Without an answer, until the child anvil is taken to hang and is replaced. */
  hungAfterMs: number;
  /** From a block of the child anvil's to its state on disk, at least: what a crash can take back. */
  stateIntervalMs: number;
  /** Between attempts to connect: the first, and the most it doubles up to. */
  retryMinMs: number;
  retryMaxMs: number;
}

export const ledgerDefaults = {
  callTimeoutMs: 10_000,
  statusTimeoutMs: 3000,
  identityCheckMs: 5000,
  hungAfterMs: 30_000,
  stateIntervalMs: 500,
  retryMinMs: 250,
  retryMaxMs: 30_000,
} satisfies Partial<LedgerOptions>;

/**
 * How chains of a kind make blocks final: {@link LedgerOptions.finalityDepth}. A QBFT block is final when it is there; a
 * Clique block when more than half of the signers built upon it, which 12 blocks are for up to 23 signers.
 */
export const finalityByProfile = {
  anvil: 0,
  clique: 12,
  qbft: 0,
  ethereum: undefined,
} satisfies Record<string, LedgerOptions['finalityDepth']>;
