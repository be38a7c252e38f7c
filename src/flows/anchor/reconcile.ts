import type { Cid } from '../../ipld/cid.ts';
import type { Log } from '../../kernel/log.ts';
import type { Index } from '../../ports/index.ts';
import type { SwarmNode } from '../../ports/swarm.ts';
import { holdsBatch, lostBatches, pinnedRoots } from '../objects/pinned.ts';

/** Which identity answered at which of our nodes' addresses last, as a named value of the index. */
const IDENTITIES = 'swarm-nodes';

/**
 * Compares what the index says of a node that has just connected with the pins that it has: a repository may have been
 * replaced or emptied, or an index made anew. What the node does not hold any more is replicated again.
 * @returns a record that it holds
 * @throws DagpacsError `swarm-unavailable`
 */
export async function reconcile(
  node: SwarmNode,
  identity: string,
  copies: number,
  { index, log }: { index: Index; log: Log },
): Promise<Cid | undefined> {
  const pinned = await pinnedRoots(node);
  const confirmed = index.confirmedBy(identity);
  const lost = lostBatches(pinned, confirmed, index);
  if (lost.length > 0) {
    log.warn('pins-lost', { name: node.name, batches: lost.length });
    index.withdraw(lost, identity, copies);
  }
  if (pinned.size === 0) return undefined;
  const at = new Date().toISOString();
  for (const batch of index.unconfirmed(identity, Number.MAX_SAFE_INTEGER)) {
    if (holdsBatch(pinned, batch, index)) index.confirm(batch.id, { node: identity, at }, copies);
  }
  return confirmed.findLast(({ record }) => pinned.has(record.toString()))?.record;
}

/**
 * Forgets the confirmations of nodes that are none of ours any more: another identity answers at their address, or the
 * setting does not name it. Nothing is forgotten before every node of the setting has answered once.
 */
export function retire(nodes: readonly SwarmNode[], copies: number, { index, log }: { index: Index; log: Log }): void {
  const text = index.getValue(IDENTITIES);
  const known = (text === undefined ? {} : JSON.parse(text)) as Record<string, string>;
  const now: Record<string, string> = {};
  for (const { name, status } of nodes.map((node) => ({ name: node.name, status: node.status() }))) {
    const identity = status.node ?? known[name];
    if (identity !== undefined) now[name] = identity;
  }
  const said = JSON.stringify(now);
  if (said !== text) index.setValue(IDENTITIES, said);
  if (Object.keys(now).length < nodes.length) return;
  const ours = new Set(Object.values(now));
  for (const node of index.confirmingNodes().filter((each) => !ours.has(each))) {
    const ids = index.confirmedBy(node).map(({ id }) => id);
    log.warn('node-retired', { batches: ids.length });
    index.withdraw(ids, node, copies);
  }
}
