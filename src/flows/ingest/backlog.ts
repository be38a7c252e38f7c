import { DagpacsError } from '../../kernel/errors.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Index } from '../../ports/index.ts';
import type { Swarm } from '../../ports/swarm.ts';

/** Counting costs a query, and a bound of a million need not be met to the one. */
const COUNT_EVERY_MS = 500;
const RETRY_AFTER_SECONDS = 30;

export interface PushbackOptions {
  /** Versions that may wait for their anchor, or for their replica where there is a swarm. */
  outboxMax: number;
  /** Bytes that stay free on the disk of the blocks. */
  diskHeadroom: number;
}

export interface Pushback {
  /** The refusal of what would begin now: while a bound is passed. */
  begin(): DagpacsError | undefined;
  /** Counts bytes that are about to go to the disk. @returns the refusal where they would take of its head room */
  take(bytes: number): DagpacsError | undefined;
}

/** The bounds of the outbox and of the disk. Beyond them nothing is taken, rather than promised and not kept. */
export function createPushback(
  { outboxMax, diskHeadroom }: PushbackOptions,
  { index, swarm, blocks }: { index: Index; swarm: Pick<Swarm, 'status'>; blocks: Pick<BlockStore, 'usage'> },
): Pushback {
  let countedAt = Number.NEGATIVE_INFINITY;
  let waiting = 0;
  /** Bytes of the disk when it was looked at, less what was taken since: several large instances may begin in one look. */
  let free = Number.POSITIVE_INFINITY;
  let withSwarm = false;
  let looking = false;

  /** In the background: whether there is a swarm changes rarely. */
  async function lookAtSwarm(): Promise<void> {
    looking = true;
    try {
      withSwarm = (await swarm.status()).state !== 'off';
    } finally {
      looking = false;
    }
  }

  function look(): void {
    const now = Date.now();
    if (now - countedAt < COUNT_EVERY_MS) return;
    countedAt = now;
    if (!looking) void lookAtSwarm();
    ({ free } = blocks.usage());
    const { unanchored, unreplicated } = index.waiting();
    waiting = withSwarm ? Math.max(unanchored, unreplicated) : unanchored;
  }

  return {
    begin() {
      look();
      if (free < diskHeadroom) return full(diskHeadroom);
      if (waiting < outboxMax) return undefined;
      const rule = `at most ${outboxMax} instances may wait to be anchored`;
      const subject = { rule, retryAfter: RETRY_AFTER_SECONDS };
      return new DagpacsError('pushback', 'too many instances wait for the chain or the swarm', subject);
    },
    // What waits for the chain is no reason to break off what has begun.
    take(bytes) {
      look();
      // Without head room the disk itself says when it is full.
      free = Math.max(0, free - bytes);
      return free < diskHeadroom ? full(diskHeadroom) : undefined;
    },
  };
}

function full(headroom: number): DagpacsError {
  const subject = { rule: `${headroom} bytes of the disk stay free`, retryAfter: RETRY_AFTER_SECONDS };
  return new DagpacsError('pushback', 'the disk is nearly full', subject);
}
