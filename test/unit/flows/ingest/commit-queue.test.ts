import { randomBytes } from 'node:crypto';
import { test } from 'tap';
import { openPackStore } from '../../../../src/adapters/blocks/pack-store.ts';
import { openIndex } from '../../../../src/adapters/index/sqlite.ts';
import { CommitQueue } from '../../../../src/flows/ingest/commit-queue.ts';
import { type Cid, cidOf, DAG_CBOR } from '../../../../src/ipld/cid.ts';
import { createLog } from '../../../../src/kernel/log.ts';
import type { Addition, Index } from '../../../../src/ports/index.ts';
import { made } from '../../../fixtures/additions.ts';
import { tempFolder } from '../../../fixtures/temp.ts';

const log = createLog('silent', () => undefined);

test('after a failure of the index nothing is added before it has caught up', async (t) => {
  const directory = await tempFolder(t);
  const blocks = await openPackStore({ directory, packBytes: 1 << 30, log });
  const real = openIndex({ dataDir: directory, log });
  t.teardown(async () => {
    await real.close();
    await blocks.close();
  });
  let failure: Error | undefined;
  const index: Index = {
    ...real,
    add: async (additions, durable) => {
      await durable;
      if (failure) throw failure;
      return real.add(additions);
    },
  };
  const additions = new Map<string, Addition>();
  let catchUps = 0;
  const commits = new CommitQueue({
    blocks,
    index,
    catchUp: async () => {
      catchUps += 1;
      if (failure) throw failure;
      for await (const { cid, next } of blocks.replay(index.cursor(), blocks.position())) {
        await real.add([{ ...(additions.get(cid.toString()) as Addition), next }]);
      }
    },
  });
  let count = 0;
  const store = (): { sop: string; done: Promise<void> } => {
    count += 1;
    const bytes = randomBytes(50);
    const node: Cid = cidOf(DAG_CBOR, bytes);
    const addition = { ...made({ study: 's', series: 'e', sop: `i${count}` }), node };
    additions.set(node.toString(), addition);
    const done = commits.version({ cid: node, bytes }, Promise.resolve(), addition);
    return { sop: addition.sopInstanceUID, done };
  };

  const first = store();
  await first.done;
  failure = Object.assign(new Error('full'), { errcode: 13 });
  const lost = store();
  await t.rejects(lost.done, { code: 'pushback' });
  await t.rejects(store().done, { code: 'pushback' }, 'while it cannot catch up, nothing is taken');
  failure = undefined;
  const after = store();
  await after.done;
  t.ok(catchUps >= 2);
  for (const { sop } of [first, lost, after]) t.ok(real.version(sop), 'what is in the log is in the index');
  await store().done;
  await commits.idle();
  t.equal(catchUps, 2, 'once it has, it need not again');
});
