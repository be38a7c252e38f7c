import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { encode as encodeCbor } from '@ipld/dag-cbor';
import { encode as encodePb, prepare } from '@ipld/dag-pb';
import { type Test, test } from 'tap';
import type { SwarmOptions, SwarmTuning } from '../../src/adapters/swarm/options.ts';
import { openSwarm } from '../../src/adapters/swarm/swarm.ts';
import { type Cid, cidOf, DAG_CBOR, DAG_PB, RAW } from '../../src/ipld/cid.ts';
import { isDagpacsError } from '../../src/kernel/errors.ts';
import type { Block } from '../../src/ports/blocks.ts';
import type { Swarm, SwarmNode, SwarmStatus } from '../../src/ports/swarm.ts';
import { daemonOf, ipfs, skipKubo, startKuboNode } from '../fixtures/kubo.ts';
import { listen, startProxy } from '../fixtures/kubo-proxy.ts';
import { freePorts } from '../fixtures/ports.ts';
import { listeners } from '../fixtures/processes.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { tempFolder } from '../fixtures/temp.ts';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const quick: Partial<SwarmTuning> = {
  probeTimeoutMs: 1000,
  probeIntervalMs: 100,
  stopTimeoutMs: 500,
  minBackoffMs: 20,
  maxBackoffMs: 100,
};

function open(t: Test, options: Omit<SwarmOptions, 'log'>): Swarm {
  const swarm = openSwarm({ ...options, log });
  t.teardown(() => swarm.close());
  return swarm;
}

function only(swarm: Swarm): SwarmNode {
  const [node] = swarm.nodes;
  if (!node) throw new Error('there is no node');
  return node;
}

async function until(swarm: Swarm, state: SwarmStatus['state']): Promise<SwarmStatus> {
  for (const deadline = Date.now() + 30_000; ; await sleep(20)) {
    const status = await swarm.status();
    if (status.state === state) return status;
    if (Date.now() > deadline) throw new Error(`still ${status.state}: ${status.reason}`);
  }
}

async function* each<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

function block(codec: number, bytes: Uint8Array): Block {
  return { cid: cidOf(codec, bytes), bytes };
}

/** What the bridge makes of `count` instances: leaves, a UnixFS-like node, instance nodes, and a record on top. */
function batchOf(count: number): { blocks: Block[]; record: Block } {
  const blocks: Block[] = [];
  const nodes: Block[] = [];
  for (let index = 0; index < count; index++) {
    const leaves = [300_000, 17].map((size) => block(RAW, randomBytes(size)));
    const links = leaves.map(({ cid, bytes }) => ({ Hash: cid, Tsize: bytes.length, Name: '' }));
    const file = block(DAG_PB, encodePb(prepare({ Data: new Uint8Array([8, 2]), Links: links })));
    const node = block(DAG_CBOR, encodeCbor({ object: file.cid, size: 300_017 }));
    nodes.push(node);
    blocks.push(...leaves, file, node);
  }
  const record = block(DAG_CBOR, encodeCbor({ leaves: nodes.map(({ cid }) => cid) }));
  return { blocks: [...blocks, record], record };
}

const unavailable = { code: 'swarm-unavailable' };

test('a private Kubo as a child', { skip: skipKubo }, async (t) => {
  const dataDir = await tempFolder(t);
  const repo = join(dataDir, 'kubo');
  const { blocks, record } = batchOf(20);

  const swarm = openSwarm({ dataDir, log, tuning: quick });
  t.teardown(() => swarm.close());
  t.match(await swarm.status(), { state: 'starting', peers: 0 }, 'it returns before there is a node');
  await t.rejects(only(swarm).put(each(blocks)), unavailable, 'nothing is taken until then');
  await t.rejects(only(swarm).pin(record.cid), unavailable);
  const { node, peers } = await until(swarm, 'connected');
  t.equal(peers, 0);

  await t.test('is private and listens on loopback only', async (t) => {
    const pid = daemonOf(repo) as number;
    const addresses = listeners([pid]);
    t.equal(addresses.length, 2, 'RPC and swarm, no gateway');
    for (const address of addresses) t.match(address, /^127\.0\.0\.1:\d+$/);
    const config = JSON.parse((await ipfs(repo, 'config', 'show')).toString());
    t.match(config, {
      Addresses: { API: /^\/ip4\/127\.0\.0\.1\//, Gateway: [], Swarm: ['/ip4/127.0.0.1/tcp/0'] },
      AutoConf: { Enabled: false },
      AutoTLS: { Enabled: false },
      Bootstrap: [],
      Datastore: { HashOnRead: true },
      Discovery: { MDNS: { Enabled: false } },
      Provide: { Enabled: false },
      Routing: { Type: 'none' },
      Swarm: { DisableNatPortMap: true },
    });
    t.equal(config.Datastore.Spec.mounts.find((mount: { type: string }) => mount.type === 'flatfs').sync, true);
    t.match(
      await readFile(join(repo, 'swarm.key'), 'utf8'),
      /^\/key\/swarm\/psk\/1\.0\.0\/\n\/base16\/\n[0-9a-f]{64}\n$/,
    );
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
    t.match(environment, 'LIBP2P_FORCE_PNET=1');
    t.notMatch(environment, 'npm_', 'nothing of our own environment is handed on');
  });

  await t.test('takes blocks of every codec and holds a batch by one pin', async (t) => {
    await only(swarm).put(each(blocks));
    await only(swarm).pin(record.cid);
    const pins = (await ipfs(repo, 'pin', 'ls', '--type=recursive')).toString();
    t.match(pins, `${record.cid} recursive`);
    const held = (await ipfs(repo, 'refs', '--recursive', record.cid.toString())).toString().trim().split('\n');
    t.equal(new Set(held).size, blocks.length - 1, 'everything below the record');
    for (const { cid, bytes } of [...blocks.slice(0, 4), record]) {
      t.ok((await ipfs(repo, 'block', 'get', cid.toString())).equals(bytes), `block ${cid.code.toString(16)}`);
    }
    await only(swarm).put(each(blocks));
    t.pass('the same blocks again');
  });

  await t.test('comes back after it was killed', async (t) => {
    const first = daemonOf(repo) as number;
    process.kill(first, 'SIGKILL');
    while (daemonOf(repo) === first) await sleep(10);
    while (daemonOf(repo) === undefined) await sleep(10);
    t.equal((await until(swarm, 'connected')).node, node, 'the same node');
    const { blocks, record } = batchOf(1);
    await only(swarm).put(each(blocks));
    await only(swarm).pin(record.cid);
  });

  await t.test('is replaced when it hangs, and nobody waits for it', async (t) => {
    const first = daemonOf(repo) as number;
    process.kill(first, 'SIGSTOP');
    await t.rejects(only(swarm).put(each(batchOf(1).blocks)), unavailable);
    while (daemonOf(repo) === first) await sleep(10);
    t.equal((await until(swarm, 'connected')).node, node);
  });

  await swarm.close();
  t.equal(daemonOf(repo), undefined, 'closing leaves no process');
  t.match(await swarm.status(), { state: 'off' });

  const again = open(t, { dataDir });
  t.equal((await until(again, 'connected')).node, node, 'a second start takes up the same node');
  t.match((await ipfs(repo, 'pin', 'ls', '--type=recursive')).toString(), record.cid.toString(), 'and its pins');
});

test('a Kubo that is run elsewhere', { skip: skipKubo }, async (t) => {
  const kubo = await startKuboNode();
  t.teardown(() => kubo.stop());
  const dataDir = await tempFolder(t);

  for (const api of [kubo.url, kubo.multiaddr]) {
    const swarm = open(t, { dataDir, apis: [api] });
    await until(swarm, 'connected');
    const { blocks, record } = batchOf(2);
    await only(swarm).put(each(blocks));
    await only(swarm).pin(record.cid);
    t.match((await kubo.ipfs('pin', 'ls', '--type=recursive')).toString(), record.cid.toString());
  }

  await t.test('a pin of blocks that nobody has ends in bounded time', async (t) => {
    const swarm = open(t, { dataDir, apis: [kubo.url], tuning: { ...quick, pinTimeoutMs: 500 } });
    await until(swarm, 'connected');
    await t.rejects(only(swarm).pin(cidOf(RAW, randomBytes(8))), unavailable);
    t.equal((await swarm.status()).state, 'connected', 'the node is not to blame');
  });

  await t.test('an error of the blocks’ source is that error, and many small blocks all arrive', async (t) => {
    const swarm = open(t, { dataDir, apis: [kubo.url] });
    await until(swarm, 'connected');
    const failing = (async function* () {
      yield block(RAW, randomBytes(8));
      throw new Error('disk gone');
    })();
    await t.rejects(only(swarm).put(failing), { message: 'disk gone' });
    const small = Array.from({ length: 1000 }, (_, index) => block(RAW, randomBytes(index)));
    await only(swarm).put(each(small));
    const refs = (await kubo.ipfs('refs', 'local')).toString();
    t.equal(small.filter(({ cid }) => !refs.includes(cid.toString())).length, 0);
  });

  const four = Array.from({ length: 4 }, () => block(RAW, randomBytes(64)));
  const counted = (BlockCount: unknown, BlockBytesCount: unknown) =>
    `${JSON.stringify({ Stats: { BlockCount, BlockBytesCount } })}\n`;

  await t.test('a proxy between us that hangs, swaps or refuses', async (t) => {
    const proxy = await startProxy(t, kubo.url);
    const swarm = open(t, { dataDir, apis: [proxy.url], tuning: { ...quick, putTimeoutMs: 500 } });
    await until(swarm, 'connected');

    proxy.onPut = () => undefined;
    let pulled = 0;
    const many = (async function* () {
      for (; pulled < 2000; pulled++) yield block(RAW, randomBytes(1 << 16));
    })();
    await t.rejects(only(swarm).put(many), unavailable, 'a request without an answer');
    t.ok(pulled < 500, `bounded memory: ${pulled} of 2000 blocks were read`);

    await until(swarm, 'connected');
    proxy.onPut = undefined;
    const wrong = { cid: cidOf(RAW, new Uint8Array(1)), bytes: randomBytes(1) };
    await t.rejects(only(swarm).put(each([wrong, ...four])), { ...unavailable, message: /mismatch/ });
    t.notMatch(
      (await kubo.ipfs('refs', 'local')).toString(),
      wrong.cid.toString(),
      'Kubo compares bytes with their CID',
    );
    proxy.onPin = (_, response) => response.end(`{"Pins":["${wrong.cid}"]}\n`);
    await t.rejects(only(swarm).pin(four[0]?.cid as Cid), { ...unavailable, message: /another CID/ });

    await until(swarm, 'connected');
    proxy.onPut = (_, response) => response.writeHead(413).end('<html>\n<body>too large</body>');
    await t.rejects(only(swarm).put(each(batchOf(1).blocks)), { ...unavailable, message: /413/ });

    for (const [name, answer, message] of [
      ['a wrong length', () => counted(4, 255), /another length/],
      ['too few answers', () => counted(1, 64), /answered for 1 of 4 blocks/],
      ['HTML', () => '<!doctype html><title>Hello</title>', /not that of a Kubo/],
      ['counts that are none', () => counted('4', null), /not that of a Kubo/],
      ['two lines', () => counted(4, 256).repeat(2), /not that of a Kubo/],
      ['a body without end', () => 'x'.repeat(1 << 20), /too long/],
    ] as [string, () => string, RegExp][]) {
      await until(swarm, 'connected');
      proxy.onPut = (_, response) => response.end(answer());
      await t.rejects(only(swarm).put(each(four)), { ...unavailable, message }, name);
      t.match(only(swarm).status().problem, message, 'and the status says so');
    }
    await until(swarm, 'connected');
    proxy.onPut = (_, response) => {
      response.writeHead(200, { 'content-length': 1000 }).write('{"Key":');
      setTimeout(() => response.destroy(), 20);
    };
    await t.rejects(only(swarm).put(each(four)), unavailable, 'half a body');
    await until(swarm, 'connected');
    proxy.onPut = (_, response) => response.writeHead(500).end('{"Message":"out of cheese","Code":0,"Type":"error"}');
    await t.rejects(only(swarm).put(each(four)), { ...unavailable, message: /500: out of cheese/ });

    await until(swarm, 'connected');
    proxy.onPut = undefined;
    await only(swarm).put(each(batchOf(1).blocks));
    t.pass('and then it works again');
  });
});

test('what is not Kubo', async (t) => {
  const dataDir = await tempFolder(t);
  const answers: [name: string, answer: (response: ServerResponse) => unknown, reason: RegExp][] = [
    ['HTML', (response) => response.end('<!doctype html><title>Hello</title>'), /not that of a Kubo RPC API/],
    ['other JSON', (response) => response.end('{"hello":"world"}'), /not that of a Kubo RPC API/],
    ['not found', (response) => response.writeHead(404).end('no such page'), /404: no such page/],
  ];
  for (const [name, answer, reason] of answers) {
    await t.test(name, async (t) => {
      const server = createServer((request, response) => {
        request.resume();
        answer(response);
      });
      const swarm = open(t, { dataDir, apis: [await listen(t, server)], tuning: quick });
      t.match((await until(swarm, 'unreachable')).reason, reason);
      await t.rejects(only(swarm).put(each([])), unavailable);
    });
  }

  await t.test('a socket that accepts and never answers', async (t) => {
    const server = createTcpServer((socket) => socket.resume().on('error', () => undefined));
    const swarm = open(t, { dataDir, apis: [await listen(t, server)], tuning: quick });
    t.match((await until(swarm, 'unreachable')).reason, /no answer in time/);
  });

  await t.test('nobody yet, then Kubo', { skip: skipKubo }, async (t) => {
    const [port] = await freePorts(1);
    const swarm = open(t, { dataDir, apis: [`http://127.0.0.1:${port}`], tuning: quick });
    t.match((await until(swarm, 'unreachable')).reason, /connection refused/);
    const kubo = await startKuboNode();
    t.teardown(() => kubo.stop());
    await startProxy(t, kubo.url, port);
    await until(swarm, 'connected');
  });

  await t.test('an address that is none', async (t) => {
    t.throws(() => openSwarm({ dataDir, apis: ['localhost:5001'], log }), { code: 'bad-setting' });
  });
});

test('a node that wants to know who asks', { skip: skipKubo }, async (t) => {
  const secret = randomBytes(12).toString('hex');
  const config = { 'API.Authorizations': { bridge: { AuthSecret: `bearer:${secret}`, AllowedPaths: ['/api/v0'] } } };
  const kubo = await startKuboNode({ config });
  t.teardown(() => kubo.stop());
  const dataDir = await tempFolder(t);
  const stranger = open(t, { dataDir, apis: [kubo.url], tuning: quick });
  t.match((await until(stranger, 'unreachable')).reason, /403/);
  const swarm = open(t, { dataDir, apis: [kubo.url], authorization: `Bearer ${secret}` });
  await until(swarm, 'connected');
  const { blocks, record } = batchOf(1);
  await only(swarm).put(each(blocks));
  await only(swarm).pin(record.cid);
  t.ok(await only(swarm).isPinned(record.cid));
  t.ok((await swarm.get(record.cid))?.length);
  await only(swarm).unpin(record.cid);
  await only(swarm).unpin(record.cid);
  await only(swarm).collectGarbage();
  t.notOk(await only(swarm).has(record.cid), 'what is not pinned is gone');
});

test('a node that hangs holds up no read that another can answer', { skip: skipKubo }, async (t) => {
  const [first, second] = [await startKuboNode(), await startKuboNode()];
  t.teardown(() => Promise.all([first.stop(), second.stop()]));
  const proxy = await startTcpProxy(first.url);
  t.teardown(() => proxy.stop());
  const tuning = { getTimeoutMs: 600_000, probeTimeoutMs: 600_000, probeIntervalMs: 600_000 };
  const swarm = open(t, { dataDir: await tempFolder(t), apis: [proxy.url, second.url], tuning });
  for (const node of swarm.nodes) while (node.status().state !== 'connected') await sleep(10);
  const [both, there] = [block(RAW, randomBytes(1000)), block(RAW, randomBytes(1000))];
  for (const node of swarm.nodes) await node.put(each([both]));
  await (swarm.nodes[1] as SwarmNode).put(each([there]));
  proxy.set('hang');
  t.same(await swarm.get(both.cid), both.bytes, 'the other one is asked');
  proxy.set('pass');
  t.same(await swarm.get(there.cid), there.bytes);
});

test('two addresses of one node are one node', { skip: skipKubo }, async (t) => {
  const kubo = await startKuboNode();
  t.teardown(() => kubo.stop());
  const dataDir = await tempFolder(t);
  const proxy = await startProxy(t, kubo.url);
  const swarm = open(t, { dataDir, apis: [kubo.url, proxy.url], tuning: quick });
  await until(swarm, 'connected');
  for (let told = ''; !/the same node/.test(told); await sleep(20)) {
    told = (await swarm.status()).nodes.map(({ reason }) => reason).join();
  }
  t.equal((await swarm.status()).nodes.filter(({ state }) => state === 'connected').length, 1);
  t.throws(() => openSwarm({ dataDir, apis: [kubo.url, kubo.multiaddr], log }), {
    code: 'bad-setting',
    message: /twice/,
  });
});

test('a child that does not start is tried again less and less often', { skip: skipKubo }, async (t) => {
  const dataDir = await tempFolder(t);
  const repo = join(dataDir, 'kubo');
  await mkdir(repo);
  await writeFile(join(repo, 'swarm.key'), '/key/swarm/psk/1.0.0/\n/base16/\nabc\n');
  const warnings: unknown[] = [];
  const swarm = openSwarm({ dataDir, log: { ...log, warn: (_, fields) => warnings.push(fields) }, tuning: quick });
  t.teardown(() => swarm.close());
  t.match((await until(swarm, 'unreachable')).reason, /swarm key.*64 hexadecimal digits/);
  await sleep(300);
  t.equal(warnings.length, 1, 'it is told once');
  await rm(repo, { recursive: true });
  await until(swarm, 'connected');
});

test('no Kubo', async (t) => {
  const dataDir = await tempFolder(t);
  for (const [bin, reason] of [
    ['none', /none is configured/],
    ['/nonexistent/ipfs', /cannot be run/],
    [process.execPath, /cannot be run|something else/],
  ] as const) {
    const swarm = open(t, { dataDir, bin });
    t.match((await until(swarm, 'off')).reason, reason);
    const error = await only(swarm)
      .put(each([]))
      .catch((caught: unknown) => caught);
    t.ok(isDagpacsError(error, 'swarm-unavailable'));
  }
});
