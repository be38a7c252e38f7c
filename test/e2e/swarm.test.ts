import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { type CustodyInstance, custodyStatus, untilStage } from '../fixtures/custody.ts';
import { runTool, startRecorder } from '../fixtures/dcmtk.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { damageBlock, type KuboNode, newSwarmKey, skipKubo, startKuboNode } from '../fixtures/kubo.ts';
import { damagePack, packBlocks } from '../fixtures/packs.ts';
import { datasetOf, metaOf } from '../fixtures/part10.ts';
import { retrieve, stow } from '../fixtures/stow.ts';
import { untilSwarm } from '../fixtures/swarm-status.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

async function untilRoom(bridge: Bridge, bytes: number): Promise<void> {
  for (const deadline = Date.now() + 30_000; ; await sleep(50)) {
    const { disk } = (await custodyStatus(bridge.url)) as { disk: { bytes: number } };
    if (disk.bytes <= bytes) return;
    if (Date.now() > deadline) throw new Error(`still ${disk.bytes} bytes`);
  }
}

const readsOf = async (bridge: Bridge) => (await untilSwarm(bridge, () => true)).reads;

async function startNodes(t: Test, count: number, config = {}): Promise<KuboNode[]> {
  const swarmKey = newSwarmKey();
  const nodes = await Promise.all(Array.from({ length: count }, () => startKuboNode({ swarmKey, config })));
  t.teardown(() => Promise.all(nodes.map((node) => node.stop())));
  return nodes;
}

const envOf = (nodes: readonly KuboNode[], more: Record<string, string> = {}) => ({
  DAGPACS_KUBO_API: nodes.map(({ url }) => url).join(', '),
  DAGPACS_ANCHOR_MAX_AGE_MS: '100',
  ...more,
});

const sops = (study: string, count: number) =>
  Array.from({ length: count }, (_, i) => uid('instance', study, 'CT', 1, i + 1));

const slices = (study: string, count: number, edge = 64) =>
  Array.from({ length: count }, (_, i) => makeSlice({ study, instance: i + 1, rows: edge, columns: edge }));

const url = (study: string, instance: number) =>
  `/studies/${uid('study', study)}/series/${uid('series', study, 'CT', 1)}/instances/${sops(study, instance).at(-1)}`;

async function bytesOf(bridge: Bridge, study: string, instance: number): Promise<Buffer> {
  const [part] = await retrieve(bridge.dicomWeb, url(study, instance));
  if (!part) throw new Error('nothing came');
  return part.body;
}

/** The nodes that hold the record of an instance pinned, with all that hangs on it. */
async function holders(nodes: readonly KuboNode[], custody: CustodyInstance[]): Promise<number[]> {
  const records = new Set(custody.flatMap(({ versions }) => versions.map(({ anchor }) => anchor?.record ?? '')));
  const held: number[] = [];
  for (const [i, node] of nodes.entries()) {
    const pins = (await node.ipfs('pin', 'ls', '--type=recursive', '--quiet')).toString().trim().split('\n');
    if ([...records].every((record) => pins.includes(record))) held.push(i);
  }
  return held;
}

test('three nodes in one private swarm, of which two must hold each instance', { skip: skipKubo }, async (t) => {
  const nodes = await startNodes(t, 3);
  const bridge = await startBridge({ env: envOf(nodes, { DAGPACS_KUBO_COPIES: '2' }) });
  t.teardown(() => bridge.stop());
  const swarm = await untilSwarm(bridge, ({ nodes: all }) => all.every(({ state }) => state === 'connected'));
  t.equal(new Set(swarm.nodes.map(({ node }) => node)).size, 3, 'of three identities');
  await Promise.all(
    nodes.map(async (node) => {
      for (;;) if ((await node.ipfs('swarm', 'peers')).toString().trim().split('\n').length === 2) break;
    }),
  );
  await stow(bridge.dicomWeb, slices('three', 6));
  await untilStage(bridge.url, sops('three', 6), 'replicated');
  const custody = (await untilStage(bridge.url, sops('three', 6), 'anchored')) as (CustodyInstance & {
    versions: { confirmations: { node: string; at: string }[] }[];
  })[];
  for (const { versions } of custody) {
    const [{ confirmations = [], stages } = {}] = versions;
    t.equal(new Set(confirmations.map(({ node }) => node)).size, 2);
    t.equal(stages?.replicated, confirmations[1]?.at, 'since the second confirmed it');
  }
  t.equal((await holders(nodes, custody)).length, 2);
  const moved = await Promise.all(nodes.map(async (node) => (await node.ipfs('bitswap', 'stat')).toString()));
  t.ok(
    moved.some((stat) => /blocks received: [1-9]/.test(stat)),
    'blocks moved between them',
  );
});

test('a node that is away, comes back, and comes back with nothing', { skip: skipKubo }, async (t) => {
  const swarmKey = newSwarmKey();
  const folder = await tempFolder(t);
  const [steady] = await startNodes(t, 1);
  const restart = () => startKuboNode({ folder, swarmKey });
  let other = await restart();
  t.teardown(() => other.stop());
  const proxy = await startTcpProxy(other.url);
  t.teardown(() => proxy.stop());
  const again = async () => {
    const node = await restart();
    proxy.target = new URL(node.url);
    return node;
  };
  const bridge = await startBridge({ env: envOf([steady as KuboNode, { ...other, url: proxy.url }]) });
  t.teardown(() => bridge.stop());
  await stow(bridge.dicomWeb, slices('first', 3));
  await untilStage(bridge.url, sops('first', 3), 'replicated');

  await other.stop();
  await stow(bridge.dicomWeb, slices('second', 3));
  await untilSwarm(bridge, (swarm) => swarm.nodes[1]?.state === 'unreachable' && swarm.waiting === 3);
  t.equal((await untilSwarm(bridge, () => true)).state, 'connected', 'the other goes on');
  other = await again();
  await untilStage(bridge.url, sops('second', 3), 'replicated');

  for (const what of ['the same identity', 'another identity']) {
    await other.stop();
    if (what === 'another identity') await rm(join(folder, 'kubo'), { recursive: true });
    else {
      const files = join(folder, 'kubo', 'blocks');
      const kept = ['SHARDING', '_README'];
      for (const name of await readdir(files))
        if (!kept.includes(name)) await rm(join(files, name), { recursive: true });
      await rm(join(folder, 'kubo', 'datastore'), { recursive: true });
    }
    other = await again();
    await untilSwarm(bridge, (swarm) => swarm.nodes[1]?.state === 'connected');
    const custody = await untilStage(bridge.url, [...sops('first', 3), ...sops('second', 3)], 'anchored');
    for (const deadline = Date.now() + 30_000; (await holders([other], custody)).length === 0; await sleep(100)) {
      if (Date.now() > deadline) throw new Error('it does not hold them');
    }
    await untilSwarm(bridge, (swarm) => swarm.waiting === 0);
    t.pass(`an empty repository with ${what} is filled again`);
  }
});

const skipRead = skipKubo || skipWithout('movescu', 'storescp');

test('what is damaged or gone here comes from the swarm, and is put right', { skip: skipRead }, async (t) => {
  const received = join(await tempFolder(t), 'received');
  await mkdir(received);
  const workstation = await startRecorder(received);
  t.teardown(() => workstation.stop());
  const peers = [{ aeTitle: workstation.aeTitle, host: workstation.host, port: workstation.port }];
  // Their own bytes are not looked at by the nodes, so that a damaged one is given as it lies.
  const nodes = await startNodes(t, 2, { 'Datastore.HashOnRead': false });
  const dataDir = await tempFolder(t);
  const env = envOf(nodes, { DAGPACS_AE_PEERS: JSON.stringify(peers) });
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  // One raw block, and a file of several leaves.
  const files = [...slices('read', 3), makeSlice({ study: 'read', instance: 4, rows: 1100, columns: 1100 })];
  await stow(bridge.dicomWeb, files);
  const custody = await untilStage(bridge.url, sops('read', 4), 'replicated');
  const cids = custody.map(({ versions }) => versions[0]?.cid ?? '');
  const blocks = await packBlocks(dataDir);

  for (const [place, at] of Object.entries({
    header: 20,
    middle: 4000,
    end: (blocks.get(cids[0] ?? '')?.length ?? 0) - 1,
  })) {
    const { file, before } = await damagePack(dataDir, cids[0] ?? '', at);
    t.ok((await bytesOf(bridge, 'read', 1)).equals(files[0] as Buffer), `one bit in its ${place}`);
    t.ok((await readFile(file)).equals(before), 'the pack is what it was');
  }
  t.match(await readsOf(bridge), { repaired: 3, failed: 0 });

  await damagePack(dataDir, cids[1] ?? '', 3000);
  const move = (instance: number) =>
    runTool('movescu', [
      ...['-S', '-aet', workstation.aeTitle, '-aem', workstation.aeTitle, '-aec', bridge.dimse.aeTitle],
      ...['-k', 'QueryRetrieveLevel=IMAGE', '-k', `StudyInstanceUID=${uid('study', 'read')}`],
      ...[
        '-k',
        `SeriesInstanceUID=${uid('series', 'read', 'CT', 1)}`,
        '-k',
        `SOPInstanceUID=${sops('read', instance).at(-1)}`,
      ],
      ...[bridge.dimse.host, String(bridge.dimse.port)],
    ]);
  t.equal((await move(2)).code, 0);
  const [moved] = await workstation.files();
  t.ok(moved && datasetOf(moved).equals(datasetOf(files[1] as Buffer)), 'by C-MOVE too');
  t.equal(metaOf(moved as Buffer)['00020003'], sops('read', 2).at(-1));

  await t.test('damaged here and there', async (t) => {
    for (const node of nodes) await damageBlock(node.repo, blocks.get(cids[2] ?? '') as Buffer);
    await damagePack(dataDir, cids[2] ?? '', 3000);
    const answer = await fetch(`${bridge.dicomWeb}${url('read', 3)}`, { headers: { accept: '*/*' } });
    t.equal(answer.status, 500);
    t.match(await answer.json(), { type: 'urn:dagpacs:error:block-damaged', status: 500 });
    t.match((await move(3)).output, /OutOfResourcesSubOperations/);
    t.equal((await workstation.files()).length, 1, 'nothing wrong was sent');
    t.ok((await readsOf(bridge)).failed > 0);
  });

  await t.test('all packs are gone', async (t) => {
    await bridge.stop();
    await rm(join(dataDir, 'blocks'), { recursive: true });
    bridge = await startBridge({ dataDir, env });
    await untilSwarm(bridge, (swarm) => swarm.nodes.every(({ state }) => state === 'connected'));
    for (const instance of [1, 2, 4]) {
      t.ok((await bytesOf(bridge, 'read', instance)).equals(files[instance - 1] as Buffer), `instance ${instance}`);
    }
    const { fetched } = await readsOf(bridge);
    t.ok(fetched >= 3, `${fetched} blocks were fetched`);
    await bytesOf(bridge, 'read', 4);
    t.equal((await readsOf(bridge)).fetched, fetched, 'and stay');
    const receipt = await fetch(`${bridge.url}/custody/instances/${sops('read', 1)[0]}/receipt`);
    t.equal(receipt.status, 200, 'a receipt needs the record');
    t.equal((await stow(bridge.dicomWeb, slices('after', 1))).stored.length, 1, 'and the log goes on');
    await bridge.kill();
    bridge = await startBridge({ dataDir, env });
    t.ok((await bytesOf(bridge, 'after', 1)).equals(slices('after', 1)[0] as Buffer), 'over a crash');
  });
});

test('blocks that are replicated make room for new ones', { skip: skipKubo }, async (t) => {
  const nodes = await startNodes(t, 1);
  const limit = 4 << 20;
  const dataDir = await tempFolder(t);
  const env = envOf(nodes, { DAGPACS_BLOCK_CACHE_MAX: String(limit) });
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  const big = { study: 'evict', instance: 1, rows: 512, columns: 512 };
  const pixels = Buffer.alloc(8 * 512 * 512 * 2, 'frames of which one is wanted');
  const multiframe = makeSlice({ ...big, overrides: { '00280008': ['IS', '8'], '7FE00010': ['OW', pixels] } });
  const files = [multiframe, ...Array.from({ length: 15 }, (_, i) => makeSlice({ ...big, instance: i + 2 }))];
  for (const file of files) await stow(bridge.dicomWeb, [file]);
  await untilStage(bridge.url, sops('evict', 16), 'replicated');
  await untilRoom(bridge, limit);

  const answer = await fetch(`${bridge.dicomWeb}${url('evict', 1)}/frames/5`, {
    headers: { accept: 'application/octet-stream' },
  });
  const frame = Buffer.from(await answer.arrayBuffer());
  t.ok(frame.equals(pixels.subarray(4 * 524288, 5 * 524288)), 'one frame');
  const { fetched } = await readsOf(bridge);
  t.ok(fetched <= 3, `moves the blocks that it lies in and the one with the header: ${fetched}`);
  for (const [i, file] of files.entries()) {
    t.ok((await bytesOf(bridge, 'evict', i + 1)).equals(file), `instance ${i + 1}`);
  }
  await untilRoom(bridge, limit);

  await bridge.kill();
  await rm(join(dataDir, 'index.sqlite'));
  bridge = await startBridge({ dataDir, env });
  for (const [i, file] of files.entries()) {
    t.ok((await bytesOf(bridge, 'evict', i + 1)).equals(file), `instance ${i + 1} with a new index`);
  }
});
