import { setTimeout as sleep } from 'node:timers/promises';
import type { Cid } from '../../ipld/cid.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Block } from '../../ports/blocks.ts';
import type { Swarm, SwarmStatus } from '../../ports/swarm.ts';
import { apiUrl } from './api-address.ts';
import { type Binary, findBinary } from './find-binary.ts';
import { connectKubo, type KuboApi } from './kubo-api.ts';
import { startKubo } from './kubo-child.ts';
import { SWARM_TUNING, type SwarmOptions, type SwarmTuning } from './options.ts';
import { inWords } from './unavailable.ts';

/**
 * Opens IPFS proper: the Kubo at `options.api`, or a private one as a child, or none. Returns at once; connecting,
 * watching and trying again go on in the background, and {@link Swarm.status} tells how it stands.
 * @throws DagpacsError `bad-setting` for an API address that is none
 */
export function openSwarm(options: SwarmOptions): Swarm {
  return new KuboSwarm(options);
}

/** Where a Kubo answers, and, for a child, how to know that it has ended. */
interface Peer {
  url: URL;
  ended?: Promise<string>;
  stop(): Promise<void>;
}

class KuboSwarm implements Swarm {
  readonly #options: SwarmOptions;
  readonly #tuning: SwarmTuning;
  readonly #url: URL | undefined;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #state: Pick<SwarmStatus, 'state' | 'reason'> = { state: 'starting', reason: 'not connected yet' };
  #api: KuboApi | undefined;
  /** Ends the pause between two looks at the node. */
  #doubt: () => void = () => undefined;

  constructor(options: SwarmOptions) {
    this.#options = options;
    this.#tuning = { ...SWARM_TUNING, ...options.tuning };
    this.#url = options.api === undefined ? undefined : apiUrl(options.api);
    this.#running = this.#run();
  }

  async status(): Promise<SwarmStatus> {
    const api = this.#api;
    if (api === undefined) return { ...this.#state, peers: 0 };
    try {
      return { state: 'connected', node: api.node, peers: await api.peers(this.#closing.signal) };
    } catch (error) {
      this.#doubt();
      return { state: 'unreachable', peers: 0, reason: inWords(error) };
    }
  }

  async put(blocks: AsyncIterable<Block>): Promise<void> {
    await this.#with((api) => api.put(blocks, this.#closing.signal));
  }

  async pin(root: Cid): Promise<void> {
    await this.#with((api) => api.pin(root, this.#closing.signal));
  }

  async close(): Promise<void> {
    this.#closing.abort(new DagpacsError('swarm-unavailable', 'the bridge is stopping'));
    await this.#running;
  }

  async #with(act: (api: KuboApi) => Promise<void>): Promise<void> {
    const api = this.#api;
    if (api === undefined) {
      throw new DagpacsError('swarm-unavailable', `IPFS is not connected: ${this.#state.reason ?? this.#state.state}`);
    }
    try {
      await act(api);
    } catch (error) {
      this.#doubt();
      throw error;
    }
  }

  /** Connects, stays as long as the node does, and tries again, until {@link close}. */
  async #run(): Promise<void> {
    const { log } = this.#options;
    const { signal } = this.#closing;
    const find = await this.#source();
    if (typeof find === 'string') {
      this.#state = { state: 'off', reason: find };
      return;
    }
    for (let attempt = 0; !signal.aborted; attempt++) {
      const reason = await this.#session(find, () => {
        attempt = 0;
      });
      if (signal.aborted) break;
      if (reason !== this.#state.reason) log.warn('swarm-unreachable', { reason });
      this.#state = { state: 'unreachable', reason };
      const pause = Math.min(this.#tuning.minBackoffMs * 2 ** Math.min(attempt, 20), this.#tuning.maxBackoffMs);
      await this.#pause(pause);
    }
    this.#state = { state: 'off', reason: 'the bridge is stopping' };
  }

  /** How to come by a node, or why there is none. */
  async #source(): Promise<(() => Promise<Peer>) | string> {
    const { bin, dataDir } = this.#options;
    const url = this.#url;
    if (url !== undefined) return async () => ({ url, stop: async () => undefined });
    if (bin === 'none') return 'none is configured';
    const binary: Binary | { reason: string } = await findBinary(bin);
    if ('reason' in binary) return binary.reason;
    return () => startKubo(binary, dataDir, this.#tuning, this.#closing.signal);
  }

  /** One connection from its start to its loss; returns why it was lost or could not be had. Never throws. */
  async #session(find: () => Promise<Peer>, onConnected: () => void): Promise<string> {
    let peer: Peer | undefined;
    try {
      peer = await find();
      const api = await connectKubo(peer.url, this.#tuning, this.#closing.signal);
      this.#api = api;
      onConnected();
      this.#options.log.info('swarm-connected', { version: api.version, child: peer.ended !== undefined });
      try {
        return await this.#watch(api, peer);
      } finally {
        this.#api = undefined;
        api.close();
      }
    } catch (error) {
      return inWords(error);
    } finally {
      await peer?.stop();
    }
  }

  /** Resolves, with the reason, when the node has ended or has twice not answered. */
  async #watch(api: KuboApi, peer: Peer): Promise<string> {
    const { signal } = this.#closing;
    let end: string | undefined;
    peer.ended?.then((reason) => {
      end = reason;
      this.#doubt();
    });
    for (let failures = 0; ; ) {
      if (failures === 0) await this.#pause(this.#tuning.probeIntervalMs);
      const failure = end ?? (await failureOf(api.probe(signal)));
      if (end !== undefined) return end;
      if (signal.aborted) return 'the bridge is stopping';
      if (failure !== undefined && failures > 0) return failure;
      failures = failure === undefined ? 0 : failures + 1;
    }
  }

  /** Waits, but not past {@link close} or a doubt, and without keeping the process alive. */
  async #pause(milliseconds: number): Promise<undefined> {
    const woken = new AbortController();
    this.#doubt = () => woken.abort();
    try {
      await sleep(milliseconds, undefined, {
        ref: false,
        signal: AbortSignal.any([this.#closing.signal, woken.signal]),
      });
    } catch (error) {
      if (!(error instanceof Error && error.name === 'AbortError')) throw error;
    }
  }
}

async function failureOf(probe: Promise<void>): Promise<string | undefined> {
  try {
    await probe;
    return undefined;
  } catch (error) {
    return inWords(error);
  }
}
