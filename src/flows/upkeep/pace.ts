import { sleep } from '../../kernel/loop.ts';

/** What a small read costs beside its bytes. */
const PER_STEP_BYTES = 4096;
/** Milliseconds that are slept at once, so that an end is heard; shorter rests are gathered. */
const LONGEST_MS = 500;
const SHORTEST_MS = 20;

/** Holds work to a number of bytes a second. */
export class Pace {
  /** Bytes a second; 0: no bound. */
  rate: number;
  #due = 0;

  constructor(rate: number) {
    this.rate = rate;
  }

  /** Waits until `bytes` more may be worked on, or until `stopped` says so. */
  async spend(bytes: number, stopped: () => boolean): Promise<void> {
    const now = performance.now();
    const cost = this.rate === 0 ? 0 : ((bytes + PER_STEP_BYTES) * 1000) / this.rate;
    this.#due = Math.max(this.#due, now) + cost;
    if (this.#due - now < SHORTEST_MS) return;
    while (!stopped() && this.rate !== 0) {
      const left = this.#due - performance.now();
      if (left <= 0) return;
      await sleep(Math.min(left, LONGEST_MS));
    }
    this.#due = 0;
  }
}
