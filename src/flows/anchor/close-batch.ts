import { leafHash, leafInput, merkleRoot } from '../../crypto/merkle.ts';
import { leafSalt } from '../../crypto/study-key.ts';
import { type Cid, cidOf, DAG_CBOR } from '../../ipld/cid.ts';
import { encodeRecord, type RecordNode } from '../../ipld/nodes.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Position } from '../../ports/blocks.ts';
import type { Index, Version } from '../../ports/index.ts';
import type { Vault } from '../../ports/vault.ts';
import { fromHex, toBatch } from '../objects/batch.ts';
import { secretsOf } from '../objects/secrets.ts';

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

/**
 * Closes a batch over the oldest versions that are in none, at most `max`: their Merkle tree (RFC 9162), and the record
 * that links their nodes. The record is durable when this resolves, so a batch outlives a crash before it is sent.
 * @returns how many versions it took
 */
export async function closeBatch(max: number, { index, vault, commitRecord }: CloseBatchModules): Promise<number> {
  const { versions } = index.pending(max);
  if (versions.length === 0) return 0;
  const hashes: Buffer[] = [];
  const counts = new Map<string, { reference: Buffer; count: number }>();
  for (const version of versions) {
    const { reference, saltKey } = await secretsOfVersion(version, vault);
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
    leaves: versions.map((version) => version.node),
    hashes,
    studies: [...counts].map(([uid, { reference, count }]) => [reference, index.batchedInStudy(uid) + count]),
  };
  const bytes = encodeRecord(record);
  const cid = cidOf(DAG_CBOR, bytes);
  const { studies, ...batch } = toBatch(cid, record);
  await commitRecord({ cid, bytes }, (next) => index.addBatch(batch, record.leaves, studies, next));
  return versions.length;
}

async function secretsOfVersion(version: Version, vault: Vault) {
  const key = await vault.find(version.studyInstanceUID);
  if (!key) throw new DagpacsError('not-found', 'the study key of a version that waits for its anchor is gone');
  return secretsOf(key);
}
