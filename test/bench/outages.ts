import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { custodyStatus } from '../fixtures/custody.ts';
import { storescu } from '../fixtures/dcmtk.ts';
import { type KuboNode, startKuboNode } from '../fixtures/kubo.ts';
import { growSmallDisk, mountSmallDisk, skipSmallDisk, unmount } from '../fixtures/small-disk.ts';
import { type SwarmView, untilSwarm } from '../fixtures/swarm-status.ts';
import { startTcpProxy, type TcpProxy } from '../fixtures/tcp-proxy.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import type { BenchOptions } from './arguments.ts';
import { makeBenchSeries, type Series } from './data.ts';
import { peakMemory } from './memory.ts';
import { formatTable, median } from './table.ts';

/** A call of a slow node takes this long. */
const SLOW_MS = 10_000;
const PATIENCE_MS = 900_000;
/** What a Kubo needs on its disk beside blocks. */
const REPO_BYTES = 8 << 20;
/** Part of the load that has been taken when the outage begins. */
const BEGINS_AT = 0.3;

interface Place {
  kubo: KuboNode;
  proxy: TcpProxy;
  folder: string;
}

/** How the node fails in the middle of a load, and what ends that. */
interface Outage {
  name: string;
  begin?(place: Place): Promise<void> | void;
  end?(place: Place): Promise<void> | void;
  /** The node's disk has room for half of the load. */
  small?: true;
}

async function startAnew(place: Place): Promise<void> {
  place.kubo = await startKuboNode({ folder: place.folder });
  place.proxy.target = new URL(place.kubo.url);
}

const OUTAGES: Outage[] = [
  { name: 'none' },
  {
    name: 'stopped',
    begin: async ({ kubo }) => kubo.stop(),
    end: startAnew,
  },
  { name: 'hung', begin: ({ proxy }) => proxy.set('hang'), end: ({ proxy }) => proxy.set('pass') },
  { name: '10 s a call', begin: ({ proxy }) => proxy.set('slow'), end: ({ proxy }) => proxy.set('pass') },
  { name: 'disk full', small: true, end: ({ folder }) => growSmallDisk(folder, 4 * 1024 ** 3) },
  {
    name: 'empty repository',
    async begin(place) {
      await place.kubo.stop();
      await rm(place.kubo.repo, { recursive: true });
      await startAnew(place);
    },
  },
];

interface Status {
  counts: { versions: number };
  swarm: SwarmView;
}

interface Run {
  /** Milliseconds that the senders took. */
  pushed: number;
  /** From the end of the outage, until all was replicated. */
  drained: number;
  /** Instances that waited at most. */
  waiting: number;
  /** What the status said of the node meanwhile. */
  said: string;
  memory: number;
}

async function measure(outage: Outage, { files, size }: Series): Promise<Run> {
  const folder = await makeTempFolder();
  const place = { folder: join(folder, 'node') } as Place;
  await mkdir(place.folder);
  if (outage.small) mountSmallDisk(place.folder, size / 2 + REPO_BYTES);
  let bridge: Bridge | undefined;
  try {
    place.kubo = await startKuboNode({ folder: place.folder });
    place.proxy = await startTcpProxy(place.kubo.url, SLOW_MS);
    bridge = await startBridge({
      dataDir: join(folder, 'bridge'),
      env: { DAGPACS_KUBO_API: place.proxy.url, DAGPACS_DRAIN_MS: '500' },
    });
    await untilSwarm(bridge, ({ state }) => state === 'connected');
    const run = { waiting: 0, said: '' };
    let ended = false;
    let began: Promise<void> | undefined;
    const watched = (async () => {
      while (!ended) {
        const { counts, swarm } = (await custodyStatus((bridge as Bridge).url)) as Status;
        run.waiting = Math.max(run.waiting, swarm.waiting);
        const [node] = swarm.nodes;
        run.said = (node?.problem ?? node?.reason ?? run.said).slice(0, 60);
        if (counts.versions >= files.length * BEGINS_AT) began ??= Promise.resolve(outage.begin?.(place));
        await sleep(100);
      }
    })();
    const started = performance.now();
    const { code, output } = await storescu(bridge.dimse, files);
    const pushed = performance.now() - started;
    if (code !== 0) throw new Error(`storescu: ${output.slice(-500)}`);
    if (outage.end) await sleep(SLOW_MS);
    await began;
    const over = performance.now();
    await outage.end?.(place);
    await untilSwarm(bridge, ({ waiting }) => waiting === 0, PATIENCE_MS);
    ended = true;
    await watched;
    return { ...run, pushed, drained: performance.now() - over, memory: peakMemory(bridge.pid) };
  } finally {
    await bridge?.stop();
    await place.proxy?.stop();
    await place.kubo?.stop();
    if (outage.small) unmount(place.folder);
    await removeFolder(folder);
  }
}

/** What an outage of IPFS in the middle of a load costs the load, and what comes after. @returns a table */
export async function measureOutages({ slices, repeat }: BenchOptions): Promise<string> {
  const folder = await makeTempFolder();
  const runs = new Map<Outage, Run[]>();
  try {
    const series = await makeBenchSeries(join(folder, 'series'), 'outages', slices);
    for (let turn = 0; turn < repeat; turn++) {
      for (const outage of OUTAGES.filter(({ small }) => !small || !skipSmallDisk)) {
        const run = await measure(outage, series);
        console.error(outage.name, run);
        runs.set(outage, [...(runs.get(outage) ?? []), run]);
      }
    }
  } finally {
    await removeFolder(folder);
  }
  const usual = median([...runs.values()][0]?.map(({ pushed }) => pushed) ?? []);
  const lines = [['', 'C-STORE ms', '× usual', 'waited', 'replicated after s', 'peak MiB', 'the status said']];
  for (const [{ name }, all] of runs) {
    const of = (what: 'pushed' | 'drained' | 'waiting' | 'memory') => median(all.map((run) => run[what]));
    lines.push([
      name,
      of('pushed').toFixed(0),
      (usual / of('pushed')).toFixed(2),
      of('waiting').toFixed(0),
      (of('drained') / 1000).toFixed(1),
      Math.max(...all.map(({ memory }) => memory)).toFixed(0),
      all.at(-1)?.said ?? '',
    ]);
  }
  return formatTable(lines);
}
