import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'tap';
import { upload } from '../../../../src/adapters/swarm/upload.ts';
import { cidOf, DAG_CBOR, RAW } from '../../../../src/ipld/cid.ts';
import type { Block } from '../../../../src/ports/blocks.ts';

const limits = { partsPerRequest: 4, bytesPerRequest: 1000, parallelRequests: 2 };

function block(codec: number, size: number): Block {
  const bytes = new Uint8Array(size);
  return { cid: cidOf(codec, bytes), bytes };
}

test('groups are of one codec, and end at the count or the bytes', async (t) => {
  const groups: [number, number[]][] = [];
  async function* blocks() {
    for (const size of [1, 2, 3, 4, 5]) yield block(RAW, size);
    yield block(DAG_CBOR, 6);
    yield block(RAW, 1000);
    yield block(RAW, 7);
  }
  await upload(
    blocks(),
    limits,
    async (codec, group) => {
      groups.push([codec, group.map(({ bytes }) => bytes.length)]);
    },
    () => t.fail('nothing failed'),
  );
  t.strictSame(groups, [
    [RAW, [1, 2, 3, 4]],
    [RAW, [5, 1000]],
    [DAG_CBOR, [6]],
    [RAW, [7]],
  ]);
});

test('no more is read than the requests at a time can take', async (t) => {
  let read = 0;
  let sent = 0;
  const waiting: (() => void)[] = [];
  async function* blocks() {
    for (; read < 40; read++) yield block(RAW, 1);
  }
  const done = upload(
    blocks(),
    limits,
    () => {
      sent++;
      return new Promise((resolve) => waiting.push(resolve));
    },
    () => t.fail('nothing failed'),
  );
  for (let index = 0; index < 50; index++) await turn();
  t.equal(sent, limits.parallelRequests);
  t.ok(read <= limits.partsPerRequest * (limits.parallelRequests + 1), `${read} read`);
  for (let open = true; open; ) {
    for (const resolve of waiting.splice(0)) resolve();
    open = await Promise.race([done.then(() => false), turn(true)]);
  }
  t.equal(read, 40);
  t.equal(sent, 10);
});

test('after a failure nothing more is read or sent, and it waits for what is on its way', async (t) => {
  const failure = new Error('refused');
  let read = 0;
  let flying = 0;
  let stopped: unknown;
  async function* blocks() {
    for (; read < 400; read++) yield block(RAW, 1);
  }
  const send = async () => {
    const first = read < 5;
    flying++;
    await turn();
    flying--;
    if (first) throw failure;
  };
  await t.rejects(
    upload(blocks(), limits, send, (reason) => {
      stopped = reason;
    }),
    failure,
  );
  t.equal(stopped, failure);
  t.equal(flying, 0);
  t.ok(read < 20, `${read} read`);
});
