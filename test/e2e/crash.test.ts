import { hash, randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { allBatches, allVersions, untilStage } from '../fixtures/custody.ts';
import { EXPLICIT_LE, makeSlice, uid } from '../fixtures/dicom.ts';
import { datasetOf } from '../fixtures/part10.ts';
import { connectScu } from '../fixtures/raw-scu.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

const INSTANCES = 500;
const KILLS = 3;
const CT = '1.2.840.10008.5.1.4.1.1.2';
const STUDIES = 5;

/** Small batches, closed fast, so that some are on their way to the chain whenever the process dies. */
const env = { DAGPACS_ANCHOR_MAX_BATCH: '32', DAGPACS_ANCHOR_MAX_AGE_MS: '150' };

const sample = (i: number) =>
  makeSlice({ study: `crash-${i % STUDIES}`, instance: i, rows: 64, columns: 64 + (i % 7) * 40 });
const sopOf = (i: number) => uid('instance', `crash-${i % STUDIES}`, 'CT', 1, i);

/** Mulberry32: a small generator whose seed repeats a run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** What is still to be sent, and what was answered with success. */
interface Load {
  waiting: number[];
  done: Set<number>;
}

/** Sends by C-STORE over one association until nothing waits or the bridge is gone. */
async function pushByStore(bridge: Bridge, load: Load): Promise<void> {
  const scu = await connectScu(bridge.dimse, [{ sopClassUID: CT, transferSyntaxUID: EXPLICIT_LE }]);
  for (let i = load.waiting.pop(); i !== undefined; i = load.waiting.pop()) {
    const dataset = datasetOf(sample(i));
    try {
      const { status } = await scu.store({
        sopClassUID: CT,
        sopInstanceUID: sopOf(i),
        transferSyntaxUID: EXPLICIT_LE,
        dataset,
      });
      if (status !== 0) throw new Error(`status ${status.toString(16)}`);
      load.done.add(i);
    } catch (error) {
      load.waiting.push(i);
      scu.drop();
      throw error;
    }
  }
  await scu.release();
}

/** Sends by STOW, a few instances a request, until nothing waits or the bridge is gone. */
async function pushByStow(bridge: Bridge, load: Load): Promise<void> {
  while (load.waiting.length > 0) {
    const some = load.waiting.splice(-4);
    try {
      const { stored, text } = await stow(bridge.dicomWeb, some.map(sample));
      const uids = new Set(stored.map(({ sopInstanceUID }) => sopInstanceUID));
      for (const i of some) {
        if (uids.has(sopOf(i))) load.done.add(i);
      }
      if (uids.size < some.length) throw new Error(`not stored: ${text}`);
    } catch (error) {
      load.waiting.push(...some.filter((i) => !load.done.has(i)));
      throw error;
    }
  }
}

/** Instances answered with success that the bridge does not have as they were sent, exactly once. */
async function lost(bridge: Bridge, load: Load): Promise<string[]> {
  const found: string[] = [];
  for (const i of load.done) {
    const wanted = hash('sha256', datasetOf(sample(i)));
    const versions = await allVersions(bridge.url, sopOf(i)).catch((error: Error) => error);
    if (versions instanceof Error) found.push(`instance ${i}: ${versions.message}`);
    else if (versions.length !== 1) found.push(`instance ${i}: ${versions.length} versions`);
    else if (hash('sha256', datasetOf(versions[0] as Buffer)) !== wanted) found.push(`instance ${i}: other bytes`);
  }
  return found;
}

test('killed three times under load, it keeps what it promised', { timeout: 280_000 }, async (t) => {
  const seed = Number(process.env.DAGPACS_TEST_SEED ?? randomInt(2 ** 31));
  t.comment(`DAGPACS_TEST_SEED=${seed}`);
  const random = generator(seed);
  const killsAt = Array.from({ length: KILLS }, (_, k) => Math.floor(((k + random()) / KILLS) * INSTANCES * 0.95));
  t.comment(`killed after ${killsAt.join(', ')} answers`);

  const dataDir = await tempFolder(t);
  const load: Load = { waiting: Array.from({ length: INSTANCES }, (_, i) => INSTANCES - i), done: new Set() };
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());

  for (const killAt of [...killsAt, Number.POSITIVE_INFINITY]) {
    const pushes = Promise.allSettled([pushByStore(bridge, load), pushByStow(bridge, load)]);
    if (killAt === Number.POSITIVE_INFINITY) {
      t.strictSame(
        (await pushes).filter(({ status }) => status === 'rejected'),
        [],
      );
      break;
    }
    while (load.done.size < killAt) await sleep(1);
    await sleep(random() * 30);
    await bridge.kill();
    await pushes;
    t.comment(`killed after ${load.done.size} answers`);
    bridge = await startBridge({ dataDir, env });
    t.strictSame(await lost(bridge, load), [], `nothing of ${load.done.size} is lost`);
  }

  t.equal(load.done.size, INSTANCES);
  t.strictSame(await lost(bridge, load), []);
  const custody = await untilStage(bridge.url, [...load.done].map(sopOf), 'anchored');
  const places = custody.flatMap(({ versions }) =>
    versions.map(({ anchor }) => `${anchor?.batch} ${anchor?.leafIndex}`),
  );
  t.equal(new Set(places).size, INSTANCES, 'every instance has a leaf of its own');

  const batches = await allBatches(bridge.url);
  t.strictSame(
    batches.map(({ sequence }) => sequence),
    [...batches.keys()],
    'batches follow each other without a gap',
  );
  t.equal(
    batches.reduce((sum, { count }) => sum + count, 0),
    INSTANCES,
    'and hold every instance once',
  );
  const anchors = new Map(
    custody.flatMap(({ versions }) => versions.map(({ anchor }) => [anchor?.batch, anchor?.transactionHash])),
  );
  t.equal(new Set(anchors.values()).size, batches.length, 'each with a transaction of its own');
});
