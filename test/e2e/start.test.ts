import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { type Bridge, isAlive, spawnBridge, startBridge } from '../fixtures/bridge.ts';
import { custodyOf, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { listeners, processTree } from '../fixtures/processes.ts';
import { multipartOf, retrieve, stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

const small = { rows: 32, columns: 32 };
const skipProc = process.platform === 'linux' ? false : 'needs /proc';

function sopOf(study: string, instance: number): string {
  return uid('instance', study, 'CT', 1, instance);
}

/** Waits until none of the processes is there. */
async function untilGone(pids: readonly number[]): Promise<number[]> {
  for (let tries = 0; tries < 100 && pids.some(isAlive); tries++) await sleep(50);
  return pids.filter(isAlive);
}

test('npm start: lines, loopback, Ctrl-C', { skip: skipProc }, async (t) => {
  const dataDir = await tempFolder(t);
  const before = performance.now();
  const bridge = await startBridge({ dataDir, command: ['npm', 'start'] });
  t.teardown(() => bridge.stop());
  t.comment(`ready after ${Math.round(performance.now() - before)} ms`);

  // The lines come once chain and swarm had a moment to come up.
  for (let tries = 0; tries < 200 && !bridge.output().stdout.includes('not configured'); tries++) await sleep(50);
  const { stdout } = bridge.output();
  t.ok(stdout.includes(`${bridge.url}/dicom-web`), 'where to read from');
  t.ok(stdout.includes(`${bridge.dimse.aeTitle}@${bridge.dimse.host}:${bridge.dimse.port}`), 'where to push to');
  t.ok(stdout.includes(dataDir), 'which data directory');
  t.match(stdout, /chain/i, 'which chain');
  t.match(stdout, /swarm/i, 'which swarm');
  t.match(stdout, /not configured: /, 'and what is not configured');
  t.ok(stdout.trim().split('\n').length < 25, 'in a few lines');

  const pids = processTree(bridge.pid);
  const listening = listeners(pids);
  t.ok(listening.length >= 2, listening.join(' '));
  t.strictSame(
    listening.filter((address) => !/^(127\.|\[0000:0000:0000:0000:0000:0000:0000:0001\])/.test(address)),
    [],
    'nothing listens beyond loopback',
  );

  bridge.signalGroup('SIGINT');
  await bridge.exited;
  t.strictSame(await untilGone(pids), [], 'no process is left');
  t.notMatch(bridge.output().stderr, /\n\s+at /, 'no stack trace');
});

test('a second start takes up where the first was', { skip: skipProc }, async (t) => {
  const dataDir = await tempFolder(t);
  const env = { DAGPACS_ANCHOR_MAX_AGE_MS: '100' };
  const [first, second] = [
    makeSlice({ ...small, study: 'start', instance: 1 }),
    makeSlice({ ...small, study: 'start', instance: 2 }),
  ];
  const path = `/studies/${uid('study', 'start')}/series/${uid('series', 'start', 'CT', 1)}/instances/`;

  const one = await startBridge({ dataDir, env });
  t.teardown(() => one.stop());
  t.equal((await stow(one.dicomWeb, [first])).status, 200);
  const [before] = await untilStage(one.url, [sopOf('start', 1)], 'anchored');
  const pids = processTree(one.pid);
  t.strictSame(await one.stop(), { code: 0, signal: null }, 'SIGTERM ends it well');
  t.strictSame(await untilGone(pids), [], 'no process is left');

  const two = await startBridge({ dataDir, env });
  t.teardown(() => two.stop());
  const [part] = await retrieve(two.dicomWeb, path + sopOf('start', 1));
  t.ok(part?.body.equals(first), 'the bytes are there');
  const after = await custodyOf(two.url, sopOf('start', 1));
  t.strictSame(after.versions[0]?.anchor, before?.versions[0]?.anchor, 'the anchor is the same');
  t.equal((await stow(two.dicomWeb, [second])).status, 200);
  const [next] = await untilStage(two.url, [sopOf('start', 2)], 'anchored');
  t.equal(next?.versions[0]?.anchor?.contract, before?.versions[0]?.anchor?.contract, 'on the same contract');
  t.not(next?.versions[0]?.anchor?.batch, before?.versions[0]?.anchor?.batch, 'in a batch of its own');
});

/** Ends a bridge while it takes an instance in. */
async function endsWell(t: Test, bridge: Bridge, end: () => void): Promise<void> {
  const pids = processTree(bridge.pid);
  const { contentType, body } = multipartOf([makeSlice({ ...small, study: 'drain' })]);
  const outgoing = request(`${bridge.dicomWeb}/studies`, {
    method: 'POST',
    headers: { 'content-type': contentType, 'content-length': body.length, accept: 'application/dicom+json' },
  });
  const answered = once(outgoing, 'response');
  outgoing.write(body.subarray(0, body.length / 2));
  await sleep(300);
  end();
  await sleep(300);
  outgoing.end(body.subarray(body.length / 2));
  const [response] = await answered;
  response.resume();
  t.equal(response.statusCode, 200);
  await bridge.exited;
  t.strictSame(await untilGone(pids), [], 'no process is left');
}

test('SIGTERM lets a request that is under way end', { skip: skipProc }, async (t) => {
  const bridge = await startBridge({ dataDir: await tempFolder(t) });
  t.teardown(() => bridge.stop());
  await endsWell(t, bridge, () => process.kill(bridge.pid, 'SIGTERM'));
  t.equal((await bridge.exited).code, 0);
});

test('so does SIGTERM to npm alone, as a supervisor sends it', { skip: skipProc }, async (t) => {
  const bridge = await startBridge({ dataDir: await tempFolder(t), command: ['npm', 'start'] });
  t.teardown(() => bridge.stop());
  await endsWell(t, bridge, () => process.kill(bridge.pid, 'SIGTERM'));
});

test('so does Ctrl-C, which npm passes on once more', { skip: skipProc }, async (t) => {
  const bridge = await startBridge({ dataDir: await tempFolder(t), command: ['npm', 'start'] });
  t.teardown(() => bridge.stop());
  await endsWell(t, bridge, () => bridge.signalGroup('SIGINT'));
});

test('nobody reads what it prints', { skip: skipProc }, async (t) => {
  const dataDir = await tempFolder(t);
  const command = `"${process.execPath}" src/main.ts 2>&1 | head -c 1`;
  const bridge = await startBridge({ dataDir, command: ['sh', '-c', command] });
  t.teardown(() => bridge.stop());
  // Each is logged.
  for (let i = 0; i < 3; i++) t.equal((await stow(bridge.dicomWeb, [Buffer.from('no DICOM')])).status, 409);
  t.equal((await fetch(`${bridge.url}/health/ready`)).status, 200);
  const announcement = join(dataDir, 'bridge.json');
  process.kill((JSON.parse(await readFile(announcement, 'utf8')) as { pid: number }).pid, 'SIGTERM');
  await bridge.exited;
  t.notOk(existsSync(announcement), 'it ended in order');
});

test('two bridges on one data directory', async (t) => {
  const bridge = await startBridge();
  t.teardown(() => bridge.stop());
  const second = await spawnBridge({ dataDir: bridge.dataDir });
  const { code } = await second.exited;
  const { stdout, stderr } = second.output();
  t.equal(code, 2);
  t.ok((stdout + stderr).includes(bridge.dataDir), 'the message names the directory');
  t.match(stdout + stderr, /another|already|in use|locked/i);
  t.notMatch(stdout + stderr, /\n\s+at /, 'no stack trace');
  t.equal((await fetch(`${bridge.url}/health/ready`)).status, 200, 'the first goes on');
});

for (const setting of ['DAGPACS_HTTP_PORT', 'DAGPACS_DIMSE_PORT']) {
  test(`${setting} is taken`, { skip: skipProc }, async (t) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.teardown(() => server.close());
    const port = String((server.address() as AddressInfo).port);
    const dataDir = await tempFolder(t);
    const bridge = await spawnBridge({ dataDir, env: { [setting]: port } });
    await sleep(300);
    const pids = processTree(bridge.pid);
    const { code } = await bridge.exited;
    const { stdout, stderr } = bridge.output();
    t.equal(code, 2);
    t.match(stdout + stderr, port, 'the message names the port');
    t.match(stdout + stderr, setting, 'and the setting');
    t.notMatch(stdout + stderr, /\n\s+at /, 'no stack trace');
    t.strictSame(await untilGone(pids), [], 'no process is left');
  });
}

test('a setting with a bad value', async (t) => {
  const bridge = await spawnBridge({ dataDir: await tempFolder(t), env: { DAGPACS_ANCHOR_MAX_BATCH: 'many' } });
  const { code } = await bridge.exited;
  const { stdout, stderr } = bridge.output();
  t.equal(code, 2);
  t.match(stdout + stderr, 'DAGPACS_ANCHOR_MAX_BATCH');
  t.notMatch(stdout + stderr, /\n\s+at /, 'no stack trace');
});
