import { setTimeout as sleep } from 'node:timers/promises';
import type { Cid } from '../../ipld/cid.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { type Loop, startLoop } from '../../kernel/loop.ts';
import type { NodeStatus, Swarm, SwarmStatus } from '../../ports/swarm.ts';
import { apiUrl, kuboAddress } from './api-address.ts';
import { findBinary } from './find-binary.ts';
import { startKubo } from './kubo-child.ts';
import { KuboNode, type NodeOptions } from './node.ts';
import { SWARM_TUNING, type SwarmOptions, type SwarmTuning } from './options.ts';

/** A block of half a megabyte comes within milliseconds: a node that has not answered by then may not at all. */
const HEDGE_MS = 500;

/**
 * Opens IPFS proper: the Kubos at `options.apis`, or a private one as a child, or none. Returns at once; connecting, watching
 * and trying again go on in the background, and {@link Swarm.status} tells how it stands.
 * @throws DagpacsError `bad-setting` for an API address that is none, or given twice
 */
export function openSwarm(options: SwarmOptions): Swarm {
  const tuning: SwarmTuning = { ...SWARM_TUNING, ...options.tuning };
  const nodes: KuboNode[] = [];
  const onConnected = (node: string) => {
    const other = nodes.find((each) => each.status().node === node);
    return other && `it is the same node as that at ${other.name}`;
  };
  const shared = { tuning, log: options.log, onConnected };
  for (const place of placesOf(options, tuning)) nodes.push(new KuboNode({ ...shared, ...place }));
  const peering = nodes.length > 1 ? keepConnected(nodes, tuning, options.log) : undefined;
  /** The one that gave the last block. */
  let best = 0;

  return {
    nodes,
    status: async () => statusOf(nodes.map((node) => node.status())),

    async get(cid) {
      const connected = nodes
        .map((node, place) => ({ node, place }))
        .filter(({ node }) => node.status().state === 'connected')
        .sort((a, b) => Number(b.place === best) - Number(a.place === best));
      if (connected.length === 0) throw new DagpacsError('swarm-unavailable', 'no IPFS node is connected');
      // First what lies there; only then are peers asked, which can take its time.
      for (const peers of [false, true]) {
        const found = await firstOf(connected, HEDGE_MS, ({ node }) => tryGet(node, cid, peers));
        if (!found) continue;
        best = found.from.place;
        return found.result;
      }
      return undefined;
    },

    async close() {
      await peering?.stop();
      await Promise.all(nodes.map((node) => node.close()));
    },
  };
}

/**
 * Asks one after the other, and the next one also where there is no answer after `patienceMs`, so that one that hangs or is
 * slow holds up nobody. The first result counts; what else is under way ends by its own time-out.
 */
async function firstOf<A, T>(
  all: readonly A[],
  patienceMs: number,
  ask: (one: A) => Promise<T | undefined>,
): Promise<{ from: A; result: T } | undefined> {
  const hit = Promise.withResolvers<{ from: A; result: T }>();
  const asked: Promise<void>[] = [];
  for (const from of all) {
    const asking = ask(from).then((result) => {
      if (result !== undefined) hit.resolve({ from, result });
    });
    asked.push(asking);
    asking.catch(hit.reject);
    const patience = new AbortController();
    const pause = sleep(patienceMs, undefined, { signal: patience.signal }).catch(() => undefined);
    await Promise.race([asking, pause, hit.promise]);
    patience.abort();
    if ((await Promise.race([hit.promise, undefined])) !== undefined) break;
  }
  return Promise.race([hit.promise, Promise.all(asked).then(() => undefined)]);
}

/** The node keeps the failure as its problem; another node may have the block. */
async function tryGet(node: KuboNode, cid: Cid, peers: boolean): Promise<Uint8Array | undefined> {
  try {
    return await node.get(cid, peers);
  } catch (error) {
    if (!isDagpacsError(error, 'swarm-unavailable')) throw error;
    return undefined;
  }
}

function placesOf(options: SwarmOptions, tuning: SwarmTuning): Pick<NodeOptions, 'name' | 'find'>[] {
  const { apis = [], authorization, bin, dataDir } = options;
  if (apis.length > 0) {
    const addresses = apis.map((api) => kuboAddress(apiUrl(api), authorization));
    const names = addresses.map(({ url }) => url.href.replace(/\/api\/v0$/, ''));
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) {
      const subject = { attribute: 'DAGPACS_KUBO_API', rule: 'each node once' };
      throw new DagpacsError('bad-setting', `DAGPACS_KUBO_API names ${twice} twice`, subject);
    }
    return addresses.map((address, i) => ({
      name: names[i] as string,
      find: async () => ({ ...address, stop: async () => undefined }),
    }));
  }
  const find: NodeOptions['find'] = async (signal) => {
    if (bin === 'none') return 'none is configured';
    const binary = await findBinary(bin);
    if ('reason' in binary) return binary.reason;
    const { url, ...child } = await startKubo(binary, dataDir, tuning, signal);
    return { url, headers: {}, ...child };
  };
  return [{ name: 'child', find }];
}

/** Has our nodes know each other: a private swarm has no routing by which they could find what one of them lacks. */
function keepConnected(nodes: readonly KuboNode[], tuning: SwarmTuning, log: Log): Loop {
  return startLoop({
    async round() {
      for (const [i, a] of nodes.entries()) {
        for (const b of nodes.slice(i + 1)) {
          const [mine, theirs] = [a.status().node, b.status().node];
          if (mine === undefined || theirs === undefined || a.reaches(theirs)) continue;
          // Where they cannot reach each other, each is sent the blocks by us: no failure.
          await a
            .connect(b)
            .catch(() => b.connect(a))
            .catch(() => undefined);
        }
      }
      return false;
    },
    idleMs: tuning.probeIntervalMs,
    onFailure: (error) => log.warn('nodes-not-connected', { reason: (error as Error).message }),
  });
}

const RANK: NodeStatus['state'][] = ['connected', 'unreachable', 'starting', 'off'];

function statusOf(nodes: NodeStatus[]): SwarmStatus {
  const [first] = nodes.toSorted((a, b) => RANK.indexOf(a.state) - RANK.indexOf(b.state));
  const { state, node, peers, reason } = first as NodeStatus;
  return { state, ...(node !== undefined && { node }), peers, ...(reason !== undefined && { reason }), nodes };
}
