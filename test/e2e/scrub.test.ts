import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { blockStoreDefaults } from '../../src/adapters/blocks/options.ts';
import { openPackStore } from '../../src/adapters/blocks/pack-store.ts';
import { openIndex } from '../../src/adapters/index/sqlite.ts';
import { openSwarm } from '../../src/adapters/swarm/swarm.ts';
import type { ScrubReport, ScrubStatus } from '../../src/flows/objects/scrub-report.ts';
import { startScrub } from '../../src/flows/upkeep/scrub.ts';
import { cidOf, RAW } from '../../src/ipld/cid.ts';
import { createLog } from '../../src/kernel/log.ts';
import { oneAtATime } from '../../src/kernel/one-at-a-time.ts';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { dagpacs } from '../fixtures/command.ts';
import { allVersions, custodyStatus, untilStage } from '../fixtures/custody.ts';
import { blocksOf, damage } from '../fixtures/damage.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { damageBlock, skipKubo, startKuboNode } from '../fixtures/kubo.ts';
import { stow } from '../fixtures/stow.ts';
import { untilSwarm } from '../fixtures/swarm-status.ts';
import { tempFolder } from '../fixtures/temp.ts';

const FILES = [
  makeSlice({ study: 'scrub', instance: 1, rows: 1100, columns: 1100 }),
  ...[2, 3, 4, 5].map((instance) => makeSlice({ study: 'scrub', instance, rows: 64, columns: 64 })),
];
const UIDS = [1, 2, 3, 4, 5].map((instance) => uid('instance', 'scrub', 'CT', 1, instance));

async function scrub(bridge: Bridge): Promise<ScrubReport> {
  const response = await fetch(`${bridge.url}/custody/scrub`, { method: 'POST' });
  return JSON.parse((await response.text()).trim().split('\n').at(-1) ?? '') as ScrubReport;
}

async function statusOf(bridge: Bridge): Promise<ScrubStatus> {
  return ((await custodyStatus(bridge.url)) as { scrub: ScrubStatus }).scrub;
}

test('what is damaged here is found, put right from the swarm, or told', { skip: skipKubo }, async (t) => {
  const kubo = await startKuboNode();
  t.teardown(() => kubo.stop());
  const dataDir = await tempFolder(t);
  const env = { DAGPACS_ANCHOR_MAX_AGE_MS: '100', DAGPACS_KUBO_API: kubo.url };
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  for (const file of FILES) t.equal((await stow(bridge.dicomWeb, [file])).status, 200);
  await untilStage(bridge.url, UIDS, 'replicated');
  const custody = await untilStage(bridge.url, UIDS, 'anchored');
  const held = await blocksOf(dataDir);

  const well = await scrub(bridge);
  t.match(well, { versions: 5, ofVersions: 5, blocks: held.size, repaired: 0, missing: 0, damaged: 0, problems: [] });
  t.match(well, { remote: { checked: held.size, restored: 0, missing: 0, pinsLost: 0, unreachable: 0 } });
  t.equal(
    well.bytes,
    [...held.values()].reduce((sum, { length }) => sum + length, 0),
  );
  t.strictSame(well.orphaned, { blocks: 0, bytes: 0 });
  t.match(await statusOf(bridge), { state: 'resting', current: null, last: well });

  // Of every kind: a leaf, a node of leaves, an instance node, a record.
  const object = custody[0]?.versions[0]?.cid ?? '';
  const record = custody[0]?.versions[0]?.anchor?.record ?? '';
  const leaf = [...held].find(([, bytes]) => bytes.length === 1_048_576)?.[0] ?? '';
  const node = [...held.keys()].find((cid) => cid.startsWith('bafyrei') && cid !== record) ?? '';
  const victims = [object, record, leaf, node];
  await damage(dataDir, victims);
  t.match(await scrub(bridge), { blocks: held.size - 4, repaired: 4, missing: 0, damaged: 0 });
  for (const [cid, bytes] of await blocksOf(dataDir)) t.ok(held.get(cid)?.equals(bytes), `${cid} is what it was`);

  await t.test('what a node lost is brought back to it', async (t) => {
    await kubo.ipfs('pin', 'rm', record);
    await kubo.ipfs('block', 'rm', '--force', leaf);
    const found = await scrub(bridge);
    t.match(found, { repaired: 0, missing: 0, remote: { restored: 1, missing: 0, pinsLost: 1 } });
    t.ok((await kubo.ipfs('block', 'get', '--offline', leaf)).equals(held.get(leaf) ?? Buffer.alloc(0)));
    await untilStage(bridge.url, UIDS, 'replicated');
    const pins = await kubo.ipfs('pin', 'ls', '--type=recursive', '--quiet');
    t.match(pins.toString(), record, 'the outbox pinned it again');
  });

  await t.test('what a node holds damaged is put right there', async (t) => {
    const bytes = (cid: string) => held.get(cid) ?? Buffer.alloc(0);
    for (const cid of [leaf, node]) await damageBlock(kubo.repo, bytes(cid));
    t.match(await scrub(bridge), { repaired: 0, missing: 0, remote: { restored: 2, missing: 0, damaged: 0 } });
    for (const cid of [leaf, node]) t.ok((await kubo.ipfs('block', 'get', '--offline', cid)).equals(bytes(cid)));
    await untilSwarm(bridge, ({ waiting }) => waiting === 0);
    t.match((await kubo.ipfs('pin', 'ls', '--type=recursive', '--quiet')).toString(), record, 'and stays pinned');
  });

  await t.test('what nobody has is told, and nothing else is touched', async (t) => {
    await bridge.stop();
    await damage(dataDir, [leaf]);
    t.match(await dagpacs(dataDir, ['scrub']), { code: 1, stdout: new RegExp(`damaged: ${leaf} \\(local\\)`) });
    const missing = held.size - 1;
    bridge = await startBridge({ dataDir, env });
    const { last } = await statusOf(bridge);
    t.match(last, { blocks: missing, repaired: 0, damaged: 1, remote: { checked: 0 } });
    t.strictSame(last?.problems, [{ cid: leaf, where: 'local', problem: 'damaged' }]);
    await damage(dataDir, [leaf]);
  });

  await t.test('a pack that was cut short', async (t) => {
    await untilStage(bridge.url, UIDS, 'replicated');
    const pack = join(dataDir, 'blocks', 'pack-000001.car');
    await truncate(pack, 4000);
    t.ok(
      (await allVersions(bridge.url, UIDS[0] ?? ''))[0]?.equals(FILES[0] ?? Buffer.alloc(0)),
      'is read all the same',
    );
    t.match(await dagpacs(dataDir, ['scrub']), { code: 0, stdout: /0 missing, 0 damaged/ });
    await bridge.stop();
    t.match(await dagpacs(dataDir, ['scrub']), { code: 0, stdout: /\n0 repaired, 0 missing/ }, 'all is here again');
  });
});

test('a slow pass goes on where it was, over restarts, and finds what nothing refers to', async (t) => {
  const dataDir = await tempFolder(t);
  const env = { DAGPACS_ANCHOR_MAX_AGE_MS: '100', DAGPACS_SCRUB_RATE: '1' };
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  await stow(bridge.dicomWeb, FILES);
  // It has no Rows: refused when most of it is placed.
  const refused = makeSlice({ study: 'scrub', instance: 9, rows: 1100, columns: 1100 });
  await fetch(`${bridge.dicomWeb}/studies`, {
    method: 'POST',
    headers: { 'content-type': 'application/dicom' },
    body: refused.subarray(0, 2_200_000),
    duplex: 'half',
  } as RequestInit);
  t.match(await statusOf(bridge), { state: 'resting', current: null, last: null }, 'none begins with the start');

  const going = await fetch(`${bridge.url}/custody/scrub?rate=30000`, { method: 'POST' });
  await sleep(1200);
  t.match(await statusOf(bridge), { state: 'running', current: { finishedAt: null } });
  await bridge.stop();
  await going.text().catch(() => undefined);
  bridge = await startBridge({ dataDir, env });
  const { current } = await statusOf(bridge);
  t.ok(current && current.blocks > 0 && current.versions < 5, 'it stands where it stood');
  await bridge.stop();
  const resumed = await dagpacs(dataDir, ['scrub']);
  t.match(resumed, { code: 0, stdout: /^5 versions/ });
  t.match(resumed.stdout, /orphaned: \d+ blocks/);

  const log = createLog('silent', () => undefined);
  const blocks = await openPackStore({ directory: join(dataDir, 'blocks'), ...blockStoreDefaults, log });
  // Of an upload that was broken off.
  const orphan = { cid: cidOf(RAW, Buffer.alloc(600_000, 7)), bytes: Buffer.alloc(600_000, 7) };
  await blocks.append(orphan.cid, [orphan.bytes]);
  await blocks.closePack();
  const index = openIndex({ dataDir, log });
  const swarm = openSwarm({ dataDir, bin: 'none', log });
  const often = { rate: 100e6, pauseMs: 50, copies: 1, lookEveryMs: 20 };
  const scrubber = startScrub(often, { blocks, index, swarm, log, turns: oneAtATime() });
  const seen = new Set([scrubber.status().last?.startedAt]);
  t.ok(seen.has(current?.startedAt), 'the same pass');
  for (let i = 0; seen.size < 3 && i < 1000; i += 1) {
    await sleep(10);
    seen.add(scrubber.status().last?.startedAt);
  }
  t.equal(seen.size, 3, 'in the background one follows the other');
  t.notOk(blocks.has(orphan.cid), 'and deletes what nothing leads to');
  t.notOk(blocks.thinned());
  await scrubber.stop();
  await swarm.close();
  await index.close();
  await blocks.close();
});
