import { DagpacsError } from '../kernel/errors.ts';
import { anchorOf, blockAt, chainIdOf, eventsOf, isAnchorLog } from './anchor-log.ts';
import { dagCborCid, digestOfCid, type Hex } from './bytes.ts';
import type { AnchorPlace, BatchHeader } from './receipt.ts';
import type { Rpc } from './rpc.ts';

/** One thing that was checked, in words for people. */
export interface Step {
  step: 'receipt' | 'file' | 'root' | 'chain' | 'contract' | 'institution' | 'anchor' | 'study' | 'block' | 'complete';
  ok: boolean;
  detail: string;
}

/** Whom the verifier trusts; what is not given is taken from the receipt, and is for the reader to judge. */
export interface Expectations {
  contract?: Hex;
  institution?: Hex;
}

export interface CheckedAnchor {
  steps: Step[];
  /** Per study of the batch, how many leaves it has up to it; empty where a step failed. */
  totals: Map<Hex, number>;
}

/**
 * Checks a batch's header and place against a node of the chain: chain, contract, state, event and block. Ends with the
 * first step that fails.
 * @throws DagpacsError `chain-unavailable`, RpcRefusal
 */
export async function checkAnchor(
  header: BatchHeader,
  place: AnchorPlace,
  rpc: Rpc,
  expected: Expectations = {},
): Promise<CheckedAnchor> {
  const steps: Step[] = [];
  const check = (step: Step['step'], ok: boolean, good: string, bad: string) => {
    steps.push({ step, ok, detail: ok ? good : bad });
    return ok;
  };
  const { contract, institution, blockNumber, blockHash, blockTime } = place;
  const record = dagCborCid(header.record);
  if (!record) throw new RangeError('a parsed receipt has CIDs');
  const batch = digestOfCid(record);
  const failed = () => ({ steps, totals: new Map<Hex, number>() });

  const [chainId, known, at, head] = await Promise.all([
    chainIdOf(rpc),
    isAnchorLog(rpc, contract),
    blockAt(rpc, blockNumber),
    blockAt(rpc, 'latest'),
  ]);
  const is = `${place.chainId}`;
  if (!check('chain', chainId === place.chainId, `chain ${is}`, `the node is on chain ${chainId}, not ${is}`))
    return failed();
  if (!check('contract', known, `AnchorLog at ${contract}`, `there is no AnchorLog at ${contract}`)) return failed();
  const trusted = expected.contract === undefined || expected.contract === contract;
  if (!trusted) {
    check('contract', false, '', `the receipt is of the contract ${contract}, not of ${expected.contract}`);
    return failed();
  }
  const theirs = expected.institution === undefined || expected.institution === institution;
  if (
    !check(
      'institution',
      theirs,
      `anchored by ${institution}`,
      `anchored by ${institution}, not by ${expected.institution}`,
    )
  )
    return failed();

  const state = await anchorOf(rpc, contract, institution, batch);
  const held = state.blockNumber === blockNumber && state.sequence === header.sequence;
  const elsewhere = state.blockNumber
    ? `the contract has the batch as ${state.sequence} in block ${state.blockNumber}: ask for a new receipt`
    : 'the contract does not have the batch';
  if (!check('anchor', held, `the contract has the batch as ${header.sequence}`, elsewhere)) return failed();
  const sameBlock = at?.hash === blockHash && at.time === blockTime;
  const confirmations = head && at ? head.number - at.number : 0;
  const inBlock = `block ${blockNumber} of ${blockTime}, ${confirmations} blocks deep`;
  if (!check('block', sameBlock, inBlock, `block ${blockNumber} is not the receipt's (any more)`)) return failed();

  const events = await eventsOf(rpc, contract, institution, batch, blockHash);
  // The contract's state and its events come of one transaction: who shows the one without the other cannot tell.
  if (!events) throw withoutEvents(blockNumber);
  const { sequence, previousRoot, merkleRoot, count } = header;
  const { anchored, totals } = events;
  const same =
    anchored.transactionHash === place.transactionHash &&
    anchored.sequence === sequence &&
    anchored.previousRoot === previousRoot &&
    anchored.merkleRoot === merkleRoot &&
    anchored.count === count;
  const event = `transaction ${place.transactionHash} anchors the root of ${count} leaves`;
  if (!check('anchor', same, event, 'what the transaction anchors is not what the receipt says')) return failed();
  return { steps, totals };
}

/** A node that has dropped its old events, or is not through with a block: another may be asked. */
export function withoutEvents(blockNumber: number): DagpacsError {
  return new DagpacsError(
    'chain-unavailable',
    `the node does not have the events of block ${blockNumber}: ask another`,
  );
}
