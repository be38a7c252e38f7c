import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { openIndex } from '../../src/adapters/index/sqlite.ts';
import { openLedger } from '../../src/adapters/ledger/ledger.ts';
import { ledgerDefaults } from '../../src/adapters/ledger/options.ts';
import { Sender } from '../../src/flows/anchor/send.ts';
import { cidFromDigest, DAG_CBOR } from '../../src/ipld/cid.ts';
import type { Index } from '../../src/ports/index.ts';
import type { Hex, Ledger } from '../../src/ports/ledger.ts';
import { CHAIN_KEY, startChain, startFaultyNode, testProfile } from '../fixtures/chain.ts';
import { tempFolder } from '../fixtures/temp.ts';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const random = (): Hex => `0x${randomBytes(32).toString('hex')}`;

class Killed extends Error {}

/** The ledger until its `call`-th call, before or after which the process dies: nothing that it held in memory is left. */
function dyingAt(
  call: number,
  when: 'before' | 'after',
  ledger: Ledger,
): { ledger: Ledger; died(): string | undefined } {
  let calls = 0;
  let died: string | undefined;
  const proxy = new Proxy(ledger, {
    get(target, name) {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return async (...args: unknown[]) => {
        if (died !== undefined) throw new Killed();
        calls += 1;
        const last = calls === call;
        if (last) died = String(name);
        if (last && when === 'before') throw new Killed();
        const answer = await method.apply(target, args);
        if (last) throw new Killed();
        return answer;
      };
    },
  });
  return { ledger: proxy, died: () => died };
}

/** Two more batches that wait for their anchors. */
async function addBatches(index: Index): Promise<void> {
  for (let i = 0; i < 2; i++) {
    const last = index.lastBatch();
    const sequence = (last?.sequence ?? -1) + 1;
    const [id, merkleRoot] = [random(), random()];
    const record = cidFromDigest(DAG_CBOR, Buffer.from(id.slice(2), 'hex'));
    const previousRoot = last?.merkleRoot ?? (`0x${'0'.repeat(64)}` as const);
    const batch = { id, sequence, record, previousRoot, merkleRoot, closedAt: new Date().toISOString(), count: 1 };
    await index.addBatch(batch, [], [{ reference: random(), total: 1 }], { pack: 1, offset: 100 + sequence });
  }
}

async function connect(t: Test, directory: string, rpc: string): Promise<Ledger> {
  const options = { ...ledgerDefaults, directory, rpc, key: CHAIN_KEY, retryMinMs: 20, profile: testProfile };
  const ledger = openLedger(options, log);
  t.teardown(() => ledger.close());
  while ((await ledger.status()).state !== 'connected') await sleep(10);
  return ledger;
}

test('killed before or after any call to the chain, it anchors each batch once and wastes no nonce', async (t) => {
  const chain = await startChain(t);
  const index = openIndex({ dataDir: await tempFolder(t), log });
  t.teardown(() => index.close());
  const directory = await tempFolder(t);
  const steps = new Set<string>();
  let batches = 0;
  for (const when of ['before', 'after'] as const) {
    for (let call = 1; ; call++) {
      await addBatches(index);
      batches += 2;
      const held = await connect(t, directory, chain.url);
      const { ledger, died } = dyingAt(call, when, held);
      await new Sender({ stuckAfterMs: 60_000 }, { index, ledger, log }).round().catch((error) => {
        if (!(error instanceof Killed)) throw error;
      });
      await held.close();
      const step = died();
      if (step !== undefined) steps.add(`${when} ${step}`);
      const again = await connect(t, directory, chain.url);
      const sender = new Sender({ stuckAfterMs: 60_000 }, { index, ledger: again, log });
      for (let i = 0; i < 20 && index.unfinished('anchor', 1).length > 0; i++) await sender.round();
      const { confirmed } = await again.nextNonce();
      const { sequence } = await again.next();
      await again.close();
      if (sequence !== batches || confirmed !== batches + 2 || index.unfinished('anchor', 1).length > 0)
        t.fail(`${when} call ${call} (${step}): ${sequence} of ${batches} batches with ${confirmed} nonces`);
      if (step === undefined) break;
    }
  }
  for (const step of ['next', 'nextNonce', 'sign', 'broadcast', 'find']) {
    t.ok(steps.has(`before ${step}`) && steps.has(`after ${step}`), step);
  }
});

test('a node that has no events is said to be the reason why nothing is anchored', async (t) => {
  const chain = await startChain(t);
  const node = await startFaultyNode(t, () => chain.url);
  const index = openIndex({ dataDir: await tempFolder(t), log });
  t.teardown(() => index.close());
  const ledger = await connect(t, await tempFolder(t), node.url);
  node.fault('no-events');
  await addBatches(index);
  const sender = new Sender({ stuckAfterMs: 300 }, { index, ledger, log });
  await sender.round();
  await sleep(400);
  t.equal(await sender.round(), 0, 'since when is known from here on');
  await sleep(400);
  await t.rejects(sender.round(), { code: 'chain-unavailable', message: /have the event of anchor 0/ });
  node.fault('none');
  t.equal(await sender.round(), 2);
  t.equal(Number((await ledger.next()).sequence), 2, 'and nothing was sent twice');
});
