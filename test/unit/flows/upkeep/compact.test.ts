import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { openPackStore } from '../../../../src/adapters/blocks/pack-store.ts';
import { openIndex } from '../../../../src/adapters/index/sqlite.ts';
import { compact } from '../../../../src/flows/upkeep/compact.ts';
import { type Cid, cidOf, DAG_CBOR, RAW } from '../../../../src/ipld/cid.ts';
import { encodeErasure, encodeInstanceNode } from '../../../../src/ipld/nodes.ts';
import { createLog } from '../../../../src/kernel/log.ts';
import { oneAtATime } from '../../../../src/kernel/one-at-a-time.ts';
import { damage } from '../../../fixtures/damage.ts';
import { tempFolder } from '../../../fixtures/temp.ts';

const log = createLog('silent', () => undefined);
const EVERYTHING = { before: Number.POSITIVE_INFINITY, worthwhile: 0 };

/** A store of small packs with an index that knows nothing of it. */
async function opened(t: Test, folder?: string) {
  const dataDir = folder ?? (await tempFolder(t));
  const blocks = await openPackStore({ directory: join(dataDir, 'blocks'), packBytes: 200_000, log });
  let isOpen = true;
  const close = async () => {
    if (isOpen) await blocks.close();
    isOpen = false;
  };
  t.teardown(close);
  const index = openIndex({ dataDir, log });
  t.teardown(() => index.close());
  async function append(codec: number, bytes: Uint8Array): Promise<Cid> {
    const cid = cidOf(codec, bytes);
    await blocks.append(cid, [bytes]);
    return cid;
  }
  const turns = oneAtATime();
  return {
    dataDir,
    blocks,
    close,
    append,
    leaf: () => append(RAW, randomBytes(50_000)),
    instance: (study: Uint8Array, object: Cid) =>
      append(DAG_CBOR, encodeInstanceNode({ study, object, size: 1, key: randomBytes(40), entry: randomBytes(100) })),
    turns,
    compact: (options = EVERYTHING) => compact(options, { blocks, index, log, turns, pace: async () => undefined }),
  };
}

test('what no node leads to is deleted, and what one leads to stays, whoever knows of it', async (t) => {
  const { blocks, append, leaf, instance, compact: run } = await opened(t);
  const [erased, unknown] = [randomBytes(32), randomBytes(32)];
  const gone: Cid[] = [];
  const kept: Cid[] = [];
  for (let i = 0; i < 8; i += 1) {
    gone.push(await leaf());
    const [theirs, ours] = [await leaf(), await leaf()];
    gone.push(theirs);
    // The second has a key that is not here now, which says nothing about tomorrow.
    kept.push(await instance(erased, theirs), await instance(unknown, ours), ours);
  }
  kept.push(await append(DAG_CBOR, encodeErasure({ study: erased, erasedAt: new Date().toISOString() })));
  await blocks.closePack();
  const { packs, bytes } = blocks.usage();
  t.equal(await run({ before: 1, worthwhile: 0 }), 0, 'what is not closed since the start is left alone');
  const reading = Promise.all(kept.map((cid) => blocks.read(cid)));
  const freed = (await run()) ?? 0;
  t.ok(freed > 15 * 50_000, `${freed} of ${bytes} bytes in ${packs} packs`);
  t.equal(blocks.usage().bytes, bytes - freed);
  t.equal((await reading).length, kept.length);
  t.strictSame(
    gone.map((cid) => blocks.has(cid)),
    gone.map(() => false),
  );
  for (const cid of kept) t.ok(cidOf(cid.code, await blocks.read(cid)).equals(cid));
  t.notOk(blocks.thinned(), 'what is missing besides is still lost');
  t.equal(await run(), 0, 'nothing is left to do');
});

test('a pack that is damaged may hide a node: nothing is deleted', async (t) => {
  const { dataDir, blocks, leaf, instance, compact: run } = await opened(t);
  const ours = await leaf();
  const node = await instance(randomBytes(32), ours);
  const orphan = await leaf();
  await blocks.closePack();
  await damage(dataDir, [node.toString()]);
  t.equal(await run(), undefined);
  t.ok(blocks.has(ours) && blocks.has(orphan));
});

test('what comes meanwhile may lead to what lay here before', async (t) => {
  const { blocks, leaf, instance, turns, compact: run } = await opened(t);
  const [orphan, again] = [await leaf(), await leaf()];
  await blocks.closePack();
  // An import finds its blocks here already, and appends what leads to them while all nodes were read.
  const importing = turns(async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await instance(randomBytes(32), again);
  });
  const freed = await run();
  await importing;
  t.ok((freed ?? 0) > 40_000);
  t.notOk(blocks.has(orphan));
  t.ok(blocks.has(again));
});

test('a pack that was being begun at a crash is none that is damaged', async (t) => {
  const { dataDir, close, leaf, instance } = await opened(t);
  const ours = await leaf();
  await instance(randomBytes(32), ours);
  const orphan = await leaf();
  await close();
  writeFileSync(join(dataDir, 'blocks', 'pack-000002.car'), '');
  const { blocks: again, compact: run } = await opened(t, dataDir);
  t.ok(((await run()) ?? 0) > 40_000);
  t.ok(again.has(ours));
  t.notOk(again.has(orphan));
});
