import { unwrapKey } from '../../crypto/key-wrap.ts';
import { Opener } from '../../crypto/open-range.ts';
import { sealedSize } from '../../crypto/sealed-stream.ts';
import { type Cid, DAG_PB } from '../../ipld/cid.ts';
import { readLinks } from '../../ipld/leaves.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Vault } from '../../ports/vault.ts';
import { secretsOf } from './secrets.ts';
import { wholeBlock } from './whole-block.ts';

/** A leaf of a sealed object and where it stands in it. */
interface Leaf {
  cid: Cid;
  start: number;
  end: number;
}

/** What must be known of a stored instance to open it. */
export interface Sealed {
  studyInstanceUID: string;
  object: Cid;
  wrappedKey: Uint8Array;
  /** Plaintext bytes. */
  size: number;
}

/** Objects that are fetched ahead of one that had to be fetched. */
const AHEAD = 24;

/**
 * Opens the sealed object of an instance.
 * @param row where it is one of several that are read in a row: these; and `at`, its place in them
 * @throws DagpacsError `not-found` where the study's key was erased, `block-missing`, `block-damaged`
 */
export async function openSealed(
  sealed: Sealed,
  modules: { blocks: BlockStore; vault: Vault },
  row?: readonly Sealed[],
  at?: number,
): Promise<Opener> {
  const studyKey = await modules.vault.find(sealed.studyInstanceUID);
  if (!studyKey) throw new DagpacsError('not-found', 'the study key is not in the vault');
  const key = unwrapKey(secretsOf(studyKey).wrappingKey, sealed.wrappedKey);
  return openObject(key, sealed.object, sealed.size, modules.blocks, row, at);
}

/** Opens a sealed object of `size` plaintext bytes whose key is known. @throws as {@link openSealed} */
export async function openObject(
  key: Uint8Array,
  object: Cid,
  size: number,
  blocks: BlockStore,
  row?: readonly Sealed[],
  at = 0,
): Promise<Opener> {
  const bytes = sealedSize(size);
  if (object.code !== DAG_PB) {
    return Opener.open(
      key,
      bytes,
      (start, end, target) => blocks.read(object, start, end, target),
      {},
      async (start, end) => {
        const mending = blocks.mend(object);
        if (row) fetchAhead(row, at + 1, blocks);
        return (await mending).subarray(start, end);
      },
    );
  }
  const leaves = await leavesOf(object, blocks);
  return Opener.open(
    key,
    bytes,
    (start, end, target) => readLeaves(leaves, blocks, start, end, target),
    {},
    (start, end) => mendLeaves(leaves, blocks, start, end),
  );
}

/** Where one object of a row was missing here the next ones will be: a round trip for each would be most of the time. */
function fetchAhead(row: readonly Sealed[], from: number, blocks: BlockStore): void {
  for (const { object } of row.slice(from, from + AHEAD)) {
    if (object.code === DAG_PB || blocks.has(object)) continue;
    // Whoever reads it meets its failure.
    blocks.mend(object).catch(() => undefined);
  }
}

/** The same as {@link readLeaves}, of leaves that are checked against their CIDs and mended where they are not right. */
async function mendLeaves(leaves: Leaf[], blocks: BlockStore, start: number, end: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (const leaf of leaves.slice(firstLeaf(leaves, start))) {
    if (leaf.start >= end) break;
    const bytes = await blocks.mend(leaf.cid);
    parts.push(bytes.subarray(Math.max(0, start - leaf.start), Math.min(end, leaf.end) - leaf.start));
  }
  return Buffer.concat(parts);
}

/** Bytes `start` to `end` of a sealed object from its leaves. */
async function readLeaves(
  leaves: Leaf[],
  blocks: BlockStore,
  start: number,
  end: number,
  target: Buffer,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let at = firstLeaf(leaves, start); at < leaves.length; at += 1) {
    const leaf = leaves[at] as Leaf;
    if (leaf.start >= end) break;
    const from = Math.max(0, start - leaf.start);
    const to = Math.min(end, leaf.end) - leaf.start;
    // Segments never span leaves, so one leaf is what is read; the target serves for that one.
    parts.push(await blocks.read(leaf.cid, from, to, parts.length === 0 ? target : undefined));
  }
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}

/** The leaf that holds byte `start`, by bisection. */
function firstLeaf(leaves: Leaf[], start: number): number {
  let low = 0;
  let high = leaves.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((leaves[middle] as Leaf).end <= start) low = middle + 1;
    else high = middle;
  }
  return low;
}

async function leavesOf(root: Cid, blocks: BlockStore): Promise<Leaf[]> {
  const leaves: Leaf[] = [];
  let position = 0;
  for await (const { cid, size } of walkObject(root, blocks)) {
    if (cid.code === DAG_PB) continue;
    const end = position + (size ?? 0);
    leaves.push({ cid, start: position, end });
    position = end;
  }
  return leaves;
}

/** Every block of a sealed object, a node before its children; `size` (bytes) of each but the root. */
export async function* walkObject(root: Cid, blocks: BlockStore): AsyncIterable<{ cid: Cid; size?: number }> {
  yield { cid: root };
  if (root.code !== DAG_PB) return;
  for (const { cid, size } of readLinks(await wholeBlock(root, blocks))) {
    if (cid.code === DAG_PB) yield* walkObject(cid, blocks);
    else yield { cid, size };
  }
}
