import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { projectRoot, startBridge } from '../fixtures/bridge.ts';
import { untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { daemonOf, ipfs, type KuboNode, newSwarmKey, skipKubo, startKuboNode } from '../fixtures/kubo.ts';
import { packBlocks } from '../fixtures/packs.ts';
import { retrieve, stow } from '../fixtures/stow.ts';
import { untilSwarm } from '../fixtures/swarm-status.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { tempFolder } from '../fixtures/temp.ts';

function dagpacs(env: Record<string, string>, ...args: string[]): Promise<{ code: number; stdout: string }> {
  return new Promise((resolve) => {
    const options = { cwd: projectRoot, env: { PATH: process.env.PATH, ...env } };
    execFile(process.execPath, ['src/cli.ts', ...args], options, (error, stdout) => {
      resolve({ code: error ? Number(error.code) : 0, stdout });
    });
  });
}

function holds(node: KuboNode, cids: readonly string[]): Promise<boolean[]> {
  const isThere = (cid: string) =>
    node.ipfs('block', 'stat', '--offline', cid).then(
      () => true,
      () => false,
    );
  return Promise.all(cids.map(isThere));
}

/** Whether any file but the packs has a text in it. */
async function mentions(folder: string, text: string): Promise<boolean> {
  for (const name of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!name.isFile() || name.name.endsWith('.car')) continue;
    if ((await readFile(join(name.parentPath, name.name))).includes(text)) return true;
  }
  return false;
}

test('an erased study is gone here and on every node, and its neighbours stay', { skip: skipKubo }, async (t) => {
  const swarmKey = newSwarmKey();
  const nodes = [await startKuboNode({ swarmKey }), await startKuboNode({ swarmKey })] as const;
  t.teardown(() => Promise.all(nodes.map((node) => node.stop())));
  const proxy = await startTcpProxy(nodes[1].url);
  t.teardown(() => proxy.stop());
  const dataDir = await tempFolder(t);
  const env = {
    DAGPACS_DATA_DIR: dataDir,
    DAGPACS_KUBO_API: `${nodes[0].url},${proxy.url}`,
    DAGPACS_ANCHOR_MAX_AGE_MS: '1500',
  };
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  const kept = makeSlice({ study: 'kept', rows: 64, columns: 64 });
  const patientName = 'Forgotten^Fiona';
  // The second is a file of several leaves.
  const gone = [64, 1100].map((edge, i) =>
    makeSlice({ study: 'gone', instance: i + 1, rows: edge, columns: edge, patientName }),
  );
  await stow(bridge.dicomWeb, [gone[0] as Buffer, kept, gone[1] as Buffer]);
  const sops = [uid('instance', 'kept', 'CT', 1, 1), ...[1, 2].map((i) => uid('instance', 'gone', 'CT', 1, i))];
  const custody = await untilStage(bridge.url, sops, 'replicated');
  await untilStage(bridge.url, sops, 'anchored');
  const [stays = '', ...goes] = custody.map(({ versions }) => versions[0]?.cid ?? '');
  t.strictSame(await holds(nodes[1], [stays, ...goes]), [true, true, true]);

  t.match(await dagpacs(env, 'erase', uid('study', 'gone')), { code: 2 }, 'not while the bridge runs');
  await bridge.stop();
  t.ok(await mentions(dataDir, patientName));
  t.match(await dagpacs(env, 'erase', '1.2.3'), { code: 2 }, 'what is not held');
  proxy.set('refuse');
  const told = await dagpacs(env, 'erase', uid('study', 'gone'));
  t.match(told, {
    code: 1,
    stdout:
      /2 versions erased[\s\S]*1 batches unpinned[\s\S]*here: [1-9]\d{6} bytes[\s\S]*not reached: node \S+, which still holds 1/,
  });
  const here = await packBlocks(dataDir);
  t.strictSame(
    [stays, ...goes].map((cid) => here.has(cid)),
    [true, false, false],
    'the local packs',
  );
  t.notOk(await mentions(dataDir, patientName), 'no file but the sealed packs mentions the patient');
  t.strictSame(await holds(nodes[0], [stays, ...goes]), [true, false, false], 'the node that was reached');

  bridge = await startBridge({ dataDir, env });
  const { owed } = await untilSwarm(bridge, ({ nodes: all }) => all[0]?.state === 'connected');
  t.match(owed, [{ batches: 1 }], 'the status says what is owed');
  t.equal((await fetch(`${bridge.dicomWeb}/studies/${uid('study', 'gone')}`)).status, 404);
  const [part] = await retrieve(bridge.dicomWeb, `/studies/${uid('study', 'kept')}`);
  t.ok(part?.body.equals(kept));
  await untilStage(bridge.url, sops.slice(0, 1), 'anchored');
  t.equal((await fetch(`${bridge.url}/custody/instances/${sops[0]}/receipt`)).status, 200, 'the neighbour is provable');
  proxy.set('pass');
  await untilSwarm(bridge, (swarm) => swarm.owed.length === 0);
  t.strictSame(await holds(nodes[1], [stays, ...goes]), [true, false, false], 'the other, when it is reached');
  await untilSwarm(bridge, ({ waiting }) => waiting === 0);
  t.equal((await stow(bridge.dicomWeb, gone)).stored.length, 2, 'it may be sent again, as a new study');
});

test("the bridge's own Kubo forgets at once", { skip: skipKubo }, async (t) => {
  const dataDir = await tempFolder(t);
  const env = { DAGPACS_DATA_DIR: dataDir, DAGPACS_ANCHOR_MAX_AGE_MS: '100' };
  const bridge = await startBridge({ dataDir, env, kubo: true });
  t.teardown(() => bridge.stop());
  await stow(bridge.dicomWeb, [makeSlice({ study: 'gone', rows: 64, columns: 64 })]);
  const [custody] = await untilStage(bridge.url, [uid('instance', 'gone', 'CT', 1, 1)], 'replicated');
  await bridge.stop();
  const repo = join(dataDir, 'kubo');
  const cid = custody?.versions[0]?.cid ?? '';
  t.ok((await ipfs(repo, 'block', 'stat', '--offline', cid)).length > 0);
  t.match(await dagpacs(env, 'erase', uid('study', 'gone')), { code: 0, stdout: /child: 1 batches unpinned/ });
  await t.rejects(ipfs(repo, 'block', 'stat', '--offline', cid), 'it is gone from its repository');
  t.equal(daemonOf(repo), undefined, 'and the child was stopped');
});
