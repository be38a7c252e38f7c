import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'tap';
import { upload } from '../../../../src/adapters/swarm/upload.ts';
import { cidOf, DAG_CBOR, RAW } from '../../../../src/ipld/cid.ts';
import type { Block } from '../../../../src/ports/blocks.ts';
import type { Outgoing } from '../../../../src/ports/swarm.ts';

const limits = { partsPerRequest: 4, bytesPerRequest: 1000, parallelRequests: 2 };

function block(codec: number, size: number): Block {
  const bytes = new Uint8Array(size);
  return { cid: cidOf(codec, bytes), bytes };
}

test('groups end at the count or the bytes', async (t) => {
  const groups: number[][] = [];
  async function* blocks() {
    for (const size of [1, 2, 3, 4, 5]) yield block(RAW, size);
    yield block(DAG_CBOR, 6);
    yield block(RAW, 1000);
    yield block(RAW, 7);
  }
  await upload(
    blocks(),
    limits,
    async (group) => {
      groups.push(group.map(({ bytes }) => bytes.length));
      return true;
    },
    () => t.fail('nothing failed'),
    [],
  );
  t.strictSame(groups, [[1, 2, 3, 4], [5, 6, 1000], [7]]);
});

test('blocks are read into memory that is used again when nobody looks at it any more', async (t) => {
  const idle: Buffer[] = [];
  const seen = new Set<ArrayBufferLike>();
  const sent: number[] = [];
  async function* blocks(count: number): AsyncIterable<Outgoing> {
    for (let i = 0; i < count; i++) {
      const { cid } = block(RAW, 300);
      yield { cid, read: async (into) => into.fill(i, 0, 300).subarray(0, 300) };
    }
    yield { cid: block(RAW, 9).cid, read: async () => Buffer.alloc(9, 99) };
  }
  const go = (count: number, send: () => Promise<boolean>) =>
    upload(
      blocks(count),
      limits,
      async (group) => {
        for (const { bytes } of group) {
          if (bytes.length > 9) seen.add(bytes.buffer);
          t.ok(bytes.every((byte) => byte === bytes[0]));
          sent.push(bytes[0] as number);
        }
        return send();
      },
      () => undefined,
      idle,
    );
  await go(40, async () => true);
  t.strictSame(
    sent.toSorted((a, b) => a - b),
    [...Array(40).keys(), 99],
  );
  t.ok(seen.size <= limits.parallelRequests + 1, `${seen.size} areas`);
  const before = seen.size;
  await go(8, async () => true);
  t.equal(seen.size, before, 'and the next upload uses it too');

  await go(8, async () => false);
  const afterUse = idle.length;
  await t.rejects(
    go(8, async () => {
      throw new Error('gone');
    }),
  );
  t.ok(afterUse < before && idle.length <= afterUse, 'what may still be looked at is not');
});

test('no more is read than the requests at a time can take', async (t) => {
  let read = 0;
  let sent = 0;
  const waiting: ((done: boolean) => void)[] = [];
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
    [],
  );
  for (let index = 0; index < 50; index++) await turn();
  t.equal(sent, limits.parallelRequests);
  t.ok(read <= limits.partsPerRequest * (limits.parallelRequests + 1), `${read} read`);
  for (let open = true; open; ) {
    for (const resolve of waiting.splice(0)) resolve(true);
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
    return true;
  };
  await t.rejects(
    upload(
      blocks(),
      limits,
      send,
      (reason) => {
        stopped = reason;
      },
      [],
    ),
    failure,
  );
  t.equal(stopped, failure);
  t.equal(flying, 0);
  t.ok(read < 20, `${read} read`);
});
