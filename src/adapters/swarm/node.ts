import { setTimeout as sleep } from 'node:timers/promises';
import type { Cid } from '../../ipld/cid.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { NodeStatus, Outgoing, SwarmNode } from '../../ports/swarm.ts';
import type { KuboAddress } from './api-address.ts';
import { connectKubo, type KuboApi } from './kubo-api.ts';
import type { SwarmTuning } from './options.ts';
import { inWords } from './unavailable.ts';

/** Where a Kubo answers, and, for a child, how to know that it has ended. */
export interface Place extends KuboAddress {
  ended?: Promise<string>;
  stop(): Promise<void>;
}

export interface NodeOptions {
  name: string;
  /** Comes by the node; a text says why there is none, and then none is looked for again. */
  find(signal: AbortSignal): Promise<Place | string>;
  tuning: SwarmTuning;
  log: Log;
  /** Told when a node has answered. @returns why it is not taken */
  onConnected(node: string): string | undefined;
}

/** One connection. */
interface Session {
  api: KuboApi;
  peers: ReadonlySet<string>;
  since: string;
  /** Aborted when the connection is lost or closed. */
  signal: AbortSignal;
}

/**
 * A Kubo that is connected to, watched, and connected to again, in the background and until it is closed; its state is
 * always at hand.
 */
export class KuboNode implements SwarmNode {
  readonly name: string;
  readonly #options: NodeOptions;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #state: Pick<NodeStatus, 'state' | 'reason'> = { state: 'starting', reason: 'not connected yet' };
  #session: Session | undefined;
  #problem: string | undefined;
  /** Ends the pause between two looks at the node. */
  #doubt: () => void = () => undefined;

  constructor(options: NodeOptions) {
    this.name = options.name;
    this.#options = options;
    this.#running = this.#run();
  }

  status(): NodeStatus {
    const problem = this.#problem === undefined ? {} : { problem: this.#problem };
    if (!this.#session) return { name: this.name, ...this.#state, peers: 0, ...problem };
    const { api, peers, since } = this.#session;
    return { name: this.name, state: 'connected', node: api.node, since, peers: peers.size, ...problem };
  }

  reaches(node: string): boolean {
    return this.#session?.peers.has(node) ?? false;
  }

  put(blocks: AsyncIterable<Outgoing>): Promise<void> {
    return this.#with((api, signal) => api.put(blocks, signal));
  }

  has(cid: Cid): Promise<boolean> {
    return this.#with((api, signal) => api.has(cid, signal));
  }

  check(cid: Cid): Promise<'whole' | 'missing' | 'damaged'> {
    return this.#with((api, signal) => api.check(cid, signal));
  }

  drop(cid: Cid): Promise<void> {
    return this.#with((api, signal) => api.drop(cid, signal));
  }

  get(cid: Cid, peers: boolean): Promise<Uint8Array | undefined> {
    return this.#with((api, signal) => api.get(cid, peers, signal));
  }

  pin(root: Cid, direct?: 'direct'): Promise<void> {
    return this.#with((api, signal) => api.pin(root, direct === undefined, signal));
  }

  unpin(root: Cid): Promise<void> {
    return this.#with((api, signal) => api.unpin(root, signal));
  }

  isPinned(root: Cid): Promise<boolean> {
    return this.#with((api, signal) => api.isPinned(root, signal));
  }

  async *pins(): AsyncIterable<Cid> {
    const { api, signal } = this.#connected();
    yield* api.pins(signal);
  }

  collectGarbage(): Promise<void> {
    return this.#with((api, signal) => api.collectGarbage(signal));
  }

  /** Has it connect to another node; both know of it when this resolves. */
  async connect(other: KuboNode): Promise<void> {
    const [session, theirs] = [this.#connected(), other.#connected()];
    await session.api.connect(theirs.api.addresses, session.signal);
    await Promise.all([this.#look(session), other.#look(theirs)]);
  }

  async close(): Promise<void> {
    this.#closing.abort(new DagpacsError('swarm-unavailable', 'the bridge is stopping'));
    await this.#running;
  }

  #connected(): Session {
    if (this.#session) return this.#session;
    const why = this.#state.reason ?? this.#state.state;
    throw new DagpacsError('swarm-unavailable', `IPFS is not connected: ${why}`);
  }

  async #with<T>(act: (api: KuboApi, signal: AbortSignal) => Promise<T>): Promise<T> {
    const { api, signal } = this.#connected();
    try {
      const result = await act(api, signal);
      this.#problem = undefined;
      return result;
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#problem = inWords(error);
      this.#doubt();
      throw error;
    }
  }

  /** Connects, stays as long as the node does, and tries again, until {@link close}. */
  async #run(): Promise<void> {
    const { log, tuning, name } = this.#options;
    const { signal } = this.#closing;
    for (let attempt = 0; !signal.aborted; attempt++) {
      const ended = await this.#connect(() => {
        attempt = 0;
      });
      if (signal.aborted) break;
      const { reason } = ended;
      if (ended.off) {
        this.#state = { state: 'off', reason };
        return;
      }
      if (reason !== this.#state.reason) log.warn('swarm-unreachable', { name, reason });
      this.#state = { state: 'unreachable', reason };
      const pause = Math.min(tuning.minBackoffMs * 2 ** Math.min(attempt, 20), tuning.maxBackoffMs);
      await this.#pause(pause);
    }
    this.#state = { state: 'off', reason: 'the bridge is stopping' };
  }

  /** One connection from its start to its loss; says why it was lost or could not be had. Never throws. */
  async #connect(onConnected: () => void): Promise<{ reason: string; off?: true }> {
    const { tuning, log, name } = this.#options;
    let place: Place | undefined;
    try {
      const found = await this.#options.find(this.#closing.signal);
      if (typeof found === 'string') return { reason: found, off: true };
      place = found;
      const api = await connectKubo(place, tuning, this.#closing.signal);
      const lost = new AbortController();
      try {
        const peers = await api.probe(this.#closing.signal);
        const refused = this.#options.onConnected(api.node);
        if (refused !== undefined) return { reason: refused };
        const signal = AbortSignal.any([this.#closing.signal, lost.signal]);
        this.#session = { api, peers, since: new Date().toISOString(), signal };
        onConnected();
        log.info('swarm-connected', { name, version: api.version, child: place.ended !== undefined });
        return { reason: await this.#watch(this.#session, place) };
      } finally {
        this.#session = undefined;
        lost.abort(new DagpacsError('swarm-unavailable', 'the connection to Kubo was lost'));
        api.close();
      }
    } catch (error) {
      return { reason: inWords(error) };
    } finally {
      await place?.stop();
    }
  }

  /** Resolves, with the reason, when the node has ended or has twice not answered. */
  async #watch(session: Session, place: Place): Promise<string> {
    const { signal } = this.#closing;
    let end: string | undefined;
    place.ended?.then((reason) => {
      end = reason;
      this.#doubt();
    });
    for (let failures = 0; ; ) {
      if (failures === 0) await this.#pause(this.#options.tuning.probeIntervalMs);
      const failure = end ?? (await failureOf(this.#look(session)));
      if (end !== undefined) return end;
      if (signal.aborted) return 'the bridge is stopping';
      if (failure !== undefined && failures > 0) return failure;
      failures = failure === undefined ? 0 : failures + 1;
    }
  }

  async #look(session: Session): Promise<void> {
    session.peers = await session.api.probe(this.#closing.signal);
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
