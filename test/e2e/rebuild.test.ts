import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { type Bridge, projectRoot, startBridge } from '../fixtures/bridge.ts';
import { CHAIN_KEY, startChain, startFaultyNode } from '../fixtures/chain.ts';
import { corpusFiles, readCorpusFile } from '../fixtures/corpus.ts';
import { allBatches, custodyStatus } from '../fixtures/custody.ts';
import { makeSlice } from '../fixtures/dicom.ts';
import { skipKubo, startKuboNode } from '../fixtures/kubo.ts';
import { madeFiles } from '../fixtures/made-files.ts';
import { scanBytes } from '../fixtures/scanning.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

interface Counts {
  counts: { versions: number };
  stages: { stored: number; replicated: number; anchored: number; final: number };
}

function dagpacs(
  env: Record<string, string>,
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const options = { cwd: env.DAGPACS_DATA_DIR, env: { PATH: process.env.PATH, ...env } };
    execFile(process.execPath, [join(projectRoot, 'src/cli.ts'), ...args], options, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

/** Rebuilds, and is killed once there are so many bytes in the packs. */
async function killedAt(env: Record<string, string>, bytes: number): Promise<void> {
  const { DAGPACS_DATA_DIR: cwd = '' } = env;
  const child = spawn(process.execPath, [join(projectRoot, 'src/cli.ts'), 'rebuild'], {
    cwd,
    env: { PATH: process.env.PATH, ...env },
    stdio: 'ignore',
  });
  const ended = once(child, 'exit');
  while (child.exitCode === null && (await packBytes(cwd).catch(() => 0)) < bytes) await sleep(5);
  child.kill('SIGKILL');
  const [, signal] = await ended;
  if (signal !== 'SIGKILL') throw new Error('it was done before it was killed');
}

/** Waits until `done` says so of the bridge's status. */
async function until(bridge: Bridge, done: (status: Counts) => boolean): Promise<void> {
  for (let i = 0; ; i++) {
    const status = (await custodyStatus(bridge.url)) as Counts;
    if (done(status)) return;
    if (i === 1200) throw new Error(JSON.stringify(status));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Everything that the bridge answers about everything it holds, by path. */
async function allAnswers(bridge: Bridge): Promise<Map<string, string>> {
  const answers = new Map<string, string>();
  const get = async (path: string, base = bridge.dicomWeb) => {
    const response = await fetch(base + path);
    const type = response.headers.get('content-type') ?? '';
    const boundary = /boundary="?([^";]+)/.exec(type)?.[1] ?? '\0';
    const body = Buffer.from(await response.arrayBuffer()).toString('latin1');
    const text = body.replaceAll(bridge.url, '').replaceAll(boundary, '');
    answers.set(path, `${response.status} ${type.replace(boundary, '')} ${text}`);
    return text;
  };
  const uids = (text: string, tag: string) =>
    (JSON.parse(text) as Record<string, { Value?: string[] }>[]).map((row) => row[tag]?.Value?.[0] ?? '');
  await get('/series?includefield=all&limit=10000');
  const instances = uids(await get('/instances?includefield=all&limit=10000'), '00080018');
  for (const study of uids(await get('/studies?includefield=all&limit=10000'), '0020000D')) {
    await get(`/studies/${study}/metadata`);
    await get(`/studies/${study}`);
  }
  for (const instance of instances) {
    await get(`/custody/instances/${instance}/receipts`, bridge.url);
    const custody = JSON.parse(await get(`/custody/instances/${instance}`, bridge.url)) as {
      versions: { version: number }[];
    };
    for (const { version } of custody.versions)
      await get(`/custody/instances/${instance}/versions/${version}`, bridge.url);
    // Stages and confirmations hold the times at which this bridge learnt of them.
    answers.set(
      `/custody/instances/${instance}`,
      JSON.stringify(custody.versions.map((v) => ({ ...v, stage: 0, stages: 0, confirmations: 0 }))),
    );
  }
  return answers;
}

/** Bytes of all packs. */
async function packBytes(dataDir: string): Promise<number> {
  const blocks = join(dataDir, 'blocks');
  const packs = (await readdir(blocks)).filter((name) => name.endsWith('.car'));
  const sizes = await Promise.all(packs.map(async (name) => (await stat(join(blocks, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function compare(t: Test, before: Map<string, string>, after: Map<string, string>): void {
  t.strictSame([...after.keys()], [...before.keys()], `${before.size} resources`);
  const changed = [...before].filter(([path, answer]) => after.get(path) !== answer).map(([path]) => path);
  t.strictSame(changed, [], 'the same answers, byte for byte');
}

test('a lost bridge comes back from the chain, IPFS and the backup of its keys', { skip: skipKubo }, async (t) => {
  const chain = await startChain(t);
  const kubo = await startKuboNode();
  t.teardown(() => kubo.stop());
  const dataDir = await tempFolder(t);
  const env = {
    DAGPACS_DATA_DIR: dataDir,
    DAGPACS_CHAIN_RPC: chain.url,
    DAGPACS_CHAIN_KEY: CHAIN_KEY,
    DAGPACS_CHAIN_PROFILE: 'anvil',
    DAGPACS_KUBO_API: kubo.url,
    DAGPACS_ANCHOR_MAX_AGE_MS: '200',
    DAGPACS_ANCHOR_MAX_BATCH: '40',
  };
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  const renamed = makeSlice({ study: 'again', instance: 1, patientName: 'Phantom^Renamed' });
  const large = makeSlice({ study: 'again', instance: 2, rows: 1100, columns: 1100 });
  const files = [
    ...madeFiles().map((file) => file.bytes()),
    makeSlice({ study: 'again', instance: 1 }),
    large,
    renamed,
  ];
  const deleted = makeSlice({ study: 'deleted', rows: 16, columns: 16 });
  files.push(deleted);
  const loaded = [...corpusFiles().map(readCorpusFile), ...files];
  for (let at = 0; at < loaded.length; at += 20) await stow(bridge.dicomWeb, loaded.slice(at, at + 20));
  const { studyInstanceUID } = await scanBytes(deleted);
  const deletion = await fetch(`${bridge.dicomWeb}/studies/${studyInstanceUID}`, { method: 'DELETE' });
  t.equal(deletion.status, 204);
  await until(bridge, ({ counts, stages }) => stages.final === counts.versions);
  for (let i = 0; ; i++) {
    const batches = (await allBatches(bridge.url)) as { replicatedAt?: string | null }[];
    if (batches.every(({ replicatedAt }) => replicatedAt !== null)) break;
    if (i === 600) throw new Error('not replicated');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const before = await allAnswers(bridge);
  t.notOk(before.has(`/studies/${studyInstanceUID}`), 'what was deleted is not found, and so it stays');
  await bridge.stop();

  const folder = await tempFolder(t);
  const [passphrase, backup] = [join(folder, 'passphrase'), join(folder, 'keys.backup')];
  await writeFile(passphrase, 'correct horse battery staple\n');
  t.match(await dagpacs(env, 'vault', 'backup', '--out', backup, '--passphrase-file', passphrase), { code: 0 });
  const packs = join(folder, 'packs');
  await cp(join(dataDir, 'blocks'), packs, { recursive: true });
  const empty = async () => {
    await rm(dataDir, { recursive: true });
    await cp(folder, dataDir, { recursive: true, filter: (path) => path === folder });
  };

  await t.test('lazily: the pixels stay in the swarm until they are asked for', async (t) => {
    const whole = await packBytes(dataDir);
    const lazily = async () => {
      await empty();
      await dagpacs(env, 'vault', 'restore', '--from', backup, '--passphrase-file', passphrase);
      const outcome = await dagpacs(env, 'rebuild', '--lazy');
      t.match(outcome, { code: 0, stdout: /no gaps/ });
      t.comment(`lazily from Kubo: ${outcome.stdout.split('\n')[0]}`);
      t.ok((await packBytes(dataDir)) < whole / 2, 'most bytes are not here');
    };
    await lazily();
    bridge = await startBridge({ dataDir, env });
    compare(t, before, await allAnswers(bridge));
    await bridge.stop();
    await lazily();
    t.match(await dagpacs(env, 'rebuild', '--full'), { code: 0, stdout: /no gaps/ });
    t.ok((await packBytes(dataDir)) >= 0.99 * whole, 'a full one fetches what was left out');
    t.match(await dagpacs(env, 'rebuild', '--lazy', '--car', packs), { code: 2, stderr: /--car/ });
  });

  await empty();
  t.match(await dagpacs(env, 'rebuild'), { code: 2, stderr: /vault restore/ }, 'not without the keys');
  t.match(await dagpacs(env, 'vault', 'restore', '--from', backup, '--passphrase-file', passphrase), { code: 0 });
  const pruned = await startFaultyNode(t, () => chain.url);
  pruned.fault('no-events');
  const blind = await dagpacs({ ...env, DAGPACS_CHAIN_RPC: pruned.url }, 'rebuild');
  t.match(blind, { code: 2, stderr: /leaves out anchor 0/ }, 'what a node does not tell is not taken for nothing');
  for (const bytes of [1, 4e6, 12e6]) await killedAt(env, bytes);
  const outcome = await dagpacs(env, 'rebuild');
  t.match(outcome, { code: 0, stdout: /no gaps/ }, 'it goes on where it was killed, three times');
  t.comment(`from Kubo: ${outcome.stdout.split('\n')[0]}`);
  t.match(await dagpacs(env, 'rebuild'), { code: 0 }, 'a second run finds all there');
  bridge = await startBridge({ dataDir, env });
  compare(t, before, await allAnswers(bridge));
  const again = makeSlice({ study: 'again', instance: 3 });
  t.equal((await stow(bridge.dicomWeb, [again])).status, 200);
  await until(bridge, ({ counts, stages }) => stages.final === counts.versions);
  await bridge.stop();

  await t.test('from the packs, with one cut short', async (t) => {
    await empty();
    t.match(await dagpacs(env, 'vault', 'restore', '--from', backup, '--passphrase-file', passphrase), { code: 0 });
    const partial = await dagpacs({ ...env, DAGPACS_KUBO_API: '' }, 'rebuild', '--car', packs);
    // The last instance was stored after the packs were taken.
    t.match(partial, { code: 1, stdout: /gap: batch \d+ bafy\S+: the block is not in the archive\n.*\n1 gaps/s });
    t.comment(`from packs: ${partial.stdout.split('\n').find((line) => line.includes('/s'))}`);
    bridge = await startBridge({ dataDir, env: { ...env, DAGPACS_KUBO_API: '', DAGPACS_KUBO_BIN: 'none' } });
    compare(t, before, await allAnswers(bridge));
    await bridge.stop();
  });

  await t.test('a block that is gone and a key that was erased are gaps, each by its reference', async (t) => {
    await empty();
    t.match(await dagpacs(env, 'vault', 'restore', '--from', backup, '--passphrase-file', passphrase), { code: 0 });
    const studies = join(dataDir, 'vault', 'studies');
    const [erased = ''] = await readdir(studies);
    await rename(join(studies, erased), join(folder, 'erased'));
    const outcome = await dagpacs(env, 'rebuild');
    t.equal(outcome.code, 1);
    t.match(
      outcome.stdout,
      /gap: batch \d+ bafy\S+ of study 0x[0-9a-f]{64}: the study key of an instance node is not in the vault/,
    );
  });
});
