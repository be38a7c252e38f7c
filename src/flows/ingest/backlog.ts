import { DagpacsError } from '../../kernel/errors.ts';
import type { Index } from '../../ports/index.ts';
import type { Swarm } from '../../ports/swarm.ts';

/** Counting costs a query, and a bound of a million need not be met to the one. */
const COUNT_EVERY_MS = 500;
const RETRY_AFTER_SECONDS = 30;

/**
 * The bound of the outbox: versions that wait for their anchor, or for their replica where there is a swarm. Beyond it
 * nothing is taken, rather than promised and not kept.
 * @returns a function that gives the refusal while the bound is passed
 */
export function createPushback(
  max: number,
  { index, swarm }: { index: Index; swarm: Swarm },
): () => DagpacsError | undefined {
  let countedAt = Number.NEGATIVE_INFINITY;
  let waiting = 0;
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

  return () => {
    const now = Date.now();
    if (now - countedAt >= COUNT_EVERY_MS) {
      countedAt = now;
      if (!looking) void lookAtSwarm();
      const { unanchored, unreplicated } = index.waiting();
      waiting = withSwarm ? Math.max(unanchored, unreplicated) : unanchored;
    }
    if (waiting < max) return undefined;
    const subject = { rule: `at most ${max} instances may wait to be anchored`, retryAfter: RETRY_AFTER_SECONDS };
    return new DagpacsError('pushback', 'too many instances wait for the chain or the swarm', subject);
  };
}
