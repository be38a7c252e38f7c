import { rename } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Child, startChild } from '../../kernel/child-process.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { readIfThere, writeDurably } from './durable-file.ts';
import type { LedgerOptions } from './options.ts';

/** One life of the child anvil. */
export interface Anvil {
  url: string;
  pid: number | undefined;
  exited: Promise<unknown>;
  /** The highest block whose state is on disk: what a crash cannot take back. */
  durable(): number;
  /** Says that there may be a new block; its state is written soon. */
  touch(): void;
  /** Writes the state now. */
  save(): Promise<void>;
  /** Writes the state, where it changed, and ends the child. */
  stop(): Promise<void>;
}

type AnvilOptions = Pick<
  LedgerOptions,
  'directory' | 'anvil' | 'callTimeoutMs' | 'statusTimeoutMs' | 'stateIntervalMs'
>;

/** Part of the time that writing the state may take, since each time it writes the whole chain. */
const SAVING_SHARE = 1 / 20;

/** What others end a process with, out of memory included; what it does to itself is another signal. */
const KILLED: ReadonlySet<NodeJS.Signals> = new Set(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP']);
const LAST_MOMENT_MS = 1000;

/**
 * Starts anvil on a free loopback port with the state that was saved last. Anvil itself rewrites its state file in place
 * at an interval, so that a crash may find it cut short and nobody knows which blocks are in it; therefore we fetch the
 * state and replace the file durably. A state that anvil cannot read is kept aside, and a new chain is begun.
 * @throws DagpacsError `chain-unavailable`, `storage-failed`
 */
export async function startAnvil(options: AnvilOptions, log: Log): Promise<Anvil> {
  const path = join(options.directory, 'state.gz');
  const { child, url } = await spawnAnvil(options, log);
  const call = <T>(method: string, params: unknown[]) => callAnvil<T>(url, method, params, options.callTimeoutMs);
  const head = async (timeoutMs = options.callTimeoutMs) =>
    Number(await callAnvil<string>(url, 'eth_blockNumber', [], timeoutMs));
  let durable = 0;
  let changed = false;
  let saving: Promise<void> = Promise.resolve();
  let planned = false;
  let rest = options.stateIntervalMs;
  const stopping = new AbortController();

  const writeState = async () => {
    if (!changed) return;
    changed = false;
    try {
      const begun = performance.now();
      const height = await head();
      // A block that is mined in between is in the state, and counted only by the next save, for which it sets `changed`.
      const state = await call<string>('anvil_dumpState', []);
      await writeDurably(path, Buffer.from(state.slice(2), 'hex'));
      durable = height;
      rest = Math.max(options.stateIntervalMs, (performance.now() - begun) / SAVING_SHARE);
    } catch (error) {
      changed = true;
      throw error;
    }
  };
  const save = () => {
    const next = saving.then(writeState);
    saving = next.catch(() => undefined);
    return next;
  };
  const touch = () => {
    changed = true;
    if (planned || stopping.signal.aborted) return;
    planned = true;
    saveLater();
  };
  const saveLater = async () => {
    try {
      await delay(rest, undefined, { signal: stopping.signal });
      await save();
    } catch (error) {
      if (!stopping.signal.aborted) log.warn('chain-state-not-saved', { reason: (error as Error).message });
    }
    planned = false;
    if (changed) touch();
  };
  const stop = async () => {
    const alive = !stopping.signal.aborted;
    stopping.abort();
    try {
      // One that hangs is not asked for its state: a stop has no time for that.
      if (alive && changed) await head(options.statusTimeoutMs).then(save);
    } catch (error) {
      log.warn('chain-state-not-saved', { reason: (error as Error).message });
    }
    await child.stop();
    await saving;
  };

  child.exited.then(() => stopping.abort());
  try {
    const state = await readIfThere(path);
    if (state && !(await loadState(url, state, options.callTimeoutMs, child))) {
      await child.stop();
      await rename(path, `${path}.damaged-${Date.now()}`);
      log.error('chain-state-damaged', { file: path });
      return startAnvil(options, log);
    }
    durable = state ? await head() : 0;
  } catch (error) {
    await child.stop();
    throw error;
  }
  return { url, pid: child.pid, exited: child.exited, durable: () => durable, touch, save, stop };
}

async function spawnAnvil(options: AnvilOptions, log: Log): Promise<{ child: Child; url: string }> {
  const listening = Promise.withResolvers<string>();
  const child = startChild({
    command: options.anvil ?? anvilBinary(),
    // biome-ignore format: options beside their values
    args: [
      '--host', '127.0.0.1', '--port', '0', '--chain-id', '31337', '--accounts', '0', '--slots-in-an-epoch', '1',
      '--prune-history', '2', '--no-request-size-limit', '--no-cors', '--color', 'never',
    ],
    // Nothing of ours: anvil takes settings from the environment too.
    env: {},
    name: 'anvil',
    // What it has to lose is on our disk by then.
    stopTimeoutMs: options.statusTimeoutMs,
    onLine: (line, stream) => {
      const address = /^Listening on (\S+)/.exec(line)?.[1];
      if (address) listening.resolve(`http://${address}`);
      else if (stream === 'stderr') log.warn('anvil', { line });
    },
  });
  const failed = child.exited.then(({ code, signal }) => {
    throw new DagpacsError('chain-unavailable', `anvil ended at start (${signal ?? code})`);
  });
  const late = AbortSignal.timeout(options.callTimeoutMs);
  late.addEventListener('abort', () =>
    listening.reject(new DagpacsError('chain-unavailable', 'anvil does not listen')),
  );
  // The losers of the race are no failures.
  failed.catch(() => undefined);
  listening.promise.catch(() => undefined);
  try {
    return { child, url: await Promise.race([listening.promise, failed]) };
  } catch (error) {
    await child.stop();
    throw error;
  }
}

/**
 * Gives anvil a saved state; false where it refuses it or breaks the connection over it, which is not being slow, and not
 * being killed by somebody.
 * @throws DagpacsError `chain-unavailable`
 */
async function loadState(url: string, state: Buffer, timeoutMs: number, child: Child): Promise<boolean> {
  try {
    // A second for each megabyte beside the usual: one that hangs is soon replaced by another, and a stop waits no longer.
    await callAnvil(url, 'anvil_loadState', [`0x${state.toString('hex')}`], timeoutMs + Math.ceil(state.length / 1000));
    return true;
  } catch (error) {
    const { cause } = error as Error;
    if (cause instanceof DOMException) throw error;
    // A connection breaks a moment before its process is known to be gone.
    const exit = cause === undefined ? undefined : await Promise.race([child.exited, delay(LAST_MOMENT_MS)]);
    if (exit?.signal && KILLED.has(exit.signal)) throw error;
    return false;
  }
}

/**
 * A plain JSON-RPC call: anvil's own methods need no types, and its start no library. Where no answer came in time, the
 * error's cause is a DOMException.
 * @throws DagpacsError `chain-unavailable`
 */
async function callAnvil<T>(url: string, method: string, params: unknown[], timeoutMs: number): Promise<T> {
  let answer: { result?: T; error?: { message: string } };
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    answer = (await response.json()) as typeof answer;
  } catch (cause) {
    throw new DagpacsError('chain-unavailable', `anvil: ${method}: no answer`, {}, { cause });
  }
  if (answer.error) throw new DagpacsError('chain-unavailable', `anvil: ${method}: ${answer.error.message}`);
  return answer.result as T;
}

/** The anvil binary that npm brought for this machine. */
function anvilBinary(): string {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const name = `@foundry-rs/anvil-${process.platform}-${arch}`;
  try {
    const from = createRequire(import.meta.url).resolve(`${name}/package.json`);
    return join(dirname(from), 'bin', process.platform === 'win32' ? 'anvil.exe' : 'anvil');
  } catch (cause) {
    throw new DagpacsError('bad-setting', `npm has not installed ${name}: set the URL of a chain`, {}, { cause });
  }
}
