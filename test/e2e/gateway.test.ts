import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'tap';
import { type Bridge, projectRoot, startBridge } from '../fixtures/bridge.ts';
import { carBlocks } from '../fixtures/car-blocks.ts';
import { dagpacs } from '../fixtures/command.ts';
import { type CustodyInstance, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { skipKubo, startKuboNode } from '../fixtures/kubo.ts';
import { startRetrievingKubo } from '../fixtures/retrieving-kubo.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

const run = promisify(execFile);
const RAW = 'application/vnd.ipld.raw';
const CAR = 'application/vnd.ipld.car';
const LEAF = 1_048_576;

interface Answer {
  status: number;
  headers: Headers;
  body: Buffer;
}

async function ask(url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  const response = await fetch(url, { headers, method });
  return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) };
}

/** One raw block, and a file of three leaves. */
async function load(bridge: Bridge): Promise<{ record: string; small: CustodyInstance; large: CustodyInstance }> {
  const slices = [
    makeSlice({ study: 'gateway', instance: 1, rows: 64, columns: 64 }),
    makeSlice({ study: 'gateway', instance: 2, rows: 1100, columns: 1100 }),
  ];
  const { status } = await stow(bridge.dicomWeb, slices);
  if (status !== 200) throw new Error(`STOW answered ${status}`);
  const uids = [1, 2].map((instance) => uid('instance', 'gateway', 'CT', 1, instance));
  const [small, large] = (await untilStage(bridge.url, uids, 'anchored')) as [CustodyInstance, CustodyInstance];
  return { record: small.versions[0]?.anchor?.record ?? '', small, large };
}

function isBlock(cid: string, bytes: Buffer): boolean {
  return [...carBlocks(sectionOf(bytes))].some(([found]) => found.slice(5) === cid.slice(5)) || bytes.length === 0;
}

/** Bytes as a CAR file of one raw block, so that its name is made by the reader of the tests. */
function sectionOf(bytes: Buffer): Buffer {
  const digest = createHash('sha256').update(bytes).digest();
  const cid = Buffer.concat([Buffer.from([1, 0x55, 0x12, 0x20]), digest]);
  const length: number[] = [];
  for (let rest = cid.length + bytes.length; ; rest = Math.floor(rest / 128)) {
    length.push(rest < 128 ? rest : (rest % 128) | 128);
    if (rest < 128) break;
  }
  return Buffer.concat([Buffer.from([1, 0]), Buffer.from(length), cid, bytes]);
}

test('the gateway as its specification has it', async (t) => {
  const dataDir = await tempFolder(t);
  const bridge = await startBridge({ dataDir, env: { DAGPACS_ANCHOR_MAX_AGE_MS: '100' } });
  t.teardown(() => bridge.stop());
  const { record, small, large } = await load(bridge);
  const object = large.versions[0]?.cid ?? '';
  const ipfs = `${bridge.url}/ipfs`;

  const raw = await ask(`${ipfs}/${record}?format=raw`);
  t.equal(raw.status, 200);
  t.ok(isBlock(record, raw.body), 'the bytes are those that the CID names');
  const expected = {
    'content-type': RAW,
    'content-length': String(raw.body.length),
    'content-disposition': `attachment; filename="${record}.bin"`,
    'cache-control': 'public, max-age=29030400, immutable',
    'x-content-type-options': 'nosniff',
    'x-ipfs-path': `/ipfs/${record}`,
    'x-ipfs-roots': record,
    etag: `"${record}.raw"`,
  };
  t.match(Object.fromEntries(raw.headers), expected);
  t.notOk(raw.headers.has('content-location'), 'the URL says it all');
  const head = await ask(`${ipfs}/${record}?format=raw`, {}, 'HEAD');
  t.match(Object.fromEntries(head.headers), expected, 'HEAD says the same');
  t.equal(head.body.length, 0);
  const byAccept = await ask(`${ipfs}/${record}`, { accept: `text/html, ${RAW}` });
  t.equal(byAccept.headers.get('content-location'), `${ipfs}/${record}?format=raw`);
  t.ok(byAccept.body.equals(raw.body));
  const range = await ask(`${ipfs}/${record}?format=raw`, { range: 'bytes=10-19' });
  t.equal(range.status, 206);
  t.ok(range.body.equals(raw.body.subarray(10, 20)));

  for (const tag of [expected.etag, `W/${expected.etag}`, `"other", ${expected.etag}`, '*']) {
    const answer = await ask(`${ipfs}/${record}?format=raw`, { 'if-none-match': tag });
    t.equal(answer.status, 304, tag);
    t.equal(answer.headers.get('cache-control'), expected['cache-control']);
  }

  const car = await ask(`${ipfs}/${record}?format=car`, { accept: '*/*' });
  t.equal(car.headers.get('content-type'), `${CAR}; version=1; order=dfs; dups=n`);
  t.equal(car.headers.get('content-disposition'), `attachment; filename="${record}.car"`);
  const blocks = [...carBlocks(car.body)];
  t.equal(blocks[0]?.[0], record, 'depth first, the root before all');
  t.equal(blocks.length, 1 + 2 + 1 + 1 + 3, 'record, nodes, one raw object, one file of three leaves');
  for (const [cid, bytes] of blocks) t.ok(isBlock(cid, bytes), cid);
  const dups = await ask(`${ipfs}/${record}`, { accept: `${CAR}; order=bfs, ${CAR}; order=dfs; dups=y; q=0.5` });
  t.equal(dups.headers.get('content-type'), `${CAR}; version=1; order=dfs; dups=y`, 'the first that there is');
  t.ok(dups.body.equals(car.body), 'nothing occurs twice');
  t.not(dups.headers.get('etag'), car.headers.get('etag'));

  const names = async (query: string) => {
    const { status, body } = await ask(`${ipfs}/${query}`);
    t.equal(status, 200, query);
    return [...carBlocks(body)].map(([cid]) => cid);
  };
  const file = await names(`${object}?format=car&dag-scope=entity`);
  t.equal(file.length, 4);
  t.strictSame(await names(`${object}?format=car&dag-scope=block`), [object]);
  t.strictSame(await names(`${record}?format=car&dag-scope=entity`), [record], 'what is no file is its block');
  t.strictSame(await names(`${object}?format=car&entity-bytes=0:*`), file);
  t.strictSame(await names(`${object}?format=car&entity-bytes=${LEAF}:${LEAF}`), [object, file[2]]);
  t.strictSame(await names(`${object}?format=car&entity-bytes=${LEAF - 1}:${LEAF}`), file.slice(0, 3));
  t.strictSame(await names(`${object}?format=car&entity-bytes=-1:*`), [object, file[3]]);
  t.strictSame(await names(`${object}?format=car&entity-bytes=0:-${LEAF * 2}`), [object, file[1]]);
  t.strictSame(await names(`${object}?format=car&entity-bytes=10:-${LEAF * 9}`), [object], 'nothing of it');
  const at = large.versions[0]?.anchor?.leafIndex ?? 0;
  const path = await names(`${record}/leaves/${at}/object?format=car&dag-scope=block`);
  t.strictSame([path.length, path[0], path[2]], [3, record, object], 'the path is in it');

  const probe = await ask(`${ipfs}/bafkqaaa?format=raw`);
  t.strictSame([probe.status, probe.body.length], [200, 0]);
  t.equal((await ask(`${ipfs}/bafkqaaa?format=car`)).status, 200);
  t.equal((await ask(`${ipfs}/bafkqaaa`, { accept: RAW }, 'HEAD')).status, 200);

  const absent = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
  for (const [query, headers, status] of [
    [`${absent}?format=raw`, {}, 404],
    [`${absent}?format=car`, {}, 404],
    [`${absent}?format=raw`, { 'cache-control': 'only-if-cached' }, 412],
    [`${record}?format=raw`, { 'cache-control': 'only-if-cached' }, 200],
    ['bafkqaatine?format=raw', {}, 404],
    ['no-cid?format=raw', {}, 400],
    [`${record}`, { accept: '*/*' }, 406],
    [`${record}`, { accept: 'text/html' }, 406],
    [`${record}?format=tar`, {}, 406],
    [`${record}?format=car`, { accept: `${CAR}; version=2` }, 406],
    [`${record}?format=car&car-version=2`, {}, 400],
    [`${record}?format=car&dag-scope=most`, {}, 400],
    [`${record}?format=car&entity-bytes=5:1`, {}, 400],
    [`${object}?format=car&entity-bytes=${LEAF * 9}:*`, {}, 400],
    [`${record}/leaves?format=raw`, {}, 400],
    [`${record}/leaves/99?format=car`, {}, 404],
    [`${object}/x?format=car`, {}, 404],
    [`${record}/closedAt?format=car`, {}, 501],
    [`${record}?format=raw`, { 'service-worker': 'script' }, 400],
    [`${record}?format=raw`, { 'x-forwarded-for': '192.0.2.1' }, 403],
  ] as [string, Record<string, string>, number][]) {
    const answer = await ask(`${ipfs}/${query}`, { accept: '', ...headers });
    t.equal(answer.status, status, `${query} ${JSON.stringify(headers)}`);
    if (status < 400) continue;
    t.match(answer.headers.get('content-type'), /^application\/problem\+json/);
    t.notMatch(answer.headers.get('cache-control') ?? '', /immutable|public/);
    t.notOk(answer.headers.has('etag'));
  }
  t.equal((await ask(`${ipfs}/${record}`, {}, 'POST')).status, 405);
  const named = await ask(`${ipfs}/${record}?format=raw&filename=${encodeURIComponent('Röntgen".bin')}`);
  t.equal(
    named.headers.get('content-disposition'),
    `attachment; filename="R_ntgen_.bin"; filename*=UTF-8''R%C3%B6ntgen%22.bin`,
  );

  await t.test('ipfs-car unpacks a sealed object, block by block verified', async (t) => {
    const folder = await tempFolder(t);
    const path = join(folder, 'object.car');
    await writeFile(path, (await ask(`${ipfs}/${object}?format=car`)).body);
    const out = join(folder, 'out');
    const bin = join(projectRoot, 'node_modules', 'ipfs-car', 'bin.js');
    await run(process.execPath, [bin, 'unpack', path, '--output', out, '--root', object, '--verify']);
    t.equal((await readFile(out)).length > 2 * LEAF, true);
  });

  await t.test('a damaged block is never given out, and cuts the stream that needs it', async (t) => {
    const [first] = (await readdir(join(bridge.dataDir, 'blocks'))).filter((name) => name.endsWith('.car'));
    const pack = join(bridge.dataDir, 'blocks', first ?? '');
    const bytes = await readFile(pack);
    const victim = blocks.find(([cid]) => cid === file[3]);
    const place = bytes.indexOf(victim?.[1] ?? 'none') + 100;
    bytes[place] = (bytes[place] as number) ^ 1;
    await writeFile(pack, bytes);
    const damaged = await ask(`${ipfs}/${file[3]}?format=raw`);
    t.equal(damaged.status, 500);
    t.match(JSON.parse(damaged.body.toString()), { type: 'urn:dagpacs:error:block-damaged' });
    await t.rejects(ask(`${ipfs}/${object}?format=car`), 'cut, not ended');
    t.equal((await ask(`${ipfs}/${file[1]}?format=raw`)).status, 200, 'others are not touched');
    t.equal((await ask(`${ipfs}/${small.versions[0]?.cid}?format=raw`)).status, 200);
  });

  await t.test('an instance that was erased is gone', async (t) => {
    const [, node] = path;
    t.equal((await ask(`${ipfs}/${node}?format=raw`)).status, 200);
    await bridge.stop();
    t.match(await dagpacs(dataDir, ['erase', uid('study', 'gateway')]), { code: 0 });
    const after = await startBridge({ dataDir });
    t.teardown(() => after.stop());
    const gone = await ask(`${after.url}/ipfs/${node}?format=raw`);
    t.equal(gone.status, 410);
    t.match(JSON.parse(gone.body.toString()), { type: 'urn:dagpacs:error:withheld' });
    t.equal((await ask(`${after.url}/ipfs/${node}/object?format=car`)).status, 410);
    t.equal((await ask(`${after.url}/ipfs/${record}?format=raw`)).status, 200, 'the record proves the rest');
    t.match(await dagpacs(dataDir, ['scrub']), { code: 0, stdout: /^0 versions[\s\S]*orphaned: [1-9]/ });
  });
});

test('a Kubo gets a batch from the gateway, and imports its CAR', { skip: skipKubo }, async (t) => {
  const bridge = await startBridge({ env: { DAGPACS_ANCHOR_MAX_AGE_MS: '100' } });
  t.teardown(() => bridge.stop());
  const { record } = await load(bridge);
  const { body } = await ask(`${bridge.url}/ipfs/${record}?format=car`);
  const mine = new Map(carBlocks(body));

  const retrieving = await startRetrievingKubo(Number(new URL(bridge.url).port));
  t.teardown(() => retrieving.stop());
  await retrieving.ipfs('pin', 'add', record);
  const reached = (await retrieving.ipfs('refs', '--offline', '--recursive', '--unique', record))
    .toString()
    .split('\n');
  t.strictSame(new Set([record, ...reached.filter((line) => line !== '')]), new Set(mine.keys()), 'all, over HTTP');

  const node = await startKuboNode();
  t.teardown(() => node.stop());
  const path = join(await tempFolder(t), 'record.car');
  await writeFile(path, body);
  const imported = (await node.ipfs('dag', 'import', '--pin-roots=true', '--stats', path)).toString();
  t.match(imported, new RegExp(`Pinned root\\s+${record}\\s+success`));
  for (const [cid, bytes] of mine) {
    t.ok(bytes.equals(await node.ipfs('block', 'get', '--offline', cid)), `${cid} is the same there`);
  }
});

test('beyond this machine the gateway answers only when it is told to', async (t) => {
  for (const [setting, from, status] of [
    ['off', {}, 404],
    ['on', { 'x-forwarded-for': '192.0.2.1' }, 200],
  ] as const) {
    const bridge = await startBridge({ env: { DAGPACS_GATEWAY: setting } });
    t.equal((await ask(`${bridge.url}/ipfs/bafkqaaa?format=raw`, from)).status, status, setting);
    await bridge.stop();
  }
});
