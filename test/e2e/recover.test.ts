import { readdirSync, statSync } from 'node:fs';
import { mkdir, rename, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { type Bridge, spawnBridge, startBridge } from '../fixtures/bridge.ts';
import { allBatches, allVersions, type CustodyBatch, custodyStatus, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

const COUNT = 12;
const env = { DAGPACS_ANCHOR_MAX_AGE_MS: '100', DAGPACS_ANCHOR_MAX_BATCH: '5' };
const sops = Array.from({ length: COUNT }, (_, i) => uid('instance', 'recover', 'CT', 1, i + 1));
const files = sops.map((_, i) => makeSlice({ rows: 16, columns: 16, study: 'recover', instance: i + 1 }));
const renamed = makeSlice({ rows: 16, columns: 16, study: 'recover', instance: 1, patientName: 'Phantom^Renamed' });

async function answers(bridge: Bridge): Promise<string> {
  const paths = [
    '/studies',
    `/studies/${uid('study', 'recover')}/series`,
    `/studies/${uid('study', 'recover')}/instances`,
    `/studies/${uid('study', 'recover')}/metadata`,
  ];
  const texts = await Promise.all(paths.map(async (path) => (await fetch(`${bridge.dicomWeb}${path}`)).text()));
  return texts.join('\n').replaceAll(bridge.url, '');
}

/** What the log and the chain tell of a batch; which transactions were signed is kept in the index alone. */
function proof(batch: CustodyBatch): object {
  const { id, sequence, count, record, anchor } = batch as CustodyBatch & { anchor: object };
  return { id, sequence, count, record, anchor };
}

test('the index and the locations of blocks follow from the packs', async (t) => {
  const dataDir = await tempFolder(t);
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  t.equal((await stow(bridge.dicomWeb, files)).status, 200);
  t.equal((await stow(bridge.dicomWeb, [renamed])).status, 200);
  await untilStage(bridge.url, sops, 'anchored');
  const before = await answers(bridge);
  const study = `${bridge.dicomWeb}/studies/${uid('study', 'recover')}`;
  const series = (await (await fetch(`${study}/metadata`)).json()) as Record<string, unknown>[];
  const one = `${study}/series/${uid('series', 'recover', 'CT', 1)}/instances/${sops[4]}/metadata`;
  t.strictSame(await (await fetch(one)).json(), [series[4]], "an instance's metadata are its part of the series'");
  const batches = await allBatches(bridge.url);
  t.ok(batches.length >= 3);

  for (const lost of [['index.sqlite'], ['blocks/locations.sqlite'], ['index.sqlite', 'blocks/locations.sqlite']]) {
    await bridge.stop();
    for (const name of lost.flatMap((path) => [path, `${path}-wal`, `${path}-shm`])) {
      await rm(join(dataDir, name), { force: true });
    }
    bridge = await startBridge({ dataDir, env });
    const what = `without ${lost.join(' and ')}`;
    t.equal(await answers(bridge), before, `${what}: the same answers`);
    const custody = await untilStage(bridge.url, sops, 'anchored');
    t.equal(custody[0]?.versions.length, 2, `${what}: versions and their order`);
    t.ok(
      (await allVersions(bridge.url, sops[0] as string)).every((bytes, i) =>
        bytes.equals([files[0], renamed][i] as Buffer),
      ),
    );
    t.strictSame(
      (await allBatches(bridge.url)).map(proof),
      batches.map(proof),
      `${what}: the batches and their anchors`,
    );
  }
});

test('an instance whose blocks are lost is stored again when it is sent again', async (t) => {
  const dataDir = await tempFolder(t);
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  for (const file of files) t.equal((await stow(bridge.dicomWeb, [file])).status, 200);
  await bridge.stop();
  const blocks = join(dataDir, 'blocks');
  const [pack = ''] = readdirSync(blocks).filter((name) => name.endsWith('.car'));
  await truncate(join(blocks, pack), Math.floor(statSync(join(blocks, pack)).size / 2));
  bridge = await startBridge({ dataDir, env: { ...env, DAGPACS_CONFLICT_POLICY: 'conflict' } });
  t.equal((await stow(bridge.dicomWeb, files)).status, 200);
  const custody = await untilStage(bridge.url, sops, 'anchored');
  const versions = custody.map((instance) => instance.versions.length);
  t.ok(versions.includes(1) && versions.includes(2), `versions: ${versions}`);
  for (const [i, sop] of sops.entries()) {
    const answer = await fetch(`${bridge.url}/custody/instances/${sop}/versions/${versions[i]}`);
    t.ok(Buffer.from(await answer.arrayBuffer()).equals(files[i] as Buffer));
  }
});

test('a study whose key is gone holds up no other’s anchors', async (t) => {
  const dataDir = await tempFolder(t);
  let bridge = await startBridge({ dataDir, env: { DAGPACS_ANCHOR_MAX_AGE_MS: '600000' } });
  t.teardown(() => bridge.stop());
  const other = makeSlice({ rows: 16, columns: 16, study: 'other' });
  t.equal((await stow(bridge.dicomWeb, files)).status, 200);
  const keys = join(dataDir, 'vault', 'studies');
  const [key = ''] = readdirSync(keys);
  t.equal((await stow(bridge.dicomWeb, [other])).status, 200);
  await bridge.kill();
  await rename(join(keys, key), join(dataDir, 'kept'));
  bridge = await startBridge({ dataDir, env });
  await untilStage(bridge.url, [uid('instance', 'other', 'CT', 1, 1)], 'anchored');
  const { outbox } = (await custodyStatus(bridge.url)) as { outbox: { pending: number; problem: string | null } };
  t.match(outbox, { pending: COUNT, problem: `${COUNT} versions cannot be anchored` });
  await rename(join(dataDir, 'kept'), join(keys, key));
  await untilStage(bridge.url, sops, 'anchored');
});

test('what is anchored in a contract that is lost is anchored again in the new one', async (t) => {
  const dataDir = await tempFolder(t);
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  t.equal((await stow(bridge.dicomWeb, files)).status, 200);
  const before = await untilStage(bridge.url, sops, 'final');
  await bridge.stop();
  // The chain's state is there, and the old contract on it: only nobody knows where.
  await rm(join(dataDir, 'chain', 'deployment.json'));
  bridge = await startBridge({ dataDir, env });
  t.equal((await stow(bridge.dicomWeb, [renamed])).status, 200);
  const after = await untilStage(bridge.url, sops, 'anchored');
  const contracts = new Set(after.flatMap(({ versions }) => versions.map(({ anchor }) => anchor?.contract)));
  t.equal(contracts.size, 1);
  t.notOk(contracts.has(before[0]?.versions[0]?.anchor?.contract));
});

test('a data directory that cannot be used is refused in words', async (t) => {
  const dataDir = await tempFolder(t);
  await mkdir(join(dataDir, 'bridge.json'));
  const bridge = await spawnBridge({ dataDir, env });
  t.equal((await bridge.exited).code, 2);
  t.match(bridge.output().stderr, /bridge\.json cannot be written: E/);
  t.notMatch(bridge.output().stderr, /\n\s+at /);
});

test('a torn pack: what was committed before the tear is served, the rest is reported', async (t) => {
  const dataDir = await tempFolder(t);
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  for (const file of files) t.equal((await stow(bridge.dicomWeb, [file])).status, 200);
  await bridge.kill();
  const blocks = join(dataDir, 'blocks');
  const pack = join(
    blocks,
    readdirSync(blocks)
      .filter((name) => name.endsWith('.car'))
      .sort()
      .at(-1) as string,
  );
  await truncate(pack, statSync(pack).size - 1);
  for (const name of ['index.sqlite', 'index.sqlite-wal', 'index.sqlite-shm'])
    await rm(join(dataDir, name), { force: true });
  bridge = await startBridge({ dataDir, env: { ...env, DAGPACS_LOG_LEVEL: 'warn' } });
  const kept = sops.slice(0, COUNT - 1);
  for (const [i, sop] of kept.entries()) {
    t.ok((await allVersions(bridge.url, sop))[0]?.equals(files[i] as Buffer));
  }
  await untilStage(bridge.url, kept, 'anchored');
});
