import { carHeader, sectionHead } from '../../ipld/car.ts';
import { type Cid, DAG_CBOR } from '../../ipld/cid.ts';
import { decodeInstanceNode, ERASURE_TYPE, nodeType } from '../../ipld/nodes.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { BlockStore, Position } from '../../ports/blocks.ts';
import type { Index } from '../../ports/index.ts';
import { walkObject } from '../objects/sealed-object.ts';
import { wholeBlock } from '../objects/whole-block.ts';
import { DigestSet } from './digest-set.ts';

/** Rows that are read at once. */
const GROUP = 256;

/**
 * Counts the blocks before `limit` in the packs to which no version and no batch leads.
 * @param pace is told of bytes that were read, and throws to break it off
 * @returns undefined where a node cannot be read, since it is not known then what hangs on it
 */
export async function findOrphans(
  limit: Position,
  { blocks, index }: { blocks: BlockStore; index: Index },
  pace: (bytes: number) => Promise<void>,
): Promise<{ blocks: number; bytes: number } | undefined> {
  const known = new DigestSet();
  try {
    for (let rows = index.scan(0, GROUP); rows.length > 0; rows = index.scan(rows.at(-1)?.number ?? 0, GROUP)) {
      for (const { node, object } of rows) {
        known.add(node.multihash.digest);
        const bytes = await wholeBlock(node, blocks);
        const decoded = decodeInstanceNode(bytes);
        for await (const { cid } of walkObject(object, blocks)) known.add(cid.multihash.digest);
        if ('entryKey' in decoded) {
          for await (const { cid } of walkObject(decoded.entry, blocks)) known.add(cid.multihash.digest);
        }
        await pace(bytes.length);
      }
    }
  } catch (error) {
    if (!isDagpacsError(error, 'block-missing') && !isDagpacsError(error, 'block-damaged')) throw error;
    return undefined;
  }
  for (
    let batches = index.batches(GROUP);
    batches.length > 0;
    batches = index.batches(GROUP, batches.at(-1)?.sequence)
  ) {
    for (const { record } of batches) known.add(record.multihash.digest);
  }

  const found = { blocks: 0, bytes: 0 };
  const packs = new Set([...(await blocks.closedPacks()).map(({ pack }) => pack), limit.pack]);
  for (const pack of packs) {
    if (pack > limit.pack) continue;
    let end = carHeader().length;
    for await (const { cid, size } of blocks.list(pack)) {
      const head = sectionHead(cid, size).length;
      end += head + size;
      if (pack === limit.pack && end > limit.offset) break;
      if (!known.has(cid.multihash.digest) && !(await isErasure(cid, blocks))) {
        found.blocks += 1;
        found.bytes += size;
      }
      await pace(head);
    }
  }
  return found;
}

/** What the log says of erased studies is linked by nothing, and belongs there. */
async function isErasure(cid: Cid, blocks: BlockStore): Promise<boolean> {
  if (cid.code !== DAG_CBOR) return false;
  try {
    return nodeType(await blocks.read(cid)) === ERASURE_TYPE;
  } catch (error) {
    if (!isDagpacsError(error)) throw error;
    return false;
  }
}
