import { randomBytes } from 'node:crypto';
import { appendFileSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { lockDirectory } from '../../src/adapters/blocks/lock.ts';
import { openPackStore } from '../../src/adapters/blocks/pack-store.ts';
import { type Cid, cidOf, DAG_CBOR, RAW } from '../../src/ipld/cid.ts';
import { createLog } from '../../src/kernel/log.ts';
import type { BlockStore } from '../../src/ports/blocks.ts';
import { tempFolder } from '../fixtures/temp.ts';

const START = { pack: 0, offset: 0 };
const lines: string[] = [];
const log = createLog('info', (line) => lines.push(line));

function open(directory: string, packBytes = 1024 ** 3): Promise<BlockStore> {
  return openPackStore({ directory, packBytes, log });
}

function block(size: number, codec = RAW): { cid: Cid; bytes: Buffer } {
  const bytes = randomBytes(size);
  return { cid: cidOf(codec, bytes), bytes };
}

async function replayed(store: BlockStore, from = START, to = store.position()): Promise<string[]> {
  const found: string[] = [];
  for await (const { cid } of store.replay(from, to)) found.push(cid.toString());
  return found;
}

function lastPack(directory: string): string {
  const names = readdirSync(directory).filter((name) => name.endsWith('.car'));
  return join(directory, names.sort().at(-1) as string);
}

test('blocks are read back, whole and in part, before and after a restart', async (t) => {
  const directory = await tempFolder(t);
  const blocks = [0, 1, 1000, 1 << 20].map((size) => block(size));
  let store = await open(directory);
  await Promise.all(blocks.map(({ cid, bytes }) => store.append(cid, [bytes.subarray(0, 500), bytes.subarray(500)])));
  await store.commit();
  for (let run = 0; run < 2; run += 1) {
    for (const { cid, bytes } of blocks) {
      t.ok(store.has(cid));
      t.ok(bytes.equals(await store.read(cid)));
      t.ok(bytes.subarray(3, 700).equals(await store.read(cid, 3, 700)));
    }
    t.equal(store.usage().blocks, blocks.length);
    await store.close();
    store = await open(directory);
  }
  t.notOk(store.has(block(10).cid));
  await t.rejects(store.read(block(10).cid), { code: 'block-missing' });
  await store.close();
});

test('the log is replayed in the order of the appends, from any position', async (t) => {
  const directory = await tempFolder(t);
  const store = await open(directory);
  const nodes: Cid[] = [];
  const ends = await Promise.all(
    Array.from({ length: 60 }, (_, i) => {
      const { cid, bytes } = block(i * 100, i % 3 === 0 ? DAG_CBOR : RAW);
      if (i % 3 === 0) nodes.push(cid);
      return store.append(cid, [bytes]);
    }),
  );
  await store.commit();
  const names = nodes.map(String);
  t.strictSame(await replayed(store), names);
  t.strictSame(await replayed(store, ends[29]), names.slice(10), 'from the middle');
  t.strictSame(await replayed(store, store.position()), [], 'from the end');
  t.strictSame(await replayed(store, START, ends[29]), names.slice(0, 10), 'up to the middle');
  await store.close();
});

test('packs roll over and are read across', async (t) => {
  const directory = await tempFolder(t);
  let store = await open(directory, 50_000);
  const blocks = Array.from({ length: 40 }, () => block(10_000, DAG_CBOR));
  for (const { cid, bytes } of blocks) await store.append(cid, [bytes]);
  await store.close();
  store = await open(directory, 50_000);
  t.ok(store.usage().packs > 4);
  t.strictSame(
    await replayed(store),
    blocks.map(({ cid }) => cid.toString()),
  );
  for (const { cid, bytes } of blocks) t.ok(bytes.equals(await store.read(cid)));
  await store.close();
});

test('a torn tail is cut, and all that was committed stays', async (t) => {
  for (const tear of [
    (path: string) => appendFileSync(path, randomBytes(40)),
    (path: string) => appendFileSync(path, Buffer.alloc(5000)),
    (path: string) => truncateSync(path, statSync(path).size - 100),
  ]) {
    const directory = await tempFolder(t);
    let store = await open(directory);
    const kept = block(3000, DAG_CBOR);
    await store.append(kept.cid, [kept.bytes]);
    await store.commit();
    // As after a power cut: the locations are behind the packs.
    await store.close();
    rmSync(join(directory, 'locations.sqlite'));
    store = await open(directory);
    const torn = block(400);
    await store.append(torn.cid, [torn.bytes]);
    await store.close();
    rmSync(join(directory, 'locations.sqlite'));
    tear(lastPack(directory));
    store = await open(directory);
    t.ok(kept.bytes.equals(await store.read(kept.cid)));
    const next = block(700, DAG_CBOR);
    await store.append(next.cid, [next.bytes]);
    await store.commit();
    t.strictSame(await replayed(store), [kept.cid.toString(), next.cid.toString()]);
    await store.close();
  }
  t.match(lines.join(''), /torn-pack-tail-cut/);
});

test('many writers share syncs and none loses a block', async (t) => {
  const directory = await tempFolder(t);
  const store = await open(directory, 2_000_000);
  const written: { cid: Cid; bytes: Buffer }[] = [];
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (let i = 0; i < 30; i += 1) {
        const made = block(1 + Math.floor(Math.random() * 20_000));
        const append = store.append(made.cid, [made.bytes]);
        await store.commit();
        await append;
        written.push(made);
      }
    }),
  );
  for (const { cid, bytes } of written) t.ok(bytes.equals(await store.read(cid)));
  await store.close();
});

test('a data directory has one owner', async (t) => {
  const directory = await tempFolder(t);
  const release = lockDirectory(directory);
  t.throws(() => lockDirectory(directory), { code: 'bad-setting', subject: { attribute: 'DAGPACS_DATA_DIR' } });
  release();
  lockDirectory(join(directory, 'new', 'nested'))();
  t.throws(() => lockDirectory('/proc/none/nested'), { code: 'bad-setting' }, 'where no directory can be made');
  lockDirectory(directory)();
});
