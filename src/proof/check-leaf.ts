import { type Bytes, dagCborCid, fromHex, type Hex, toHex } from './bytes.ts';
import type { Step } from './check-anchor.ts';
import { leafHash, rootFromPath } from './merkle.ts';
import type { BatchHeader, OpenedLeaf } from './receipt.ts';

/** Whether the leaf is in the batch's tree. */
export async function checkLeaf(leaf: OpenedLeaf, reference: Hex, { merkleRoot, count }: BatchHeader): Promise<Step> {
  const parts = [leaf.salt, reference, leaf.digest].map(bytesOf);
  const node = dagCborCid(leaf.node);
  if (!node) throw new RangeError('a parsed receipt has CIDs');
  const hash = await leafHash(...parts, node);
  const root = await rootFromPath(hash, leaf.leafIndex, count, leaf.path.map(bytesOf));
  const ok = root !== undefined && toHex(root) === merkleRoot;
  const detail = ok ? `leaf ${leaf.leafIndex} of ${count} under ${merkleRoot}` : "the leaf is not in the batch's tree";
  return { step: 'root', ok, detail };
}

function bytesOf(hex: Hex): Bytes {
  const bytes = fromHex(hex);
  if (!bytes) throw new RangeError('a parsed receipt has hexadecimal digits');
  return bytes;
}
