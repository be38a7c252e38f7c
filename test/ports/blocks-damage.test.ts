import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type FileHandle, open as openFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { openPackStore } from '../../src/adapters/blocks/pack-store.ts';
import { type Cid, cidOf, DAG_CBOR, RAW } from '../../src/ipld/cid.ts';
import { createLog } from '../../src/kernel/log.ts';
import type { BlockStore } from '../../src/ports/blocks.ts';
import { carBlocks } from '../fixtures/car-blocks.ts';
import { tempFolder } from '../fixtures/temp.ts';

const lines: string[] = [];
const log = createLog('info', (line) => lines.push(line));
const open = (directory: string): Promise<BlockStore> => openPackStore({ directory, packBytes: 1024 ** 3, log });

function block(size: number, codec = RAW): { cid: Cid; bytes: Buffer } {
  const bytes = randomBytes(size);
  return { cid: cidOf(codec, bytes), bytes };
}

async function fill(directory: string, count: number): Promise<{ cid: Cid; bytes: Buffer; end: number }[]> {
  const store = await open(directory);
  const made = [];
  for (let i = 0; i < count; i += 1) {
    const { cid, bytes } = block(2000, DAG_CBOR);
    const { offset: end } = await store.append(cid, [bytes]);
    made.push({ cid, bytes, end });
  }
  await store.close();
  return made;
}

function packs(directory: string): string[] {
  const names = readdirSync(directory).filter((name) => name.endsWith('.car'));
  return names.sort().map((name) => join(directory, name));
}

function loseLocations(directory: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(join(directory, `locations.sqlite${suffix}`), { force: true });
}

async function replayed(store: BlockStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { cid } of store.replay({ pack: 0, offset: 0 }, store.position())) found.push(cid.toString());
  return found;
}

/** Lets the next call of a method of every file handle do something else. */
async function nextCall<Name extends 'writev' | 'datasync'>(
  directory: string,
  name: Name,
  instead: (handle: FileHandle, ...args: Parameters<FileHandle[Name]>) => Promise<never>,
): Promise<void> {
  const handle = await openFile(join(directory, 'probe'), 'w');
  const prototype = Object.getPrototypeOf(handle);
  await handle.close();
  const original = prototype[name];
  prototype[name] = function (this: FileHandle, ...args: Parameters<FileHandle[Name]>) {
    prototype[name] = original;
    return instead(this, ...args);
  };
}

test('a store that was opened and closed empty is one like any other', async (t) => {
  const directory = await tempFolder(t);
  for (let run = 0; run < 3; run += 1) await (await open(directory)).close();
  const made = await fill(directory, 3);
  for (const lost of [false, true]) {
    if (lost) loseLocations(directory);
    const store = await open(directory);
    for (const { cid, bytes } of made) t.ok(bytes.equals(await store.read(cid)));
    t.strictSame(
      await replayed(store),
      made.map(({ cid }) => cid.toString()),
    );
    await store.close();
  }
  t.equal([...carBlocks(readFileSync(packs(directory)[0] as string))].length, 3, 'and its pack is a CAR file');
});

for (const [what, back] of [
  ['block', 1000],
  ["section's head", 2030],
] as const) {
  test(`a bit that flips in a ${what} costs that block and no other`, async (t) => {
    const directory = await tempFolder(t);
    const made = await fill(directory, 20);
    const victim = made[7] as (typeof made)[number];
    const [pack] = packs(directory) as [string];
    const bytes = readFileSync(pack);
    bytes[victim.end - back] = (bytes[victim.end - back] as number) ^ 4;
    writeFileSync(pack, bytes);
    loseLocations(directory);
    lines.length = 0;
    let store = await open(directory);
    const others = made.filter((one) => one !== victim);
    for (const one of others) t.ok(one.bytes.equals(await store.read(one.cid)));
    await t.rejects(store.read(victim.cid), { code: 'block-missing' });
    t.equal(statSync(pack).size, bytes.length, 'nothing is cut');
    t.match(lines.join(''), /damaged-pack/);
    const next = block(500, DAG_CBOR);
    const end = await store.append(next.cid, [next.bytes]);
    t.ok(end.pack > 1, 'the pack is not appended to');
    await store.close();
    store = await open(directory);
    t.strictSame(
      await replayed(store),
      [...others, next].map(({ cid }) => cid.toString()),
    );
    await store.close();
  });
}

test('a database of locations that is damaged is made again', async (t) => {
  const directory = await tempFolder(t);
  const made = await fill(directory, 5);
  loseLocations(directory);
  writeFileSync(join(directory, 'locations.sqlite'), randomBytes(4096));
  const store = await open(directory);
  for (const { cid, bytes } of made) t.ok(bytes.equals(await store.read(cid)));
  await store.close();
});

test('a write that fails half way leaves nothing in the log, and is overload where the disk is full', async (t) => {
  const directory = await tempFolder(t);
  const store = await open(directory);
  const [before, failing, after] = [block(3000, DAG_CBOR), block(3000, DAG_CBOR), block(3000, DAG_CBOR)] as const;
  await store.append(before.cid, [before.bytes]);
  await nextCall(directory, 'writev', async (handle, buffers, position) => {
    await handle.write(buffers[0] as Buffer, 0, 20, position as number);
    throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
  });
  await t.rejects(store.append(failing.cid, [failing.bytes]), { code: 'pushback' });
  await store.append(after.cid, [after.bytes]);
  await store.commit();
  t.strictSame(
    await replayed(store),
    [before, after].map(({ cid }) => cid.toString()),
  );
  t.notOk(store.has(failing.cid));
  await store.close();
});

test('a disk that takes a part of the bytes is given the rest', async (t) => {
  const directory = await tempFolder(t);
  const store = await open(directory);
  const made = [block(3000, DAG_CBOR), block(2000, DAG_CBOR), block(1000)];
  await nextCall(directory, 'writev', async (handle, buffers, position) => {
    const all = Buffer.concat(buffers as Uint8Array[]);
    const { bytesWritten } = await handle.write(all, 0, 3500, position as number);
    return { bytesWritten, buffers } as never;
  });
  await Promise.all(made.map(({ cid, bytes }) => store.append(cid, [bytes])));
  await store.commit();
  for (const { cid, bytes } of made) t.ok(bytes.equals(await store.read(cid)));
  await store.close();
});

test('success waits for the sync, and nothing is promised after one that failed', async (t) => {
  const directory = await tempFolder(t);
  const store = await open(directory);
  const one = block(100);
  await store.append(one.cid, [one.bytes]);
  await nextCall(directory, 'datasync', async () => {
    throw Object.assign(new Error('input/output error'), { code: 'EIO' });
  });
  await t.rejects(store.commit(), { code: 'storage-failed' });
  await t.rejects(store.append(one.cid, [one.bytes]), { code: 'storage-failed' });
  await t.rejects(store.commit(), { code: 'storage-failed' });
  await store.close();
});

test('where the write itself syncs, a full disk is overload, and after another failure nothing is promised', async (t) => {
  const directory = await tempFolder(t);
  const store = await open(directory);
  const [full, after, broken] = [block(100), block(200), block(300)] as const;
  /** As one that waits for what it appends. */
  const keep = async ({ cid, bytes }: { cid: Cid; bytes: Uint8Array }) => {
    const results = await Promise.allSettled([store.append(cid, [bytes]), store.commit()]);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  };
  await nextCall(directory, 'writev', async () => {
    throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
  });
  await t.rejects(keep(full), { code: 'pushback' });
  await keep(after);
  t.ok(after.bytes.equals(await store.read(after.cid)));
  // By fdatasync elsewhere, whose failure is tested above.
  if (process.platform === 'linux') {
    await nextCall(directory, 'writev', async () => {
      throw Object.assign(new Error('input/output error'), { code: 'EIO' });
    });
    await t.rejects(keep(broken), { code: 'storage-failed' });
    await t.rejects(keep(after), { code: 'storage-failed' });
  }
  await store.close();
});
