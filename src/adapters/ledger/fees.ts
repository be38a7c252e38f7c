import { getBlock, getGasPrice } from 'viem/actions';
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

/** What the node suggests as a tip; some nodes know no such call, and then the gas price tells. */
async function suggestedTip(node: Node, fallback: bigint): Promise<bigint> {
  try {
    return BigInt(await node.request({ method: 'eth_maxPriorityFeePerGas' }));
  } catch (error) {
    if (refusalOf(error)) return fallback;
    return ask('the tip', Promise.reject(error));
  }
}
