import { decodeEventLog, encodeEventTopics, numberToHex } from 'viem';
import { getBlock } from 'viem/actions';
import type { Anchor, Anchored, Hex } from '../../ports/ledger.ts';
import { abi } from './anchor-log.ts';
import { ask, type Node, refusalOf } from './node.ts';

/** Blocks asked about at once, at first; halved where the node refuses, doubled again where it does not. */
const RANGE = 50_000;
const MAX_RANGE = 1_000_000;

/**
 * The anchors of an account from the chain's first block to its head, in bounded ranges.
 * @throws DagpacsError `chain-unavailable`
 */
export async function* anchorsOf(
  node: Node,
  contract: Hex,
  institution: Hex,
): AsyncIterable<{ anchor: Omit<Anchor, 'studies'>; anchored: Anchored }> {
  const topics = encodeEventTopics({ abi, eventName: 'Anchored', args: { institution } });
  const head = await ask('the head', getBlock(node, { blockTag: 'latest' }));
  let time: { block: Hex; at: string } | undefined;
  let range = RANGE;
  for (let from = 0; from <= Number(head.number); ) {
    const to = Math.min(from + range - 1, Number(head.number));
    const filter = { address: contract, fromBlock: numberToHex(from), toBlock: numberToHex(to), topics };
    let logs: Awaited<ReturnType<typeof getLogs>>;
    try {
      logs = await getLogs(node, filter);
    } catch (error) {
      if (!refusalOf(error) || range === 1) await ask('our anchors', Promise.reject(error));
      range = Math.ceil(range / 2);
      continue;
    }
    from = to + 1;
    range = Math.min(2 * range, MAX_RANGE);
    for (const { data, topics, transactionHash, blockNumber, blockHash } of logs) {
      if (!transactionHash || !blockNumber || !blockHash) continue;
      const { args } = decodeEventLog({ abi, eventName: 'Anchored', data, topics: topics as [Hex, ...Hex[]] });
      if (time?.block !== blockHash) {
        const block = await ask('a block', getBlock(node, { blockHash }));
        time = { block: blockHash, at: isoTime(block.timestamp) };
      }
      const { batch, previousRoot, merkleRoot, count } = args;
      yield {
        anchor: { batch, sequence: Number(args.sequence), previousRoot, merkleRoot, count },
        anchored: { transactionHash, blockNumber: Number(blockNumber), blockHash, blockTime: time.at },
      };
    }
  }
}

function getLogs(node: Node, filter: object) {
  return node.request({ method: 'eth_getLogs', params: [filter] });
}

/** A block's timestamp as ISO 8601. */
export function isoTime(seconds: bigint): string {
  return new Date(Number(seconds) * 1000).toISOString();
}
