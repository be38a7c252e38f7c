import { inclusionPath } from '../../crypto/merkle.ts';
import { leafSalt } from '../../crypto/study-key.ts';
import type { Cid } from '../../ipld/cid.ts';
import { decodeRecord } from '../../ipld/nodes.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Batch, Index, Version } from '../../ports/index.ts';
import type { Vault } from '../../ports/vault.ts';
import type { AnchorPlace, BatchHeader, OpenedLeaf, Receipt, StudyReceipt } from '../../proof/receipt.ts';
import { toHex } from '../objects/batch.ts';
import { recallChain } from '../objects/chain-identity.ts';
import { secretsOf } from '../objects/secrets.ts';
import { wholeBlock } from '../objects/whole-block.ts';
import type { CustodyView } from './custody.ts';

export interface ReceiptModules {
  blocks: BlockStore;
  index: Index;
  vault: Vault;
}

/** Batches whose leaf hashes are kept: 32 bytes a leaf. */
const KEPT_BATCHES = 256;

/**
 * Makes receipts (docs/receipt.md). A leaf's neighbours are opened by nobody: their hashes are in the record, so that a
 * receipt can be made though a neighbour's keys were erased.
 */
export function createReceipts(modules: ReceiptModules): Pick<CustodyView, 'receipt' | 'history' | 'studyReceipt'> {
  const { blocks, index, vault } = modules;
  const kept = new Map<string, Uint8Array[]>();

  async function hashesOf(record: Cid): Promise<Uint8Array[]> {
    const name = record.toString();
    let hashes = kept.get(name);
    if (!hashes) {
      hashes = decodeRecord(await wholeBlock(record, blocks)).hashes;
      if (kept.size >= KEPT_BATCHES) kept.delete(kept.keys().next().value as string);
      kept.set(name, hashes);
    }
    return hashes;
  }

  async function secretsOfStudy(studyInstanceUID: string) {
    const key = await vault.find(studyInstanceUID);
    if (!key) throw new DagpacsError('not-found', 'the study key is not in the vault');
    return secretsOf(key);
  }

  async function openLeaf(
    { sha256, node }: Version,
    saltKey: Uint8Array,
    batch: Batch,
    leafIndex: number,
  ): Promise<OpenedLeaf> {
    return {
      digest: toHex(sha256),
      salt: toHex(leafSalt(saltKey, node.bytes)),
      node: node.toString(),
      leafIndex,
      path: inclusionPath(await hashesOf(batch.record), leafIndex).map(toHex),
    };
  }

  function placeOf({ anchored }: Batch): AnchorPlace | undefined {
    const chain = recallChain(index);
    if (!chain || !anchored) return undefined;
    const { transactionHash, blockNumber, blockHash, blockTime } = anchored;
    return { ...chain, transactionHash, blockNumber, blockHash, blockTime };
  }

  async function receiptOf(version: Version, batch?: Batch, leafIndex?: number): Promise<Receipt | undefined> {
    const anchor = batch && placeOf(batch);
    if (!batch || !anchor || leafIndex === undefined) return undefined;
    const { reference, saltKey } = await secretsOfStudy(version.studyInstanceUID);
    const leaf = await openLeaf(version, saltKey, batch, leafIndex);
    return { type: 'dagpacs/receipt', v: 1, ...leaf, reference: toHex(reference), batch: headerOf(batch), anchor };
  }

  return {
    async receipt(sopInstanceUID, n) {
      const versions = index.versions(sopInstanceUID);
      const custody = n === undefined ? versions.at(-1) : versions.find(({ version }) => version.version === n);
      if (!custody) throw new DagpacsError('not-found', 'no such instance or version is held');
      const receipt = await receiptOf(custody.version, custody.batch, custody.leafIndex);
      if (!receipt)
        throw new DagpacsError('not-anchored', 'the version is held, but not anchored yet: ask again later');
      return receipt;
    },

    async history(sopInstanceUID) {
      const versions = index.versions(sopInstanceUID);
      if (versions.length === 0) throw new DagpacsError('not-found', 'no such instance is held');
      return Promise.all(
        versions.map(async ({ version, batch, leafIndex }) => ({
          version: version.version,
          receivedAt: version.receivedAt,
          sha256: Buffer.from(version.sha256).toString('hex'),
          receipt: (await receiptOf(version, batch, leafIndex)) ?? null,
        })),
      );
    },

    async studyReceipt(studyInstanceUID, sequence = Number.MAX_SAFE_INTEGER) {
      if (index.revision(studyInstanceUID) === 0 && index.batchedInStudy(studyInstanceUID) === 0)
        throw new DagpacsError('not-found', 'no such study is held');
      const { reference, saltKey } = await secretsOfStudy(studyInstanceUID);
      const name = toHex(reference);
      const receipt: StudyReceipt = {
        type: 'dagpacs/study-receipt',
        v: 1,
        reference: name,
        total: 0,
        batches: [],
        leaves: [],
      };
      let batch: Batch | undefined;
      for (const { version, batch: id, leafIndex } of index.leavesOfStudy(studyInstanceUID)) {
        if (batch?.id !== id) {
          batch = index.batch(id);
          const anchor = batch && placeOf(batch);
          // Anchors lie on the chain in their sequence: what follows the first that is missing is not there either.
          if (!batch || !anchor || batch.sequence > sequence) break;
          receipt.batches.push({ batch: headerOf(batch), anchor });
          receipt.total = batch.studies.find((study) => study.reference === name)?.total ?? 0;
        }
        receipt.leaves.push({
          ...(await openLeaf(version, saltKey, batch, leafIndex)),
          of: receipt.batches.length - 1,
        });
      }
      if (receipt.batches.length === 0) throw new DagpacsError('not-anchored', 'nothing of the study is anchored yet');
      return receipt;
    },
  };
}

function headerOf({ sequence, previousRoot, merkleRoot, count, record }: Batch): BatchHeader {
  return { sequence, previousRoot, merkleRoot, count, record: record.toString() };
}
