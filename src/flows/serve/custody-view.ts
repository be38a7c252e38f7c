import { DagpacsError } from '../../kernel/errors.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Batch, Custody, Index } from '../../ports/index.ts';
import type { Hex, Ledger } from '../../ports/ledger.ts';
import type { Swarm } from '../../ports/swarm.ts';
import type { Vault } from '../../ports/vault.ts';
import { type ChainIdentity, recallChain } from '../objects/chain-identity.ts';
import type { MendingCounts } from '../objects/mending.ts';
import type { ScrubStatus } from '../objects/scrub-report.ts';
import { owedUnpins } from '../objects/unpin.ts';
import type { BatchCustody, CustodyView, Stage, Stages, VersionCustody } from './custody.ts';
import { createReceipts } from './receipt.ts';

export interface CustodyModules {
  blocks: BlockStore;
  index: Index;
  ledger: Ledger;
  swarm: Swarm;
  vault: Vault;
  /** Why anchoring does not go on. */
  problem(): string | undefined;
  /** Why batches cannot be replicated. */
  replicationProblem(): string | undefined;
  /** What became of blocks that could not be read here. */
  mended(): MendingCounts;
  scrub(): ScrubStatus;
}

/** The answers of the `/custody` API, from the index and from what the parts say of themselves. */
export function createCustodyView(
  { outboxMax, copies }: { outboxMax: number; copies: number },
  modules: CustodyModules,
): CustodyView {
  const { blocks, index, ledger, swarm, problem } = modules;
  return {
    ...createReceipts(modules),

    async status() {
      const { studies, series, instances, versions, ...stages } = index.counts();
      const [chain, swarmStatus] = await Promise.all([ledger.status(), swarm.status()]);
      const { unanchored, unreplicated } = index.waiting();
      return {
        counts: { studies, series, instances, versions },
        stages,
        outbox: {
          pending: index.pendingCount(),
          waiting: unanchored,
          limit: outboxMax,
          oldest: index.pending(1).oldest ?? null,
          problem: problem() ?? null,
        },
        chain,
        swarm: {
          ...swarmStatus,
          copies,
          waiting: unreplicated,
          problem: modules.replicationProblem() ?? null,
          owed: Object.entries(owedUnpins(index)).map(([node, batches]) => ({ node, batches: batches.length })),
          reads: { ...modules.mended() },
        },
        scrub: modules.scrub(),
        disk: blocks.usage(),
      };
    },

    async instance(sopInstanceUID) {
      const versions = index.versions(sopInstanceUID);
      const current = versions.at(-1)?.version;
      if (!current) throw new DagpacsError('not-found', 'no such instance is held');
      const { studyInstanceUID, seriesInstanceUID } = current;
      const chain = recallChain(index);
      return {
        studyInstanceUID,
        seriesInstanceUID,
        sopInstanceUID,
        versions: versions.map((custody) => describeVersion(custody, chain)),
      };
    },

    async batches(limit, before) {
      const chain = recallChain(index);
      return index.batches(limit, before).map((batch) => describeBatch(batch, chain));
    },

    async batch(id) {
      const batch = index.batch(id as Hex);
      if (!batch) throw new DagpacsError('not-found', 'no such batch');
      return describeBatch(batch, recallChain(index));
    },
  };
}

function describeVersion(
  { version, storedAt, batch, leafIndex, rejection }: Custody,
  chain?: ChainIdentity,
): VersionCustody {
  const stages: Stages = {
    stored: storedAt,
    replicated: batch?.replicatedAt ?? null,
    anchored: batch?.anchored?.blockTime ?? null,
    final: batch?.finalAt ?? null,
  };
  const described: VersionCustody = {
    version: version.version,
    sha256: Buffer.from(version.sha256).toString('hex'),
    size: version.size,
    transferSyntaxUID: version.transferSyntaxUID,
    cid: version.object.toString(),
    receivedAt: version.receivedAt,
    receivedFrom: version.receivedFrom,
    confirmations: batch?.confirmations ?? [],
    stage: furthest(stages),
    stages,
    ...(rejection && { rejection }),
  };
  if (chain && batch?.anchored && leafIndex !== undefined) {
    const { transactionHash, blockNumber, blockTime } = batch.anchored;
    const { id, merkleRoot } = batch;
    const record = batch.record.toString();
    described.anchor = { batch: id, record, merkleRoot, leafIndex, ...chain, transactionHash, blockNumber, blockTime };
  }
  return described;
}

function furthest(stages: Stages): Stage {
  if (stages.final) return 'final';
  if (stages.anchored) return 'anchored';
  return stages.replicated ? 'replicated' : 'stored';
}

function describeBatch(batch: Batch, chain?: ChainIdentity): BatchCustody {
  const { id, sequence, merkleRoot, previousRoot, count, closedAt, anchored } = batch;
  return {
    id,
    sequence,
    record: batch.record.toString(),
    merkleRoot,
    previousRoot,
    count,
    closedAt,
    replicatedAt: batch.replicatedAt ?? null,
    confirmations: batch.confirmations,
    finalAt: batch.finalAt ?? null,
    transactions: batch.transactions.map(({ hash }) => hash),
    anchor: chain && anchored ? { ...chain, ...anchored } : null,
  };
}
