import { type Cid, DAG_PB } from '../../ipld/cid.ts';
import { readLinks } from '../../ipld/leaves.ts';
import { linksOf } from '../../ipld/links.ts';
import type { Block } from '../../ports/blocks.ts';

/** Gives a block that was checked against its CID. */
export type GetBlock = (cid: Cid) => Promise<Uint8Array>;

const IDENTITY = 0x00;

/**
 * Every block below and including `root`, depth first, a node before its children, each at every place where it is linked or,
 * without `dups`, the first time only. One block is held at a time; without `dups` 36 bytes of each that came.
 * @throws what `get` throws, DagpacsError `block-damaged`
 */
export async function* walkDag(root: Block, get: GetBlock, { dups }: { dups: boolean }): AsyncGenerator<Block> {
  const seen = new Set<string>();
  const isNew = (cid: Cid): boolean => {
    // The block that an identity CID names is the CID itself.
    if (cid.multihash.code === IDENTITY) return false;
    if (dups) return true;
    const before = seen.size;
    return seen.add(Buffer.from(cid.bytes).toString('latin1')).size > before;
  };
  if (!isNew(root.cid)) return;
  yield root;
  const open: Iterator<Cid>[] = [linksOf(root.cid, root.bytes).values()];
  for (let top = open.at(-1); top; top = open.at(-1)) {
    const next = top.next();
    if (next.done) {
      open.pop();
    } else if (isNew(next.value)) {
      const cid = next.value;
      const bytes = await get(cid);
      yield { cid, bytes };
      const links = linksOf(cid, bytes);
      if (links.length > 0) open.push(links.values());
    }
  }
}

/** The same blocks, each the first time only. */
export async function* once(blocks: AsyncIterable<Block>): AsyncGenerator<Block> {
  const seen = new Set<string>();
  for await (const block of blocks) {
    const before = seen.size;
    if (seen.add(block.cid.toString()).size > before) yield block;
  }
}

/**
 * The blocks of a UnixFS file in the order of {@link walkDag}; of a range only those that hold a byte of it, and the nodes
 * above them. `start` inclusive, `end` exclusive.
 * @throws as {@link walkDag}
 */
export async function* walkFile(
  root: Block,
  get: GetBlock,
  { start, end }: { start: number; end: number },
): AsyncGenerator<Block> {
  yield root;
  if (root.cid.code !== DAG_PB) return;
  let at = 0;
  for (const { cid, size } of readLinks(root.bytes)) {
    if (at < end && at + size > start) {
      const child = { cid, bytes: await get(cid) };
      yield* walkFile(child, get, { start: start - at, end: end - at });
    }
    at += size;
  }
}
