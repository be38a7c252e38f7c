import type { Batch, Index, Version } from '../../ports/index.ts';
import type { Hex } from '../../ports/ledger.ts';
import type { SwarmNode } from '../../ports/swarm.ts';

/** Batches of which an instance was erased and that a node still holds whole, as a named value of the index. */
const OWED = 'unpin-owed';

/** By the node's identity. */
export type OwedUnpins = Record<string, Hex[]>;

export function owedUnpins(index: Index): OwedUnpins {
  const text = index.getValue(OWED);
  return text === undefined ? {} : (JSON.parse(text) as OwedUnpins);
}

/** Notes what is owed, beside what was before. */
export function oweUnpins(index: Index, more: OwedUnpins): void {
  const owed = owedUnpins(index);
  for (const [node, batches] of Object.entries(more)) {
    owed[node] = [...new Set([...(owed[node] ?? []), ...batches])];
  }
  index.setValue(OWED, JSON.stringify(owed));
}

/** The instances of a batch that are left where some were erased; undefined where none was. */
export function leftOf(batch: Batch, index: Index): Version[] | undefined {
  const leaves = index.leaves(batch.id);
  return leaves.length < batch.count ? leaves : undefined;
}

/** Pins what is left of a batch: each instance with all that it links, and the record alone. */
export async function pinLeft(node: SwarmNode, batch: Batch, left: readonly Version[]): Promise<void> {
  for (const version of left) await node.pin(version.node);
  // A pin with all that the record links would stand in the way of one without.
  await node.unpin(batch.record);
  await node.pin(batch.record, 'direct');
}

/**
 * Has a node forget what was erased: of each batch that is owed only what is left stays pinned, then what no pin holds is
 * deleted. @returns batches
 * @throws DagpacsError `swarm-unavailable`; what was done is not owed any more
 */
export async function unpinErased(node: SwarmNode, identity: string, index: Index): Promise<number> {
  const batches = owedUnpins(index)[identity] ?? [];
  if (batches.length === 0) return 0;
  for (const id of batches) {
    const batch = index.batch(id);
    const left = batch && leftOf(batch, index);
    if (batch && left) await pinLeft(node, batch, left);
  }
  await node.collectGarbage();
  const { [identity]: _, ...others } = owedUnpins(index);
  index.setValue(OWED, JSON.stringify(others));
  return batches.length;
}
