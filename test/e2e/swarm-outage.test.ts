import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { type Test, test } from 'tap';
import { type CarSection, parseCarHeader, parseSection } from '../../src/ipld/car.ts';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { daemonOf, type KuboNode, skipKubo, startKuboNode } from '../fixtures/kubo.ts';
import { growSmallDisk, mountSmallDisk, skipSmallDisk, unmount } from '../fixtures/small-disk.ts';
import { stow } from '../fixtures/stow.ts';
import { untilSwarm } from '../fixtures/swarm-status.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { tempFolder } from '../fixtures/temp.ts';

const sops = (study: string, count: number) =>
  Array.from({ length: count }, (_, i) => uid('instance', study, 'CT', 1, i + 1));

/** Sends slices of half a megabyte, a few a request. */
async function load(bridge: Bridge, study: string, count: number, between?: (sent: number) => void): Promise<void> {
  for (let sent = 0; sent < count; sent += 4) {
    const files = Array.from({ length: 4 }, (_, i) => makeSlice({ study, instance: sent + i + 1 }));
    const { stored } = await stow(bridge.dicomWeb, files);
    if (stored.length !== files.length) throw new Error('not everything was stored');
    between?.(sent + 4);
  }
}

/** Peak resident memory in MiB, as Linux has it. */
function peakMemory({ pid }: Bridge): number {
  const [, kib] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1024;
}

const env = (url: string) => ({
  DAGPACS_KUBO_API: url,
  DAGPACS_ANCHOR_MAX_AGE_MS: '100',
  DAGPACS_ANCHOR_MAX_BATCH: '16',
  DAGPACS_DRAIN_MS: '500',
});

test('Kubo stops, hangs or is slow in the middle of a load', { skip: skipKubo }, async (t) => {
  const kubo = await startKuboNode();
  t.teardown(() => kubo.stop());
  const proxy = await startTcpProxy(kubo.url, 200);
  t.teardown(() => proxy.stop());
  const bridge = await startBridge({ env: env(proxy.url) });
  t.teardown(() => bridge.stop());
  await untilSwarm(bridge, ({ state }) => state === 'connected');
  for (const mode of ['refuse', 'hang', 'slow'] as const) {
    await load(bridge, mode, 16, (sent) => {
      if (sent === 4) proxy.set(mode);
    });
    t.pass(`${mode}: every instance was taken`);
    if (mode === 'refuse') {
      const { nodes } = await untilSwarm(bridge, ({ state, waiting }) => state === 'unreachable' && waiting > 0);
      t.match(nodes[0]?.reason, /connection (was lost|refused)|hang up/, 'the status says why');
    }
    if (mode !== 'slow') t.ok((await untilSwarm(bridge, () => true)).waiting > 0, 'and waits');
    if (mode !== 'slow') proxy.set('pass');
    await untilStage(bridge.url, sops(mode, 16), 'replicated');
    proxy.set('pass');
  }
  t.ok(peakMemory(bridge) < 350, `${peakMemory(bridge).toFixed(0)} MiB at most`);
  proxy.set('hang');
  await load(bridge, 'last', 4);
  t.match(await bridge.stop(), { code: 0 }, 'one that hangs does not hold up the end');
});

test('the disk of Kubo is full', { skip: skipKubo || skipSmallDisk }, async (t) => {
  const folder = await tempFolder(t);
  mountSmallDisk(folder, 12 << 20);
  const kubo = await startKuboNode({ folder });
  t.teardown(async () => {
    await kubo.stop();
    unmount(folder);
  });
  const bridge = await startBridge({ env: env(kubo.url) });
  t.teardown(() => bridge.stop());
  await load(bridge, 'full', 32);
  const { nodes, waiting } = await untilSwarm(bridge, ({ nodes }) => /space/.test(nodes[0]?.problem ?? ''));
  t.match(nodes[0]?.problem, /no space left on device/);
  t.ok(waiting > 0);
  growSmallDisk(folder, 200 << 20);
  await untilStage(bridge.url, sops('full', 32), 'replicated');
  t.notOk((await untilSwarm(bridge, () => true)).nodes[0]?.problem);
});

/** Passes on to a Kubo and notes each block that it took. */
async function startCounter(t: Test, target: { url: string }) {
  const taken: string[] = [];
  const hook: { onTaken?: () => void } = {};
  const server = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
    } catch {
      return; // Its sender was killed.
    }
    const body = Buffer.concat(chunks);
    const onward = request(new URL(incoming.url ?? '/', target.url), { method: 'POST', headers: incoming.headers });
    onward.on('error', () => outgoing.destroy());
    onward.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
      answer.once('end', () => {
        if (!answer.complete || answer.statusCode !== 200 || !incoming.url?.includes('dag/import')) return;
        taken.push(...blocksIn(body));
        hook.onTaken?.();
      });
    });
    onward.end(body);
  });
  server.on('clientError', (_, socket) => socket.destroy());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, taken, hook };
}

/** The CIDs in a CAR that is the one part of a multipart body. */
function blocksIn(body: Buffer): string[] {
  const start = body.indexOf('\r\n\r\n') + 4;
  const end = body.lastIndexOf('\r\n--');
  const cids: string[] = [];
  for (let at = start + parseCarHeader(body.subarray(start)).end; at < end; ) {
    const section = parseSection(body, at) as CarSection;
    cids.push(section.cid.toString());
    at = section.next;
  }
  return cids;
}

test('no block is sent twice over a crash of either side', { skip: skipKubo }, async (t) => {
  const folder = await tempFolder(t);
  const place = { url: '' };
  const start = async (): Promise<KuboNode> => {
    const node = await startKuboNode({ folder });
    place.url = node.url;
    return node;
  };
  let kubo = await start();
  t.teardown(() => kubo.stop());
  const counter = await startCounter(t, place);
  const dataDir = await tempFolder(t);
  const settings = { ...env(counter.url), DAGPACS_ANCHOR_MAX_BATCH: '128', DAGPACS_ANCHOR_MAX_AGE_MS: '20000' };
  /** A leaf and a node of each instance, and the record. */
  const all = 2 * 128 + 1;
  let bridge = await startBridge({ dataDir, env: settings });
  t.teardown(() => bridge.stop());

  const part = async () => {
    const before = counter.taken.length;
    await new Promise<void>((resolve) => {
      counter.hook.onTaken = () => void (counter.taken.length > before && resolve());
    });
  };
  const first = part();
  await load(bridge, 'crash', 128);
  await first;
  await bridge.kill();
  t.ok(counter.taken.length < all, `the bridge was killed after ${counter.taken.length} blocks`);
  const second = part();
  bridge = await startBridge({ dataDir, env: settings });
  await second;
  process.kill(daemonOf(kubo.repo) as number, 'SIGKILL');
  t.ok(counter.taken.length < all, `Kubo was killed after ${counter.taken.length} blocks`);
  await kubo.stop();
  kubo = await start();
  await untilStage(bridge.url, sops('crash', 128), 'replicated');
  t.equal(new Set(counter.taken).size, counter.taken.length, `${counter.taken.length} blocks, each once`);
});
