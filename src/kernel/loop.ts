/** Work that goes on in the background until it is stopped. */
export interface Loop {
  /** Asks for a round now, without waiting for its time. */
  wake(): void;
  /** Lets the round that runs end, and starts no other. */
  stop(): Promise<void>;
}

export interface LoopOptions {
  /** One round. @returns true where there is more to do at once */
  round(): Promise<boolean>;
  /** Milliseconds between rounds while there is nothing to do. */
  idleMs: number;
  /** Told of every failure; the next try waits longer each time, up to `maxBackoffMs`. */
  onFailure(error: unknown, retryInMs: number): void;
  maxBackoffMs?: number;
}

const FIRST_BACKOFF_MS = 250;

/** Starts a loop of rounds; a failed one is tried again with exponential back-off and never ends the loop. */
export function startLoop({ round, idleMs, onFailure, maxBackoffMs = 30_000 }: LoopOptions): Loop {
  let stopped = false;
  let woken = false;
  let rouse: (() => void) | undefined;

  function rest(ms: number, wakeable: boolean): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        rouse = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      rouse = () => (wakeable || stopped ? done() : undefined);
    });
  }

  async function run(): Promise<void> {
    let backoff = FIRST_BACKOFF_MS;
    while (!stopped) {
      woken = false;
      let more = false;
      try {
        more = await round();
        backoff = FIRST_BACKOFF_MS;
      } catch (error) {
        onFailure(error, backoff);
        if (!stopped) await rest(backoff, false);
        backoff = Math.min(backoff * 2, maxBackoffMs);
        continue;
      }
      if (!more && !woken && !stopped) await rest(idleMs, true);
    }
  }

  const running = run();
  return {
    wake() {
      woken = true;
      rouse?.();
    },
    async stop() {
      stopped = true;
      rouse?.();
      await running;
    },
  };
}

/** Resolves after `ms` milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
