import { type Bytes, sha256 } from './bytes.ts';

/** The verifier's half of the Merkle trees of RFC 9162 §2.1 with SHA-256; the bridge's half is `crypto/merkle.ts`. */

const DIGEST_SIZE = 32;
const LEAF_PREFIX = Uint8Array.of(0);
const NODE_PREFIX = Uint8Array.of(1);

/** The hash of a leaf whose bytes are the concatenation of `parts`. */
export function leafHash(...parts: Uint8Array[]): Promise<Bytes> {
  return sha256(LEAF_PREFIX, ...parts);
}

/**
 * The root that a path leads to (RFC 9162 §2.1.3.2), or undefined where the path cannot belong to leaf `index` of a tree of
 * `size` leaves. Whoever compares the root must also compare `size` with the anchor's count: a path does not bind it.
 */
export async function rootFromPath(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Promise<Uint8Array | undefined> {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return undefined;
  if (leaf.length !== DIGEST_SIZE || path.some((sibling) => sibling.length !== DIGEST_SIZE)) return undefined;
  let node = index;
  let last = size - 1;
  let root = leaf;
  for (const sibling of path) {
    if (last === 0) return undefined;
    if (node % 2 === 1 || node === last) {
      root = await sha256(NODE_PREFIX, sibling, root);
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2);
        last = Math.floor(last / 2);
      }
    } else {
      root = await sha256(NODE_PREFIX, root, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? root : undefined;
}
