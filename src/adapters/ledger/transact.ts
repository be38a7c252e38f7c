import { setTimeout as delay } from 'node:timers/promises';
import type { Hash, PrivateKeyAccount, TransactionReceipt } from 'viem';
import { getTransactionReceipt, sendRawTransaction } from 'viem/actions';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Hex } from '../../ports/ledger.ts';
import type { Fees } from './fees.ts';
import { ask, type Node } from './node.ts';

export interface Call {
  /** Unset: a deployment. */
  to?: Hex;
  data: Hex;
  gas: bigint;
  nonce: number;
  fees: Fees;
}

/** Signs a transaction and hands it to the node. @throws DagpacsError `chain-unavailable` */
export async function submit(
  { node, account, chainId }: { node: Node; account: PrivateKeyAccount; chainId: number },
  { fees, ...call }: Call,
): Promise<Hash> {
  const raw = await account.signTransaction({ ...fees, ...call, chainId });
  return ask('sending a transaction', sendRawTransaction(node, { serializedTransaction: raw }));
}

/**
 * Waits until a transaction is in a block. That a node has no receipt yet, or cannot be asked now, is no answer.
 * @throws DagpacsError `transaction-refused` where it was reverted, `chain-unavailable` when `until` (milliseconds) is past
 */
export async function mined(node: Node, hash: Hash, until: number, signal: AbortSignal): Promise<TransactionReceipt> {
  for (let pause = 25; Date.now() < until; pause = Math.min(2 * pause, 1000)) {
    const receipt = await getTransactionReceipt(node, { hash }).catch(() => undefined);
    if (receipt?.status === 'success') return receipt;
    if (receipt) throw new DagpacsError('transaction-refused', 'the chain has reverted the transaction');
    await delay(pause, undefined, { signal });
  }
  throw new DagpacsError('chain-unavailable', 'the transaction is in no block yet');
}
