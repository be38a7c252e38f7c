import { hash } from 'node:crypto';

/** Merkle trees of RFC 9162 §2.1 with SHA-256: leaves are hashed behind 0x00, nodes behind 0x01. The verifier's half is in `proof/merkle.ts`. */

const DIGEST_SIZE = 32;
const LEAF_PREFIX = Buffer.from([0]);
const NODE_PREFIX = Buffer.from([1]);

/** What a leaf says of an instance. */
export interface Leaf {
  /** 32 bytes, from the study's key (`study-key.ts`): without it nobody can try guesses against the leaf. */
  salt: Uint8Array;
  /** The study's reference, 32 bytes. */
  reference: Uint8Array;
  /** SHA-256 of the received bytes. */
  digest: Uint8Array;
  /** Binary CID of the instance node. */
  node: Uint8Array;
}

/** A leaf's bytes: salt (32), reference (32), digest (32), CID. The parts before the last are fixed, so no two leaves agree. */
export function leafInput({ salt, reference, digest, node }: Leaf): Buffer {
  for (const part of [salt, reference, digest]) {
    if (part.length !== DIGEST_SIZE) throw new RangeError('salt, reference and digest have 32 bytes each');
  }
  return Buffer.concat([salt, reference, digest, node]);
}

/** The hash of a leaf whose bytes are the concatenation of `parts`. */
export function leafHash(parts: readonly Uint8Array[]): Buffer {
  return hash('sha256', Buffer.concat([LEAF_PREFIX, ...parts]), 'buffer');
}

function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([NODE_PREFIX, left, right]), 'buffer');
}

/** The tree's head over leaf hashes; the empty tree's is the hash of nothing (RFC 9162 §2.1.1). */
export function merkleRoot(leafHashes: readonly Uint8Array[]): Buffer {
  if (leafHashes.length === 0) return hash('sha256', Buffer.alloc(0), 'buffer');
  let level = leafHashes;
  while (level.length > 1) level = parents(level);
  return Buffer.from(level[0] as Uint8Array);
}

/**
 * Siblings from the leaf up (RFC 9162 §2.1.3.1); at most ⌈log2 n⌉ of 32 bytes.
 * @throws RangeError where there is no leaf `index`
 */
export function inclusionPath(leafHashes: readonly Uint8Array[], index: number): Buffer[] {
  if (!Number.isInteger(index) || index < 0 || index >= leafHashes.length) throw new RangeError('no such leaf');
  const path: Buffer[] = [];
  let level = leafHashes;
  for (let at = index; level.length > 1; at >>>= 1) {
    const sibling = level[at ^ 1];
    if (sibling) path.push(Buffer.from(sibling));
    level = parents(level);
  }
  return path;
}

/** A node without a sibling moves up as it is, which gives the tree of §2.1.1's recursive definition. */
function parents(level: readonly Uint8Array[]): Uint8Array[] {
  const above: Uint8Array[] = [];
  for (let i = 0; i < level.length; i += 2) {
    const left = level[i] as Uint8Array;
    const right = level[i + 1];
    above.push(right ? nodeHash(left, right) : left);
  }
  return above;
}
