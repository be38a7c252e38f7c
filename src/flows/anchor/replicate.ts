import { type Cid, RAW } from '../../ipld/cid.ts';
import { decodeInstanceNode } from '../../ipld/nodes.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Batch, Index } from '../../ports/index.ts';
import type { Outgoing, SwarmNode } from '../../ports/swarm.ts';
import { walkObject } from '../objects/sealed-object.ts';
import { leftOf, pinLeft } from '../objects/unpin.ts';
import { blockAsItLies, wholeBlock } from '../objects/whole-block.ts';

export interface ReplicateModules {
  blocks: BlockStore;
  index: Index;
}

export interface ReplicateOptions {
  /** A node that it is connected with holds the batch: it gets the blocks there. */
  fromPeer: boolean;
  /** It may hold a part already, or our own blocks may be damaged: both are looked at block by block. */
  careful: boolean;
  /** Asked before each leaf: a promise where it is to wait, since something more urgent is under way. */
  pace: (() => Promise<void> | undefined) | undefined;
}

/** Blocks of which a node is asked at once whether it holds them. */
const ASKED_AT_ONCE = 32;

/**
 * Brings a batch to a node: every block of its instances, then the record, which is pinned. The pin is what counts: it
 * proves that the node holds all that the record links.
 * @throws DagpacsError `swarm-unavailable`; `block-missing`, `block-damaged` for a block that cannot be had any more
 */
export async function replicate(
  batch: Batch,
  node: SwarmNode,
  { fromPeer, careful, pace }: ReplicateOptions,
  modules: ReplicateModules,
): Promise<void> {
  const lacking = async function* () {
    for await (const group of inGroups(partsOf(batch, modules), ASKED_AT_ONCE)) {
      const has = await Promise.all(group.map(({ cid }) => node.has(cid)));
      for (const [i, { cid, bytes }] of group.entries()) {
        if (has[i]) continue;
        // What is there damaged would not be replaced by what is sent.
        await node.drop(cid);
        yield { cid, bytes: bytes ?? (await wholeBlock(cid, modules.blocks)) };
      }
    }
  };
  if (!fromPeer) await node.put(careful ? lacking() : blocksOf(batch, modules, pace));
  const left = leftOf(batch, modules.index);
  if (left) await pinLeft(node, batch, left);
  else await node.pin(batch.record);
}

async function* inGroups<T>(source: AsyncIterable<T>, size: number): AsyncIterable<T[]> {
  let group: T[] = [];
  for await (const item of source) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

/** The node compares what it gets with the CID, so that hashing here would be for nothing while all is well. */
async function* blocksOf(
  batch: Batch,
  modules: ReplicateModules,
  pace: ReplicateOptions['pace'],
): AsyncIterable<Outgoing> {
  for await (const { cid, bytes } of partsOf(batch, modules)) {
    if (pace && cid.code === RAW) await pace();
    yield bytes ? { cid, bytes } : { cid, read: (into) => blockAsItLies(cid, modules.blocks, into) };
  }
}

/** Every block of a batch, what is linked before what links it; with its bytes where they had to be read for its links. */
async function* partsOf(
  batch: Batch,
  { blocks, index }: ReplicateModules,
): AsyncIterable<{ cid: Cid; bytes?: Uint8Array }> {
  for (const { node } of index.leaves(batch.id)) {
    const bytes = await wholeBlock(node, blocks);
    const { object, entry } = linksOf(bytes);
    yield* walkObject(object, blocks);
    if (entry) yield* walkObject(entry, blocks);
    yield { cid: node, bytes };
  }
  yield { cid: batch.record };
}

function linksOf(bytes: Uint8Array): { object: Cid; entry?: Cid } {
  const node = decodeInstanceNode(bytes);
  return 'entryKey' in node ? { object: node.object, entry: node.entry } : { object: node.object };
}
