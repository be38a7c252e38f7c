import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'tap';
import { openPackStore } from '../../src/adapters/blocks/pack-store.ts';
import { type Cid, cidOf, DAG_CBOR, RAW } from '../../src/ipld/cid.ts';
import { createLog } from '../../src/kernel/log.ts';
import type { Position } from '../../src/ports/blocks.ts';
import { tempFolder } from '../fixtures/temp.ts';

const log = createLog('silent', () => undefined);
const open = (directory: string) => openPackStore({ directory, packBytes: 100_000, log });

function block(size: number, codec: number): { cid: Cid; bytes: Buffer } {
  const bytes = randomBytes(size);
  return { cid: cidOf(codec, bytes), bytes };
}

/** A store with two closed packs, every other block of which is a node. */
async function filled(directory: string) {
  const store = await open(directory);
  const blocks = Array.from({ length: 26 }, (_, i) => block(10_000, i % 2 ? DAG_CBOR : RAW));
  for (const { cid, bytes } of blocks) {
    await store.append(cid, [bytes]);
    await store.commit();
  }
  const leaves = new Set(blocks.filter(({ cid }) => cid.code === RAW).map(({ cid }) => cid.toString()));
  return { store, blocks, drop: (cid: Cid) => leaves.has(cid.toString()) };
}

test('a pack is thinned, and a crash at any moment leaves the old one or the new one', async (t) => {
  const directory = await tempFolder(t);
  let { store, blocks, drop } = await filled(directory);
  const [first, second] = await store.closedPacks();
  t.ok(first && second, 'two packs are closed');
  const pack = join(directory, 'pack-000001.car');
  const before = `${pack}.before`;
  copyFileSync(pack, before);
  t.notOk(store.thinned());
  const reading = Promise.all(blocks.map(({ cid }) => store.read(cid).catch(() => undefined)));
  const freed = await store.thin(1, drop);
  t.ok(freed > 40_000);
  for (const [i, bytes] of (await reading).entries()) {
    t.ok(!bytes || blocks[i]?.bytes.equals(bytes), 'a reader meanwhile gets the right bytes or none');
  }
  t.ok(store.thinned());
  t.equal(await store.thin(1, drop), 0, 'nothing is left to drop');

  const inPack = new Set<string>();
  const check = async (what: string) => {
    for (const { cid, bytes } of blocks) {
      const gone = cid.code === RAW && inPack.has(cid.toString());
      if (gone) await t.rejects(store.read(cid), { code: 'block-missing' });
      else if (!bytes.equals(await store.read(cid))) t.fail(`${what}: a block is wrong`);
    }
    const nodes: string[] = [];
    for await (const { cid } of store.replay({ pack: 0, offset: 0 }, store.position())) nodes.push(cid.toString());
    t.strictSame(
      nodes,
      blocks.filter(({ cid }) => cid.code === DAG_CBOR).map(({ cid }) => cid.toString()),
      `${what}: the log is whole`,
    );
  };
  for (const { cid } of blocks.slice(0, 10)) inPack.add(cid.toString());
  await check('thinned');
  await store.close();

  // The new file counts, and was not put in its place.
  renameSync(pack, `${pack}.thin`);
  copyFileSync(before, pack);
  const database = new DatabaseSync(join(directory, 'locations.sqlite'));
  database.exec('INSERT INTO thinned VALUES (1)');
  database.close();
  store = await open(directory);
  t.notOk(existsSync(`${pack}.thin`));
  await check('a crash after it counted');
  await store.close();

  // It was written, and does not count yet.
  copyFileSync(pack, `${pack}.thin`);
  store = await open(directory);
  t.notOk(existsSync(`${pack}.thin`));
  await check('a crash before it counted');
  await store.close();

  // The database of the places is gone, which is derived.
  for (const suffix of ['', '-wal', '-shm']) rmSync(join(directory, `locations.sqlite${suffix}`), { force: true });
  store = await open(directory);
  await check('without its database');
  t.ok(store.thinned(), 'which still says that blocks were dropped');

  const [missing] = blocks;
  if (!missing) return;
  await store.restore(missing.cid, missing.bytes);
  await store.commit();
  inPack.delete(missing.cid.toString());
  t.ok(store.wasFetched(missing.cid));
  await check('restored');
  await store.close();
  store = await open(directory);
  await check('restored, after a restart');
  await store.close();
});

test('what follows a position is told again after its pack was thinned', async (t) => {
  const { store, blocks, drop } = await filled(await tempFolder(t));
  t.teardown(() => store.close());
  const nodes = blocks.filter(({ cid }) => cid.code === DAG_CBOR).map(({ cid }) => cid.toString());
  // An index that lost its last transactions in a power cut asks from where it was.
  const noted: { cid: string; next: Position }[] = [];
  for await (const { cid, next } of store.replay({ pack: 0, offset: 0 }, store.position())) {
    noted.push({ cid: cid.toString(), next });
  }
  for (const { pack } of await store.closedPacks()) await store.thin(pack, drop);
  let passedOver = 0;
  for (const [i, { next }] of noted.entries()) {
    const told = new Set<string>();
    for await (const { cid } of store.replay(next, store.position())) told.add(cid.toString());
    const missing = nodes.slice(i + 1).filter((cid) => !told.has(cid));
    passedOver += missing.length;
  }
  t.equal(passedOver, 0);
  t.equal(noted.length, nodes.length);
});
