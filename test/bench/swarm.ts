import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { storescu } from '../fixtures/dcmtk.ts';
import { type KuboNode, startKuboNode } from '../fixtures/kubo.ts';
import { packBlocks } from '../fixtures/packs.ts';
import { untilSwarm } from '../fixtures/swarm-status.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import type { BenchOptions } from './arguments.ts';
import { get } from './client.ts';
import { makeBenchSeries, type Series } from './data.ts';
import { peakMemory } from './memory.ts';
import { formatTable, median } from './table.ts';

const run = promisify(execFile);
const PART10 = 'multipart/related; type="application/dicom"; transfer-syntax=*';
/** Waiting for a row to be done may take long on a small machine. */
const PATIENCE_MS = 600_000;

async function timed(act: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await act();
  return performance.now() - started;
}

async function push(bridge: Bridge, { files }: Series): Promise<void> {
  const { code, output } = await storescu(bridge.dimse, files);
  if (code !== 0) throw new Error(`storescu: ${output.slice(-500)}`);
}

/** What IPFS costs and gives: each row against the `ipfs` program, or the bridge alone, in the same run. @returns a table */
export async function measureSwarm({ slices, repeat }: BenchOptions): Promise<string> {
  const rows: Record<string, { own: number[]; peer: number[]; peerName: string }> = {
    'C-STORE with Kubo': { own: [], peer: [], peerName: 'without' },
    'C-STORE while Kubo hangs': { own: [], peer: [], peerName: 'without' },
    replication: { own: [], peer: [], peerName: 'ipfs add' },
    'whole series, nothing local': { own: [], peer: [], peerName: 'ipfs get' },
  };
  const note = (name: string, own: number, peer: number) => {
    rows[name]?.own.push(own);
    rows[name]?.peer.push(peer);
  };
  let peak = 0;
  for (let turn = 0; turn < repeat; turn++) {
    const folder = await makeTempFolder();
    const nodes: KuboNode[] = [];
    const started: Bridge[] = [];
    try {
      const series = await makeBenchSeries(join(folder, 'series'), `swarm ${turn}`, slices);
      nodes.push(await startKuboNode(), await startKuboNode());
      const [mine, theirs] = nodes as [KuboNode, KuboNode];
      const start = async (dataDir: string, url?: string) => {
        const bridge = await startBridge({ dataDir, env: url === undefined ? {} : { DAGPACS_KUBO_API: url } });
        started.push(bridge);
        if (url !== undefined) await untilSwarm(bridge, ({ state }) => state === 'connected');
        return bridge;
      };
      const replicated = (bridge: Bridge) => untilSwarm(bridge, ({ waiting }) => waiting === 0, PATIENCE_MS);

      const dataDir = join(folder, 'bridge');
      let bridge = await start(dataDir);
      const without = await timed(() => push(bridge, series));
      await bridge.stop();
      const loaded = await start(join(folder, 'loaded'), mine.url);
      note('C-STORE with Kubo', await timed(() => push(loaded, series)), without);
      await replicated(loaded);
      peak = Math.max(peak, peakMemory(loaded.pid));
      await loaded.stop();

      const proxy = await startTcpProxy(mine.url);
      const hung = await start(join(folder, 'hung'), proxy.url);
      proxy.set('hang');
      note('C-STORE while Kubo hangs', await timed(() => push(hung, series)), without);
      proxy.set('pass');
      await replicated(hung);
      peak = Math.max(peak, peakMemory(hung.pid));
      await hung.stop();
      await proxy.stop();

      const sealed = join(folder, 'sealed');
      await mkdir(sealed);
      for (const [cid, bytes] of await packBlocks(dataDir)) {
        if (cid.startsWith('bafk')) await writeFile(join(sealed, cid), bytes);
      }
      const ipfs = (...args: string[]) =>
        run('ipfs', args, { env: { ...process.env, IPFS_PATH: theirs.repo }, maxBuffer: 64 << 20 });
      const add = ['add', '-r', '-Q', '--progress=false', '--cid-version=1', '--raw-leaves', '--chunker=size-1048576'];
      let root = '';
      const adding = await timed(async () => {
        root = (await ipfs(...add, sealed)).stdout.trim();
      });
      bridge = await start(dataDir, mine.url);
      note('replication', await timed(() => replicated(bridge)), adding);
      peak = Math.max(peak, peakMemory(bridge.pid));
      await bridge.stop();

      await rm(join(dataDir, 'blocks'), { recursive: true });
      bridge = await start(dataDir, mine.url);
      const url = `${bridge.dicomWeb}/studies/${series.studyInstanceUID}/series/${series.seriesInstanceUID}`;
      const reading = await timed(() => get(url, PART10));
      await sleep(1000);
      note(
        'whole series, nothing local',
        reading,
        await timed(() => ipfs('get', '--progress=false', '-o', join(folder, 'got'), root)),
      );
      peak = Math.max(peak, peakMemory(bridge.pid));
    } finally {
      await Promise.all([...started, ...nodes].map((each) => each.stop()));
      await removeFolder(folder);
    }
  }
  const lines = [['', 'DagPACS ms', 'peer ms', 'peer', '×']];
  for (const [name, { own, peer, peerName }] of Object.entries(rows)) {
    const [a, b] = [median(own), median(peer)];
    lines.push([name, a.toFixed(0), b.toFixed(0), peerName, (b / a).toFixed(2)]);
  }
  return `${formatTable(lines)}\npeak memory ${peak.toFixed(0)} MiB`;
}
