import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import { type BenchOptions, readArguments } from './arguments.ts';
import { measureChain } from './chain.ts';
import { closeConnections } from './client.ts';
import { makeBenchSeries, type Series } from './data.ts';
import { timeDisk } from './disk.ts';
import { libraryRows, loadLibrary } from './library.ts';
import { measureAssociations, measureBigRequest, peakMemory } from './memory.ts';
import { measureOutages } from './outages.ts';
import { startPeers } from './peers.ts';
import { measureRetrievals } from './retrieval.ts';
import { type Peer, type Row, rows } from './rows.ts';
import { measureSwarm } from './swarm.ts';
import { describeMachine, formatTable, median } from './table.ts';

/** Milliseconds of every repetition, by row and peer. */
type Times = Map<Row, Map<Peer, number[]>>;

async function time(times: Times, row: Row, peer: Peer, series: Series): Promise<void> {
  const started = performance.now();
  await row.run(peer, series);
  const taken = performance.now() - started;
  const ofRow = times.get(row) ?? new Map<Peer, number[]>();
  times.set(row, ofRow);
  ofRow.set(peer, [...(ofRow.get(peer) ?? []), taken]);
  await peer.settle();
}

/** Every peer in turn, and in another order each time, so that none always follows the same one. */
function inTurn(peers: readonly Peer[], turn: number): Peer[] {
  return peers.map((_, i) => peers[(i + turn) % peers.length] as Peer);
}

/** Writes: each repetition of each row has a series of its own, which every peer gets. Returns the last one. */
async function measureWrites(times: Times, peers: Peer[], folder: string, options: BenchOptions): Promise<Series> {
  let last: Series | undefined;
  const nextSeries = async (name: string): Promise<Series> => {
    if (last !== undefined) await rm(join(folder, 'series'), { recursive: true });
    last = await makeBenchSeries(join(folder, 'series'), name, options.slices);
    return last;
  };
  const writes = rows.filter(({ writes }) => writes);
  for (let turn = 0; turn < options.repeat; turn++) {
    for (const row of writes.filter(({ name }) => options.rows.test(name))) {
      const series = await nextSeries(`${row.name} ${turn}`);
      const takers = peers.filter(({ storesOnly }) => row.dimse || !storesOnly);
      for (const peer of inTurn(takers, turn)) await time(times, row, peer, series);
    }
  }
  if (last !== undefined) return last;
  // None is measured: what is read has to be there all the same.
  const series = await nextSeries('unmeasured');
  for (const peer of peers.filter(({ storesOnly }) => !storesOnly)) {
    await writes.at(-1)?.run(peer, series);
    await peer.settle();
  }
  return series;
}

async function measureReads(
  times: Times,
  peers: Peer[],
  reads: readonly Row[],
  series: Series,
  options: BenchOptions,
): Promise<void> {
  for (const row of reads) {
    // The first one fills caches, of the operating system too; that is another question.
    for (const peer of peers) await row.run(peer, series);
    for (let turn = 0; turn < options.reads; turn++) {
      for (const peer of inTurn(peers, turn)) await time(times, row, peer, series);
    }
  }
}

function report(times: Times, peers: readonly Peer[]): string {
  const [own, ...others] = peers;
  const lines = [['', ...peers.map(({ name }) => `${name} ms`), ...others.map(({ name }) => `× ${name}`)]];
  for (const [row, ofRow] of times) {
    const mine = median(ofRow.get(own as Peer) ?? []);
    const taken = peers.map((peer) => median(ofRow.get(peer) ?? []));
    lines.push([
      row.name,
      ...taken.map((each) => (Number.isNaN(each) ? '' : each.toFixed(each < 100 ? 1 : 0))),
      ...taken.slice(1).map((each) => (Number.isNaN(each) ? '' : (each / mine).toFixed(2))),
    ]);
  }
  lines.push(['peak memory, MiB', ...peers.map(({ pid }) => peakMemory(pid).toFixed(0)), ...others.map(() => '')]);
  return formatTable(lines);
}

const options = readArguments();
if (options.swarm || options.outages) {
  console.log(
    `${options.slices} CT slices of 0.5 MB, medians; × is how many times as fast DagPACS is\n${describeMachine()}\n`,
  );
  console.log(await (options.outages ? measureOutages(options) : measureSwarm(options)));
  closeConnections();
  process.exit();
}
console.log(
  `${options.slices} CT slices of 0.5 MB, ${options.studies} studies to search, medians; × is how many times as fast DagPACS is\n${describeMachine()}\n`,
);
const folder = await makeTempFolder();
const peers = await startPeers(options);
try {
  const times: Times = new Map();
  const disk: number[] = [];
  for (let turn = 0; turn < options.repeat; turn++) disk.push(await timeDisk(folder, options.slices, 526_000));
  const series = await measureWrites(times, peers, folder, options);
  disk.push(await timeDisk(folder, options.slices, 526_000));
  const selected = (all: readonly Row[]) => all.filter(({ name, writes }) => !writes && options.rows.test(name));
  const readers = peers.filter(({ storesOnly }) => !storesOnly);
  await measureReads(times, readers, selected(rows), series, options);
  const searches = selected(libraryRows(options.studies));
  if (options.studies > 0 && searches.length > 0) {
    await loadLibrary(readers, options.studies);
    await measureReads(times, readers, searches, series, options);
  }
  console.log(report(times, peers));
  console.log(`the disk alone, ${options.slices} appends and syncs: ${disk.map((ms) => ms.toFixed(0)).join(', ')} ms`);
} finally {
  closeConnections();
  await Promise.all(peers.map((peer) => peer.stop()));
  await removeFolder(folder);
}

if (options.big) {
  const { seconds, before, after } = await measureBigRequest(options.bigParts, options.bigSize * 1e9);
  closeConnections();
  console.log(
    `\none STOW request of ${options.bigSize} GB, ${options.bigParts} instances: ${seconds.toFixed(1)} s, ` +
      `peak memory ${after.toFixed(0)} MiB (${before.toFixed(0)} MiB before)`,
  );
  console.log(
    `\na study of ${options.bigSize} GB, ${options.bigParts} instances, retrieved from a bridge just started:\n` +
      `${await measureRetrievals(options.bigParts, options.bigSize * 1e9)}\n`,
  );
  const { associations, size } = { associations: 16, size: 100e6 };
  const pushed = await measureAssociations(associations, size);
  console.log(
    `${associations} associations that send ${size / 1e6} MB each: ${pushed.seconds.toFixed(1)} s, ` +
      `peak memory ${pushed.after.toFixed(0)} MiB (${pushed.before.toFixed(0)} MiB before)`,
  );
}

if (options.chain) {
  const { lagMs, drained, receiptMs, verifyMs, rebuilt } = await measureChain(options.chainSeconds, options.backlog);
  console.log(
    `\nchain with a block a second: anchored ${(lagMs / 1000).toFixed(1)} s after stored (p95, 200 instances/s), ` +
      `a backlog of ${options.backlog} at ${drained.toFixed(0)}/s\n` +
      `receipt ${receiptMs.toFixed(1)} ms, verify ${verifyMs.toFixed(0)} ms (a process), rebuild ${rebuilt.toFixed(0)}/s`,
  );
}
