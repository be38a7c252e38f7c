import { setTimeout as delay } from 'node:timers/promises';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Hex, Ledger, LedgerStatus } from '../../ports/ledger.ts';
import { type Anvil, startAnvil } from './anvil.ts';
import type { Chain } from './chain.ts';
import type { LedgerOptions } from './options.ts';

/** A connection that lived this long was good: the next attempt need not wait longer than the first. */
const GOOD_LIFE_MS = 60_000;

/**
 * The EVM chain behind its port. Returns at once; connecting, starting anvil and deploying the contract go on in the
 * background, again and again with growing pauses, and until they succeed the methods reject with `chain-unavailable`.
 */
export function openLedger(options: LedgerOptions, log: Log): Ledger & { readonly childPid: number | undefined } {
  const closing = new AbortController();
  let chain: Chain | undefined;
  let anvil: Anvil | undefined;
  let absent: LedgerStatus = { state: 'starting' };

  /** Connects, and resolves when the connection is lost or we close. */
  const connect = async () => {
    const here = new AbortController();
    try {
      if (!options.rpc) anvil = await startAnvil(options, log);
      // Loaded here, so that opening stays cheap: viem takes 0.15 s.
      const { Chain } = await import('./chain.ts');
      chain = await Chain.connect(options.rpc ?? (anvil as Anvil).url, anvil, options, log, closing.signal);
      log.info('chain-connected', { chainId: chain.chainId, contract: chain.contract });
      const ended = anvil?.exited ?? new Promise(() => undefined);
      const patience = anvil ? options.hungAfterMs : Number.POSITIVE_INFINITY;
      await Promise.race([
        aborted(closing.signal),
        ended,
        watch(chain, options.identityCheckMs, patience, here.signal),
      ]);
      if (!closing.signal.aborted) throw new DagpacsError('chain-unavailable', 'anvil has ended');
    } finally {
      here.abort();
      chain = undefined;
      await anvil?.stop();
      anvil = undefined;
    }
  };

  const run = async () => {
    for (let pause = options.retryMinMs; !closing.signal.aborted; pause = Math.min(2 * pause, options.retryMaxMs)) {
      const begun = Date.now();
      try {
        await connect();
      } catch (error) {
        if (closing.signal.aborted) break;
        const reason = error instanceof Error ? error.message : String(error);
        absent = { state: isDagpacsError(error, 'chain-mismatch') ? 'mismatch' : 'unreachable', reason };
        log.warn('chain-not-connected', { state: absent.state, reason });
      }
      if (Date.now() - begun > GOOD_LIFE_MS) pause = options.retryMinMs;
      await delay(pause, undefined, { signal: closing.signal }).catch(() => undefined);
    }
  };
  const running = run();

  const up = (): Chain => {
    if (chain) return chain;
    const code = absent.state === 'mismatch' ? 'chain-mismatch' : 'chain-unavailable';
    throw new DagpacsError(code, `the chain is not connected: ${absent.reason ?? absent.state}`);
  };
  return {
    get childPid() {
      return anvil?.pid;
    },
    status: async () => (chain ? chain.status() : absent),
    next: async () => up().next(),
    find: async (batch: Hex) => up().find(batch),
    async *anchors() {
      yield* up().anchors();
    },
    nextNonce: async () => up().nextNonce(),
    sign: async (...args) => up().sign(...args),
    broadcast: async (transaction) => up().broadcast(transaction),
    hashAt: async (block) => up().hashAt(block),
    finalized: async () => up().finalized(),
    async close() {
      absent = { state: 'unreachable', reason: 'closed' };
      closing.abort();
      await running;
    },
  };
}

/**
 * Rejects when the node turns out to be on another chain, and when it has not answered for `patience` milliseconds: a child
 * that hangs is replaced. That an outside node cannot be asked says nothing.
 */
async function watch(chain: Chain, pause: number, patience: number, signal: AbortSignal): Promise<void> {
  let answered = performance.now();
  while (!signal.aborted) {
    await delay(pause, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    try {
      await chain.identify();
      answered = performance.now();
    } catch (error) {
      if (isDagpacsError(error, 'chain-mismatch')) throw error;
      if (performance.now() - answered > patience) throw new DagpacsError('chain-unavailable', 'anvil hangs');
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
