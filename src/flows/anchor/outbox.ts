import { isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { sleep, startLoop } from '../../kernel/loop.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Index } from '../../ports/index.ts';
import type { Ledger } from '../../ports/ledger.ts';
import type { Swarm } from '../../ports/swarm.ts';
import type { Vault } from '../../ports/vault.ts';
import { type CommitRecord, closeBatch } from './close-batch.ts';
import { startReplication } from './replication.ts';
import { Sender, settleFinality } from './send.ts';

export interface OutboxOptions {
  /** Versions that close a batch. */
  maxBatch: number;
  /** Milliseconds after which the oldest version closes one. */
  maxAgeMs: number;
  /** Nodes that must hold a batch for it to be replicated. */
  copies: number;
  /** Milliseconds after which a transaction that blocks pass by is sent again with a higher fee. */
  stuckAfterMs?: number;
}

export interface OutboxModules {
  blocks: BlockStore;
  vault: Vault;
  index: Index;
  ledger: Ledger;
  swarm: Swarm;
  commitRecord: CommitRecord;
  log: Log;
  /** Told when a batch has become replicated. */
  onReplicated(): void;
}

export interface Outbox {
  /** A version was stored. */
  notify(): void;
  /** Why anchoring does not go on, in words; undefined while it does, or while the chain is not connected. */
  problem(): string | undefined;
  /** Why batches cannot be replicated, in words; what is a node's fault is in the swarm's status. */
  replicationProblem(): string | undefined;
  /** Closes the last batch and ends; what is not sent yet is sent after the next start. */
  stop(): Promise<void>;
}

const STUCK_AFTER_MS = 30_000;
/** While instances arrive less than this apart, replication leaves them the processor and the disk: 50 leaves a second. */
const BUSY_MS = 200;
const PACE_MS = 20;
const FINALITY_POLL_MS = 1000;

/**
 * What happens to a stored instance after its sender was answered: batches are closed, and then anchored and replicated,
 * each in its own loop, so that none waits for another.
 */
export function startOutbox(options: OutboxOptions, modules: OutboxModules): Outbox {
  const { maxBatch, maxAgeMs, copies, stuckAfterMs = STUCK_AFTER_MS } = options;
  const { index, ledger, log } = modules;
  const sender = new Sender({ stuckAfterMs }, { index, ledger, log });
  let problem: string | undefined;
  let storedAt = Number.NEGATIVE_INFINITY;
  /** Why versions stay in no batch. */
  let unclosed: string | undefined;
  const failed = (event: string) => (error: unknown, retryInMs: number) => {
    const fields = isDagpacsError(error) ? { code: error.code, reason: error.message } : { reason: String(error) };
    log.warn(event, { ...fields, retryInMs });
  };

  const sending = startLoop({
    async round() {
      const status = await ledger.status();
      if (status.state !== 'connected') return false;
      const anchored = await sender.round(status);
      problem = undefined;
      return anchored > 0 && index.unfinished('anchor', 1).length > 0;
    },
    idleMs: FINALITY_POLL_MS,
    onFailure(error, retryInMs) {
      problem = isDagpacsError(error) ? error.message : 'an unexpected failure';
      failed('anchoring-failed')(error, retryInMs);
    },
  });

  const finality = startLoop({
    async round() {
      if ((await ledger.status()).state === 'connected') await settleFinality({ index, ledger, log });
      return false;
    },
    idleMs: FINALITY_POLL_MS,
    onFailure: failed('finality-not-known'),
  });

  const replicating = startReplication(
    { copies },
    { ...modules, pace: () => (performance.now() - storedAt < BUSY_MS ? sleep(PACE_MS) : undefined) },
  );

  function tellUnclosed(keyless: number): void {
    const before = unclosed;
    unclosed =
      keyless === 0 ? undefined : `${keyless} versions cannot be anchored: the key of their study is not there`;
    if (unclosed !== undefined && unclosed !== before) log.error('versions-without-key', { versions: keyless });
  }

  const closing = startLoop({
    async round() {
      const { oldest } = index.pending(1);
      if (oldest === undefined) {
        tellUnclosed(0);
        return false;
      }
      const age = Date.now() - Date.parse(oldest);
      // One that was received in the future was so by a clock that has been put right.
      if (index.pendingCount() < maxBatch && age >= 0 && age < maxAgeMs) return false;
      const { taken, keyless } = await closeBatch(maxBatch, modules);
      tellUnclosed(keyless);
      if (taken === 0) return false;
      sending.wake();
      replicating.wake();
      return index.pendingCount() >= maxBatch;
    },
    idleMs: Math.max(20, Math.min(250, maxAgeMs / 4)),
    onFailure: failed('batch-not-closed'),
  });

  let waiting = 0;
  return {
    notify() {
      storedAt = performance.now();
      waiting += 1;
      if (waiting < maxBatch) return;
      waiting = 0;
      closing.wake();
    },
    problem: () => problem ?? unclosed,
    replicationProblem: () => replicating.problem(),
    async stop() {
      await closing.stop();
      await Promise.all([sending.stop(), finality.stop(), replicating.stop()]);
    },
  };
}
