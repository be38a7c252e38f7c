import type { Index } from '../../ports/index.ts';
import type { Hex, LedgerStatus } from '../../ports/ledger.ts';

/** Where this installation's anchors are. */
export interface ChainIdentity {
  chainId: number;
  contract: Hex;
  /** Our account, which anchors. */
  institution: Hex;
}

const NAME = 'chain';

/** Remembers the chain, so that anchors can be shown while it is down. */
export function rememberChain(index: Index, { chainId, contract, sender }: LedgerStatus): void {
  if (chainId === undefined || contract === undefined || sender === undefined) return;
  const value = JSON.stringify({ chainId, contract, institution: sender });
  if (index.getValue(NAME) !== value) index.setValue(NAME, value);
}

/** The chain that was last connected; undefined before the first time. */
export function recallChain(index: Index): ChainIdentity | undefined {
  const value = index.getValue(NAME);
  return value === undefined ? undefined : (JSON.parse(value) as ChainIdentity);
}
