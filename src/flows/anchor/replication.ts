import type { Cid } from '../../ipld/cid.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { type Loop, startLoop } from '../../kernel/loop.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Batch, Index } from '../../ports/index.ts';
import type { Hex } from '../../ports/ledger.ts';
import type { Swarm, SwarmNode } from '../../ports/swarm.ts';
import { leftOf, unpinErased } from '../objects/unpin.ts';
import { reconcile, retire } from './reconcile.ts';
import { replicate } from './replicate.ts';

export interface ReplicationModules {
  blocks: BlockStore;
  index: Index;
  swarm: Swarm;
  log: Log;
  /** Asked before each leaf that is sent: a promise where it is to wait. */
  pace(): Promise<void> | undefined;
  /** Told when a batch has become replicated. */
  onReplicated(): void;
}

export interface Replication {
  /** A batch was closed. */
  wake(): void;
  /** Why batches stay behind, in words. */
  problem(): string | undefined;
  stop(): Promise<void>;
}

const IDLE_MS = 1000;
/** Versions that wait, from which on replication is as urgent as ingest. */
const PACED_BELOW = 20_000;
/** Between two looks whether a node still holds what it held. */
const SAMPLE_MS = 5000;
/** Batches that are looked at for one that no other node is at. */
const WINDOW = 16;
/** A batch with a block that cannot be had is tried again after this, then after twice that, up to the maximum. */
const POSTPONE_MS = 10_000;
const MAX_POSTPONE_MS = 600_000;

/**
 * Brings every batch to `copies` nodes, one loop a node, so that one that hangs holds up nobody. The first node to take a
 * batch is sent its blocks; where the others are connected with it, they get them there.
 */
export function startReplication({ copies }: { copies: number }, modules: ReplicationModules): Replication {
  const { swarm, index, log } = modules;
  index.setCopies(copies);
  /** The nodes that are at a batch now. */
  const working = new Map<Hex, Set<SwarmNode>>();
  const postponed = new Map<Hex, { until: number; delay: number; reason: string }>();
  const loops: Loop[] = [];
  const wake = () => {
    for (const loop of loops) loop.wake();
  };

  for (const node of swarm.nodes) {
    let since: string | undefined;
    /** The batch that is being sent is noted, so that after a crash it is known what the node may hold a part of. */
    const begun = `replicating to ${node.name}`;
    const failed = new Set([index.getValue(begun)]);
    /** Getting a batch of a peer failed: the next one is sent. */
    let distrust = false;
    /** A record that the node has confirmed: where that is gone, it came back with another repository. */
    let sample: Cid | undefined;
    let sampledAt = 0;
    const round = async () => {
      const status = node.status();
      if (status.state !== 'connected' || status.node === undefined) return false;
      let doubtful = false;
      if (sample && Date.now() - sampledAt >= SAMPLE_MS) {
        doubtful = !(await node.isPinned(sample));
        sampledAt = Date.now();
      }
      if (status.since !== since || doubtful) {
        retire(swarm.nodes, copies, modules);
        sample = await reconcile(node, status.node, copies, modules);
        since = status.since;
      }
      await unpinErased(node, status.node, index);
      const batch = nextFor(node, status.node);
      if (!batch) return false;
      const pace = index.waiting().unreplicated < PACED_BELOW ? modules.pace : undefined;
      const careful = failed.has(batch.id);
      const fromPeer = !distrust && isAtPeer(batch, node);
      occupy(batch, node);
      try {
        index.setValue(begun, batch.id);
        await replicate(batch, node, { fromPeer, careful, pace }, modules);
        failed.delete(batch.id);
        distrust = false;
        postponed.delete(batch.id);
        if (!leftOf(batch, index)) sample = batch.record;
        index.confirm(batch.id, { node: status.node, at: new Date().toISOString() }, copies);
        if (index.batch(batch.id)?.replicatedAt !== undefined) modules.onReplicated();
      } catch (error) {
        failed.add(batch.id);
        distrust = fromPeer;
        if (!isDagpacsError(error, 'block-missing') && !isDagpacsError(error, 'block-damaged')) throw error;
        postpone(batch, error.message);
      } finally {
        leave(batch, node);
        wake();
      }
      return true;
    };
    const onFailure = (error: unknown, retryInMs: number) => {
      const fields = isDagpacsError(error) ? { code: error.code, reason: error.message } : { reason: String(error) };
      log.warn('replication-failed', { name: node.name, ...fields, retryInMs });
    };
    loops.push(startLoop({ round, idleMs: IDLE_MS, onFailure }));
  }

  function nextFor(node: SwarmNode, identity: string): Batch | undefined {
    const now = Date.now();
    return index.unconfirmed(identity, WINDOW + postponed.size).find((batch) => {
      if ((postponed.get(batch.id)?.until ?? 0) > now) return false;
      const others = working.get(batch.id)?.size ?? 0;
      if (others === 0) return true;
      // Enough nodes are at it, or one is that this one can get it from afterwards.
      if (batch.confirmations.length + others >= copies) return false;
      return isAtPeer(batch, node) || !mayGetItLater(batch, node);
    });
  }

  function isAtPeer({ confirmations }: Batch, node: SwarmNode): boolean {
    return confirmations.some((confirmation) => node.reaches(confirmation.node));
  }

  function mayGetItLater({ id }: Batch, node: SwarmNode): boolean {
    return [...(working.get(id) ?? [])].some((other) => {
      const identity = other.status().node;
      return identity !== undefined && node.reaches(identity);
    });
  }

  function occupy({ id }: Batch, node: SwarmNode): void {
    const nodes = working.get(id);
    if (nodes) nodes.add(node);
    else working.set(id, new Set([node]));
  }

  function leave({ id }: Batch, node: SwarmNode): void {
    const nodes = working.get(id);
    nodes?.delete(node);
    if (nodes?.size === 0) working.delete(id);
  }

  function postpone({ id, sequence }: Batch, reason: string): void {
    const delay = Math.min((postponed.get(id)?.delay ?? POSTPONE_MS / 2) * 2, MAX_POSTPONE_MS);
    postponed.set(id, { until: Date.now() + delay, delay, reason });
    log.error('batch-not-whole', { batch: sequence, reason, retryInMs: delay });
  }

  return {
    wake,
    problem() {
      const [first] = postponed.values();
      return first && `${postponed.size} batches cannot be replicated: ${first.reason}`;
    },
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}
