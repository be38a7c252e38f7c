import { leafHash, leafInput, merkleRoot } from '../../crypto/merkle.ts';
import { leafSalt } from '../../crypto/study-key.ts';
import { type Cid, cidOf, DAG_CBOR } from '../../ipld/cid.ts';
import { encodeRecord, type RecordNode } from '../../ipld/nodes.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { Position } from '../../ports/blocks.ts';
import type { Index, Version } from '../../ports/index.ts';
import type { Vault } from '../../ports/vault.ts';
import { fromHex, toBatch } from '../objects/batch.ts';
import { secretsOf } from '../objects/secrets.ts';

type Secrets = ReturnType<typeof secretsOf>;

/** Appends a record to the log and indexes it; resolves when it is durable. */
export type CommitRecord = (
  record: { cid: Cid; bytes: Uint8Array },
  addBatch: (next: Position) => Promise<void>,
) => Promise<void>;

export interface CloseBatchModules {
  index: Index;
  vault: Vault;
  commitRecord: CommitRecord;
}

/** How many versions a batch took, and how many wait for a key of their study. */
export interface Closed {
  taken: number;
  keyless: number;
}

/**
 * Closes a batch over the oldest versions that are in none, at most `max`: their Merkle tree (RFC 9162), and the record
 * that links their nodes. The record is durable when this resolves, so a batch outlives a crash before it is sent.
 */
export async function closeBatch(max: number, { index, vault, commitRecord }: CloseBatchModules): Promise<Closed> {
  const { found, keyless } = await oldestWithKeys(max, { index, vault });
  if (found.length === 0) return { taken: 0, keyless };
  const hashes: Buffer[] = [];
  const counts = new Map<string, { reference: Buffer; count: number }>();
  for (const { version, secrets } of found) {
    const { reference, saltKey } = secrets;
    const node = version.node.bytes;
    hashes.push(leafHash([leafInput({ salt: leafSalt(saltKey, node), reference, digest: version.sha256, node })]));
    const study = counts.get(version.studyInstanceUID) ?? { reference, count: 0 };
    counts.set(version.studyInstanceUID, { reference, count: study.count + 1 });
  }
  const last = index.lastBatch();
  const record: RecordNode = {
    sequence: last ? last.sequence + 1 : 0,
    previous: last?.record ?? null,
    previousRoot: last ? fromHex(last.merkleRoot) : Buffer.alloc(32),
    merkleRoot: merkleRoot(hashes),
    closedAt: new Date().toISOString(),
    leaves: found.map(({ version }) => version.node),
    hashes,
    studies: [...counts].map(([uid, { reference, count }]) => [reference, index.batchedInStudy(uid) + count]),
  };
  const bytes = encodeRecord(record);
  const cid = cidOf(DAG_CBOR, bytes);
  const { studies, ...batch } = toBatch(cid, record);
  await commitRecord({ cid, bytes }, (next) => index.addBatch(batch, record.leaves, studies, next));
  return { taken: found.length, keyless };
}

type Modules = Pick<CloseBatchModules, 'index' | 'vault'>;

/** Those whose study has no key (any more) stay where they are, and hold up nobody who came after them. */
async function oldestWithKeys(max: number, { index, vault }: Modules) {
  const studies = new Map<string, Secrets | undefined>();
  for (let window = max; ; window *= 2) {
    const { versions } = index.pending(window);
    const found: { version: Version; secrets: Secrets }[] = [];
    for (const version of versions) {
      const { studyInstanceUID: study } = version;
      if (!studies.has(study)) studies.set(study, await secretsOfStudy(study, vault));
      const secrets = studies.get(study);
      if (secrets) found.push({ version, secrets });
    }
    const keyless = versions.length - found.length;
    if (found.length >= max || versions.length < window) return { found: found.slice(0, max), keyless };
  }
}

/** Undefined where the key is gone, or cannot be read now. */
async function secretsOfStudy(studyInstanceUID: string, vault: Vault): Promise<Secrets | undefined> {
  try {
    const key = await vault.find(studyInstanceUID);
    return key && secretsOf(key);
  } catch (error) {
    if (isDagpacsError(error, 'storage-failed')) return undefined;
    throw error;
  }
}
