import { getBlock, getGasPrice } from 'viem/actions';
import { DagpacsError } from '../../kernel/errors.ts';
import { ask, type Node, refusalOf } from './node.ts';

export type Fees =
  | { type: 'eip1559'; maxFeePerGas: bigint; maxPriorityFeePerGas: bigint }
  | { type: 'legacy'; gasPrice: bigint };

/**
 * What the node asks for gas now: EIP-1559 where blocks have a base fee, with room for it to double; else the gas price.
 * @throws DagpacsError `chain-unavailable`
 */
export async function feesOf(node: Node): Promise<Fees> {
  const [block, price] = await Promise.all([
    ask('the head', getBlock(node, { blockTag: 'latest' })),
    ask('the gas price', getGasPrice(node)),
  ]);
  const base = block.baseFeePerGas;
  if (base === null) return { type: 'legacy', gasPrice: price };
  const tip = await suggestedTip(node, price > base ? price - base : 0n);
  return { type: 'eip1559', maxFeePerGas: 2n * base + tip, maxPriorityFeePerGas: tip };
}

/** Nodes take another transaction at the same nonce from 10 % more on. */
const RAISE = { numerator: 5n, denominator: 4n };

/** A fee of so many times what the node asks is not what holds a transaction up. */
const ENOUGH = 16n;

/**
 * What to pay so that a transaction takes the place of one that paid `before`: a quarter more, and what is asked now.
 * @throws DagpacsError `transaction-refused` where the fee cannot be to blame, so that it does not rise without end
 */
export function raisedFees(before: Fees, now: Fees): Fees {
  const most = (fees: Fees) => (fees.type === 'legacy' ? fees.gasPrice : fees.maxFeePerGas);
  if (most(before) > ENOUGH * most(now)) {
    throw new DagpacsError('transaction-refused', 'a transaction is not mined, though it pays far more than is asked');
  }
  return raise(before, now);
}

function raise(before: Fees, now: Fees): Fees {
  const more = (fee: bigint) => (fee * RAISE.numerator) / RAISE.denominator + 1n;
  const most = (a: bigint, b: bigint) => (a > b ? a : b);
  if (now.type === 'legacy') {
    const paid = before.type === 'legacy' ? before.gasPrice : before.maxFeePerGas;
    return { type: 'legacy', gasPrice: most(more(paid), now.gasPrice) };
  }
  const [paid, tip] =
    before.type === 'legacy' ? [before.gasPrice, before.gasPrice] : [before.maxFeePerGas, before.maxPriorityFeePerGas];
  const maxPriorityFeePerGas = most(more(tip), now.maxPriorityFeePerGas);
  return {
    type: 'eip1559',
    maxFeePerGas: most(most(more(paid), now.maxFeePerGas), maxPriorityFeePerGas),
    maxPriorityFeePerGas,
  };
}

/** What the node suggests as a tip; some nodes know no such call, and then the gas price tells. */
async function suggestedTip(node: Node, fallback: bigint): Promise<bigint> {
  try {
    return BigInt(await node.request({ method: 'eth_maxPriorityFeePerGas' }));
  } catch (error) {
    if (refusalOf(error)) return fallback;
    return ask('the tip', Promise.reject(error));
  }
}
