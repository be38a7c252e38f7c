import { isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { sleep, startLoop } from '../../kernel/loop.ts';
import type { OneAtATime } from '../../kernel/one-at-a-time.ts';
import type { BlockStore, Position } from '../../ports/blocks.ts';
import type { Index } from '../../ports/index.ts';
import type { Swarm } from '../../ports/swarm.ts';
import { lostBatches, pinnedRoots } from '../objects/pinned.ts';
import { isSound, newReport, type Scrub, type ScrubReport, type ScrubStatus } from '../objects/scrub-report.ts';
import { compact } from './compact.ts';
import { findOrphans } from './orphans.ts';
import { Pace } from './pace.ts';
import { BlockScrubber } from './scrub-blocks.ts';

export interface ScrubOptions {
  /** Bytes a second of the passes that go on by themselves; 0: none do. */
  rate: number;
  /** Milliseconds between the end of one and the start of the next. */
  pauseMs: number;
  /** Nodes that must hold a batch for it to be replicated. */
  copies: number;
  /** Milliseconds between two looks at whether a pass is due; none begins sooner after a start. */
  lookEveryMs?: number;
}

export interface ScrubModules {
  blocks: BlockStore;
  index: Index;
  swarm: Swarm;
  log: Log;
  /** Held while a pack is written anew, see {@link compact}. */
  turns: OneAtATime;
}

export interface Scrubber extends Scrub {
  /** Notes how far it is, and ends; the next start goes on from there. */
  stop(): Promise<void>;
}

/** How far a pass is. */
interface Pass {
  /** The log's end when it began: what came later is the next one's. */
  limit: Position;
  phase: 'versions' | 'records' | 'orphans';
  /** Number of the last version that was looked at. */
  version: number;
  /** Sequence of the last record that was looked at, newest first. */
  record?: number;
  report: ScrubReport;
}

/** As a named value of the index, so that it is where the rows are that it is about. */
const NAME = 'scrub';
const SAVE_EVERY_MS = 5000;
const REPORT_EVERY_MS = 500;
const LOOK_EVERY_MS = 60_000;
const GROUP = 64;
/** A pack of which less is garbage is not written anew by a pass. */
const WORTHWHILE = 0.1;

/** A pass was broken off: by the end, or by one that is to begin anew. */
class BrokenOff extends Error {}

/**
 * Goes through everything that is held, again and again and slowly: every version's blocks by their hash, here and, whether
 * they are there, on the nodes that confirmed them; records and pins; and at last what nothing refers to, which is deleted where it is from before the
 * start. What is missing or
 * damaged is put right from the other side, and reported where neither has it.
 */
export function startScrub(options: ScrubOptions, modules: ScrubModules): Scrubber {
  const { rate, pauseMs, copies, lookEveryMs = LOOK_EVERY_MS } = options;
  const { blocks, index, swarm, log, turns } = modules;
  const pace = new Pace(rate);
  const kept = JSON.parse(index.getValue(NAME) ?? '{}') as { pass?: Pass; last?: ScrubReport };
  let { pass, last } = kept;
  let running = false;
  let stopped = false;
  let savedAt = 0;
  /** A pass that is waited for, and whether it is to begin anew. */
  let asked: { rate: number } | undefined;
  let restart = false;
  let completed = 0;
  let failure: unknown;
  const began = Date.now();
  /** What is being received may have blocks in this pack, and in none before. */
  const { pack: firstOfOurs } = blocks.position();

  const broken = () => stopped || restart;
  const spend = async (bytes: number) => {
    await pace.spend(bytes, broken);
    if (broken()) throw new BrokenOff();
    if (Date.now() - savedAt > SAVE_EVERY_MS) save();
  };
  function save(): void {
    savedAt = Date.now();
    index.setValue(NAME, JSON.stringify({ pass, last }));
  }

  const isDue = () =>
    asked !== undefined ||
    (rate > 0 &&
      Date.now() - began >= lookEveryMs &&
      (pass !== undefined || Date.now() - Date.parse(last?.finishedAt ?? '1970-01-01') >= pauseMs));

  async function round(): Promise<boolean> {
    if (!isDue() || stopped) return false;
    if (restart) pass = undefined;
    restart = false;
    pace.rate = asked?.rate ?? rate;
    pass ??= { limit: blocks.position(), phase: 'versions', version: 0, report: newReport(index.counts().versions) };
    running = true;
    try {
      await go(pass);
      pass.report.finishedAt = new Date().toISOString();
      last = pass.report;
      pass = undefined;
      asked = undefined;
      completed += 1;
      const { problems, ...found } = last;
      if (!isSound(last)) log.error('scrub-found-problems', found);
      else log.info('scrub-done', found);
    } catch (error) {
      if (!(error instanceof BrokenOff)) throw error;
    } finally {
      running = false;
      save();
    }
    return restart;
  }

  async function go(current: Pass): Promise<void> {
    const scrubber = new BlockScrubber({ blocks, index, swarm, pace: spend }, current.report);
    if (current.phase === 'versions') await versions(current, scrubber);
    if (current.phase === 'records') await records(current, scrubber);
    const { report, limit } = current;
    report.orphaned = (await findOrphans(limit, { blocks, index }, spend)) ?? null;
    if (report.orphaned?.bytes === 0) return;
    const options = { before: firstOfOurs, worthwhile: WORTHWHILE };
    report.freed = (await compact(options, { blocks, index, log, turns, pace: spend })) ?? 0;
  }

  async function versions(current: Pass, scrubber: BlockScrubber): Promise<void> {
    for (let rows = index.scan(current.version, GROUP); rows.length > 0; rows = index.scan(current.version, GROUP)) {
      for (const row of rows) {
        await scrubber.version(row);
        current.version = row.number;
        current.report.versions += 1;
        await spend(0);
      }
      current.report.ofVersions = Math.max(current.report.ofVersions, current.report.versions);
    }
    current.phase = 'records';
  }

  async function records(current: Pass, scrubber: BlockScrubber): Promise<void> {
    await pins(current.report);
    for (;;) {
      const batches = index.batches(GROUP, current.record);
      if (batches.length === 0) break;
      for (const { id, sequence, record, confirmations } of batches) {
        const holders = scrubber.holders(confirmations.map(({ node }) => node));
        await scrubber.block(record, { batch: id, holders, isConfirmed: false });
        current.record = sequence;
        await spend(0);
      }
    }
    current.phase = 'orphans';
  }

  /** What a node does not hold pinned any more is replicated to it again: the outbox finds it unconfirmed. */
  async function pins({ remote }: ScrubReport): Promise<void> {
    for (const node of swarm.nodes) {
      const { state, node: identity } = node.status();
      if (state !== 'connected' || identity === undefined) continue;
      try {
        // Before the pins, so that what is pinned meanwhile is not taken for lost.
        const confirmed = index.confirmedBy(identity);
        const lost = lostBatches(await pinnedRoots(node), confirmed, index);
        remote.pinsLost += lost.length;
        if (lost.length > 0) index.withdraw(lost, identity, copies);
      } catch (error) {
        if (!isDagpacsError(error, 'swarm-unavailable')) throw error;
        remote.unreachable += 1;
      }
    }
  }

  const loop = startLoop({
    round,
    idleMs: lookEveryMs,
    onFailure(error, retryInMs) {
      failure = error;
      log.error('scrub-failed', { reason: isDagpacsError(error) ? error.message : String(error), retryInMs });
    },
  });

  return {
    status(): ScrubStatus {
      const state = running ? 'running' : rate === 0 ? 'off' : 'resting';
      return { state, current: pass?.report ?? null, last: last ?? null };
    },
    async *run(wanted, resume) {
      if (!asked) {
        asked = { rate: wanted };
        restart = resume === undefined || running;
        failure = undefined;
        loop.wake();
      }
      const before = completed;
      const goesOn = () => completed === before && !stopped && failure === undefined;
      for (let told = 0; goesOn(); told += 1) {
        if (told > 0 && pass) yield pass.report;
        const until = performance.now() + REPORT_EVERY_MS;
        while (goesOn() && performance.now() < until) await sleep(20);
      }
      if (completed > before && last) yield last;
      else if (failure !== undefined) {
        asked = undefined;
        throw failure;
      }
    },
    async stop() {
      stopped = true;
      await loop.stop();
    },
  };
}
