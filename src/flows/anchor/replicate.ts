import type { Cid } from '../../ipld/cid.ts';
import { decodeInstanceNode } from '../../ipld/nodes.ts';
import type { Block, BlockStore } from '../../ports/blocks.ts';
import type { Batch, Index } from '../../ports/index.ts';
import type { Swarm } from '../../ports/swarm.ts';
import { walkObject } from '../objects/sealed-object.ts';

export interface ReplicateModules {
  blocks: BlockStore;
  index: Index;
  swarm: Swarm;
}

/**
 * Brings the oldest batch that the swarm does not hold there: every block of its instances, then the record, which is
 * pinned. The pin is what counts: it proves that the node holds all that the record links.
 * @returns whether there was one
 * @throws DagpacsError `swarm-unavailable`, `block-missing`
 */
export async function replicateNext({ blocks, index, swarm }: ReplicateModules): Promise<boolean> {
  const [batch] = index.unfinished('replicate', 1);
  if (!batch) return false;
  await swarm.put(blocksOf(batch, { blocks, index }));
  await swarm.pin(batch.record);
  index.setReplicated(batch.id, new Date().toISOString());
  return true;
}

async function* blocksOf(batch: Batch, { blocks, index }: { blocks: BlockStore; index: Index }): AsyncIterable<Block> {
  for (const { node } of index.leaves(batch.id)) {
    const bytes = await blocks.read(node);
    const { object, entry } = linksOf(bytes);
    yield* objectBlocks(object, blocks);
    if (entry) yield* objectBlocks(entry, blocks);
    yield { cid: node, bytes };
  }
  yield { cid: batch.record, bytes: await blocks.read(batch.record) };
}

function linksOf(bytes: Uint8Array): { object: Cid; entry?: Cid } {
  const node = decodeInstanceNode(bytes);
  return 'entryKey' in node ? { object: node.object, entry: node.entry } : { object: node.object };
}

async function* objectBlocks(root: Cid, blocks: BlockStore): AsyncIterable<Block> {
  for await (const { cid } of walkObject(root, blocks)) yield { cid, bytes: await blocks.read(cid) };
}
