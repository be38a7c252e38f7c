import type { Batch, Index } from '../../ports/index.ts';
import type { Hex } from '../../ports/ledger.ts';
import type { SwarmNode } from '../../ports/swarm.ts';
import { leftOf } from './unpin.ts';

/** What a node has pinned, with all that it links. @throws DagpacsError `swarm-unavailable` */
export async function pinnedRoots(node: SwarmNode): Promise<Set<string>> {
  const pinned = new Set<string>();
  for await (const root of node.pins()) pinned.add(root.toString());
  return pinned;
}

/** Whether pins hold a batch: by its record, or, where something of it was erased, by each instance that is left. */
export function holdsBatch(pinned: ReadonlySet<string>, batch: Batch, index: Index): boolean {
  if (pinned.has(batch.record.toString())) return true;
  return leftOf(batch, index)?.every((version) => pinned.has(version.node.toString())) ?? false;
}

/** Of what a node has confirmed, the batches that its pins do not hold. */
export function lostBatches(
  pinned: ReadonlySet<string>,
  confirmed: ReturnType<Index['confirmedBy']>,
  index: Index,
): Hex[] {
  const lost = confirmed.filter(({ id, record }) => {
    const batch = pinned.has(record.toString()) ? undefined : index.batch(id);
    return batch !== undefined && !holdsBatch(pinned, batch, index);
  });
  return lost.map(({ id }) => id);
}
