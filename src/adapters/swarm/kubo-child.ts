import { resolve } from 'node:path';
import { startChild } from '../../kernel/child-process.ts';
import { apiUrl } from './api-address.ts';
import type { Binary } from './find-binary.ts';
import { kuboEnvironment, prepareRepo } from './kubo-repo.ts';
import type { SwarmTuning } from './options.ts';
import { firstLine, unavailable } from './unavailable.ts';

const API_LINE = /^RPC API server listening on (\/\S+)/;
const READY_LINE = /^Daemon is ready/;
const ERROR_LINE = /^Error: (.+)/;

/** A private Kubo that runs. */
export interface KuboChild {
  /** Base of its RPC API. */
  url: URL;
  /** Resolves, with the reason in words, when it has ended. */
  ended: Promise<string>;
  stop(): Promise<void>;
}

/**
 * Starts a private Kubo on loopback, its repository in `<dataDir>/kubo`; resolves when it answers.
 * @throws DagpacsError `swarm-unavailable`
 */
export async function startKubo(
  binary: Binary,
  dataDir: string,
  limits: Pick<SwarmTuning, 'startTimeoutMs' | 'stopTimeoutMs'>,
  signal: AbortSignal,
): Promise<KuboChild> {
  const repo = resolve(dataDir, 'kubo');
  try {
    await prepareRepo(binary.path, repo);
  } catch (error) {
    throw unavailable('the repository of the private Kubo cannot be made ready', error);
  }
  signal.throwIfAborted();

  let api: string | undefined;
  let complaint: string | undefined;
  const ready = Promise.withResolvers<void>();
  const child = startChild({
    name: 'kubo',
    command: binary.path,
    args: ['daemon', '--migrate=true'],
    env: kuboEnvironment(repo),
    stopTimeoutMs: limits.stopTimeoutMs,
    onLine(line) {
      api ??= API_LINE.exec(line)?.[1];
      complaint = ERROR_LINE.exec(line)?.[1] ?? complaint;
      if (READY_LINE.test(line)) ready.resolve();
    },
  });
  const ended = child.exited.then(({ code, signal: by }) => {
    const how = by === null ? `status ${code}` : `signal ${by}`;
    return `Kubo ended with ${how}${complaint === undefined ? '' : `: ${firstLine(complaint)}`}`;
  });
  try {
    await readiness(ready.promise, ended, AbortSignal.any([signal, AbortSignal.timeout(limits.startTimeoutMs)]));
    if (api === undefined) throw new Error('it names no RPC address');
    return { url: apiUrl(api), ended, stop: () => child.stop() };
  } catch (error) {
    await child.stop();
    throw unavailable('the private Kubo did not start', error);
  }
}

async function readiness(ready: Promise<void>, ended: Promise<string>, signal: AbortSignal): Promise<void> {
  const cut = Promise.withResolvers<never>();
  const onAbort = () => cut.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const end = ended.then((reason) => {
      throw new Error(reason);
    });
    await Promise.race([ready, end, cut.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
