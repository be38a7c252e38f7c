import { studyReference } from '../../crypto/study-key.ts';
import { cidOf, DAG_CBOR } from '../../ipld/cid.ts';
import { encodeErasure } from '../../ipld/nodes.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Index } from '../../ports/index.ts';
import type { Vault } from '../../ports/vault.ts';
import { type OwedUnpins, oweUnpins } from '../objects/unpin.ts';

export interface EraseModules {
  blocks: BlockStore;
  vault: Vault;
  index: Index;
}

/**
 * Erases a study: its key is destroyed, which makes every sealed block, reference and salt of it meaningless, wherever it
 * lies; the log says so, and what the swarm's nodes hold of it is owed to be unpinned. The index still has its rows: it is
 * to be made anew from the log after this. Can be repeated.
 * @returns versions that were held
 * @throws DagpacsError `not-found`, `storage-failed`
 */
export async function eraseStudy(studyInstanceUID: string, { blocks, vault, index }: EraseModules): Promise<number> {
  const key = await vault.find(studyInstanceUID);
  const leaves = index.leavesOfStudy(studyInstanceUID);
  const held = index.instances(studyInstanceUID).length;
  if (!key && held === 0) throw new DagpacsError('not-found', 'no such study is held');
  const owed: OwedUnpins = {};
  for (const id of new Set(leaves.map(({ batch }) => batch))) {
    for (const { node } of index.batch(id)?.confirmations ?? []) owed[node] = [...(owed[node] ?? []), id];
  }
  oweUnpins(index, owed);
  if (key) {
    const bytes = encodeErasure({ study: studyReference(key), erasedAt: new Date().toISOString() });
    await blocks.append(cidOf(DAG_CBOR, bytes), [bytes]);
    await blocks.commit();
    await vault.erase(studyInstanceUID);
  }
  return Math.max(held, leaves.length);
}
