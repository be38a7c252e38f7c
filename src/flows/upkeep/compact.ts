import { type Cid, DAG_CBOR } from '../../ipld/cid.ts';
import { decodeInstanceNode, INSTANCE_TYPE, nodeType } from '../../ipld/nodes.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { OneAtATime } from '../../kernel/one-at-a-time.ts';
import type { BlockStore, Position } from '../../ports/blocks.ts';
import type { Index } from '../../ports/index.ts';
import { toHex } from '../objects/batch.ts';
import { walkObject } from '../objects/sealed-object.ts';
import { wholeBlock } from '../objects/whole-block.ts';
import { erasedIn } from './catch-up.ts';
import { DigestSet } from './digest-set.ts';

export interface CompactModules {
  blocks: BlockStore;
  index: Index;
  log: Log;
  /** Held while a pack is written anew, and by whoever refers to blocks that lay here before. */
  turns: OneAtATime;
  /** Told of bytes that were read, and throws to break it off. */
  pace(bytes: number): Promise<void>;
}

export interface CompactOptions {
  /** Packs with a smaller number are compacted: nobody still appends what refers to blocks in them. */
  before: number;
  /** Part of a pack that must be garbage for it to be written anew. */
  worthwhile: number;
}

/** Rows that are read at once. */
const GROUP = 1024;

/**
 * Deletes sealed blocks to which nothing in the log leads: of erased studies, and of uploads that were refused or broken off.
 * Instance nodes, records and erasures stay: they are the log, and say that something was erased. What a node leads to stays
 * too, whether the index knows it or not, unless the log says that its study was erased: a key may come back from a backup.
 * @returns bytes that were freed; undefined where the log cannot be read to its end, since it is not known then what is garbage
 * @throws DagpacsError `storage-failed`, and what `pace` throws
 */
export async function compact(options: CompactOptions, modules: CompactModules): Promise<number | undefined> {
  const { blocks, log, turns, pace } = modules;
  const kept = new DigestSet();
  let known: Position;
  try {
    known = await keepAll(kept, modules);
  } catch (error) {
    if (!isDagpacsError(error, 'block-missing') && !isDagpacsError(error, 'block-damaged')) throw error;
    log.warn('not-compacted', { reason: error.message });
    return undefined;
  }
  const isGarbage = (cid: Cid) => cid.code !== DAG_CBOR && !kept.has(cid.multihash.digest);
  let freed = 0;
  for (const { pack, bytes } of await blocks.closedPacks()) {
    if (pack >= options.before) continue;
    let garbage = 0;
    for await (const { cid, size } of blocks.list(pack)) if (isGarbage(cid)) garbage += size;
    await pace(0);
    if (garbage === 0 || garbage < bytes * options.worthwhile) continue;
    freed += await turns(async () => {
      // What came since may refer to what lay here before.
      for await (const node of blocks.replay(known, blocks.position())) {
        if (nodeType(node.bytes) === INSTANCE_TYPE) await keep(node.bytes, kept, blocks);
        known = node.next;
      }
      return blocks.compact(pack, isGarbage);
    });
  }
  if (freed > 0) log.info('packs-compacted', { bytes: freed });
  return freed;
}

/**
 * Notes all that is to stay, from every node in the log.
 * @returns the log's end as it was when this began
 * @throws DagpacsError `block-missing`, `block-damaged` for a node that cannot be read
 */
async function keepAll(kept: DigestSet, { blocks, index, pace }: CompactModules): Promise<Position> {
  const end = blocks.position();
  await blocks.commit();
  const erased = await erasedIn(blocks);
  for (const pack of new Set([...(await blocks.closedPacks()).map((closed) => closed.pack), end.pack])) {
    for await (const { cid } of blocks.list(pack, 'whole')) {
      if (cid.code !== DAG_CBOR) continue;
      const bytes = await wholeBlock(cid, blocks);
      await pace(bytes.length);
      if (nodeType(bytes) !== INSTANCE_TYPE) continue;
      const isHeld = index.knownNodes([cid]).length > 0;
      if (!isHeld && erased.has(toHex(decodeInstanceNode(bytes).study))) continue;
      kept.add(cid.multihash.digest);
      await keep(bytes, kept, blocks);
    }
  }
  let rows = index.scan(0, GROUP);
  for (; rows.length > 0; rows = index.scan(rows.at(-1)?.number ?? 0, GROUP)) {
    // Its pack is gone: it can be had again, and then needs its blocks.
    const lost = rows.find(({ node }) => !kept.has(node.multihash.digest));
    if (lost) throw new DagpacsError('block-missing', 'the node of a version that is held is missing');
  }
  return end;
}

/** Notes all blocks that an instance node leads to. */
async function keep(bytes: Uint8Array, kept: DigestSet, blocks: BlockStore): Promise<void> {
  const node = decodeInstanceNode(bytes);
  for (const root of 'entryKey' in node ? [node.object, node.entry] : [node.object]) {
    for await (const { cid } of walkObject(root, blocks)) kept.add(cid.multihash.digest);
  }
}
