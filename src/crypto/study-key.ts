import { createHmac, hkdfSync } from 'node:crypto';

/** What is derived from a study's key. Erase that key, and all of these mean nothing. */
export interface StudySecrets {
  /** The study's name on the chain and in instance nodes: 32 bytes that tell nothing. */
  readonly reference: Buffer;
  /** Wraps object keys (`key-wrap.ts`). */
  readonly wrappingKey: Buffer;
  /** Seals the entries of instance nodes (`sealed-entry.ts`). */
  readonly entryKey: Buffer;
  /** Makes the salts of Merkle leaves, see {@link leafSalt}. */
  readonly saltKey: Buffer;
}

const SIZE = 32;

/**
 * HKDF-SHA256 (RFC 5869) without salt, since a study's key is random. `info` carries a version: another derivation is
 * another name.
 */
function derive(key: Uint8Array, info: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), info, SIZE));
}

/** All that is derived from a study's 32-byte key (some 40 µs: keep it while the study is in use). */
export function deriveStudy(key: Uint8Array): StudySecrets {
  if (key.length !== SIZE) throw new RangeError('a study key has 32 bytes');
  return {
    reference: studyReference(key),
    wrappingKey: derive(key, 'dagpacs/study/v1/wrap'),
    entryKey: derive(key, 'dagpacs/study/v1/entry'),
    saltKey: derive(key, 'dagpacs/study/v1/salt'),
  };
}

/** {@link StudySecrets.reference} alone, for a rebuild that looks for the key of a reference. */
export function studyReference(key: Uint8Array): Buffer {
  return derive(key, 'dagpacs/study/v1/reference');
}

/** The salt (32 bytes) of an instance's Merkle leaf: HMAC-SHA256 of its instance node's binary CID under the salt key. */
export function leafSalt(saltKey: Uint8Array, node: Uint8Array): Buffer {
  return createHmac('sha256', saltKey).update(node).digest();
}
