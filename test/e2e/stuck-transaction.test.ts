import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { openIndex } from '../../src/adapters/index/sqlite.ts';
import { openLedger } from '../../src/adapters/ledger/ledger.ts';
import { ledgerDefaults } from '../../src/adapters/ledger/options.ts';
import { Sender } from '../../src/flows/anchor/send.ts';
import { cidFromDigest, DAG_CBOR } from '../../src/ipld/cid.ts';
import type { Hex } from '../../src/ports/ledger.ts';
import { CHAIN_KEY, startChain, testProfile } from '../fixtures/chain.ts';
import { tempFolder } from '../fixtures/temp.ts';

const random = (): Hex => `0x${randomBytes(32).toString('hex')}`;

/** Two batches that wait for their anchors on a chain that mines when it is told to. */
async function prepare(t: Test, stuckAfterMs: number) {
  const chain = await startChain(t);
  const events: string[] = [];
  const note = (event: string) => void events.push(event);
  const log = { info: note, warn: note, error: note };
  const index = openIndex({ dataDir: await tempFolder(t), log });
  t.teardown(() => index.close());
  const directory = await tempFolder(t);
  const options = {
    ...ledgerDefaults,
    directory,
    rpc: chain.url,
    key: CHAIN_KEY,
    retryMinMs: 20,
    profile: testProfile,
  };
  const ledger = openLedger(options, log);
  t.teardown(() => ledger.close());
  while ((await ledger.status()).state !== 'connected') await sleep(20);
  await chain.rpc('evm_setAutomine', [false]);

  const ids = [random(), random()];
  let previousRoot: Hex = `0x${'0'.repeat(64)}`;
  for (const [sequence, id] of ids.entries()) {
    const merkleRoot = random();
    await index.addBatch(
      {
        id,
        sequence,
        record: cidFromDigest(DAG_CBOR, Buffer.from(id.slice(2), 'hex')),
        previousRoot,
        merkleRoot,
        closedAt: new Date().toISOString(),
        count: 1,
      },
      [],
      [{ reference: random(), total: 1 }],
      { pack: 1, offset: 100 + sequence },
    );
    previousRoot = merkleRoot;
  }

  const sender = new Sender({ stuckAfterMs }, { index, ledger, log });
  const transactions = () => ids.map((id) => index.batch(id)?.transactions ?? []);
  /** Mines until both are anchored. */
  const settle = async () => {
    for (let i = 0; i < 20 && index.unfinished('anchor', 2).length > 0; i++) {
      await chain.rpc('evm_mine', []);
      await sleep(400);
      await sender.round();
    }
    t.strictSame(index.unfinished('anchor', 2), []);
    t.equal((await ledger.next()).sequence, 2, 'each batch once');
    t.equal((await ledger.nextNonce()).confirmed, 4, 'two deployments and two anchors: no gap, nothing twice');
    return index.batch(ids[0] as Hex)?.anchored?.transactionHash;
  };
  t.equal(await sender.round(), 0);
  t.strictSame(
    transactions().map((list) => list.length),
    [1, 1],
    'both are under way',
  );
  return { chain, sender, transactions, settle, events };
}

test('a transaction that has become too cheap is replaced by one with a higher fee, and anchors once', async (t) => {
  const { chain, sender, transactions, settle, events } = await prepare(t, 60_000);
  for (let i = 0; i < 4; i++) {
    // The price of gas runs away from what was signed.
    await chain.rpc('anvil_setNextBlockBaseFeePerGas', ['0x2540be40000']);
    await chain.rpc('evm_mine', []);
  }
  await sender.round();
  const [first = []] = transactions();
  t.equal(first.length, 2, 'replaced, and kept before it was sent');
  t.equal(first[0]?.nonce, first[1]?.nonce, 'at the same nonce, so that only one can be mined');
  t.ok(events.includes('transaction-replaced'));
  t.equal(await settle(), first[1]?.hash, 'the one with the higher fee');
});

test('a transaction that blocks pass by is replaced after a while, and not before', async (t) => {
  const { chain, sender, transactions, settle } = await prepare(t, 500);
  // No room for it in a block, as where others pay more.
  await chain.rpc('evm_setBlockGasLimit', ['0xc350']);
  for (let i = 0; i < 4; i++) await chain.rpc('evm_mine', []);
  await sender.round();
  t.strictSame(
    transactions().map((list) => list.length),
    [1, 1],
    'time has not come',
  );
  await sleep(600);
  await chain.rpc('evm_setBlockGasLimit', ['0x1c9c380']);
  await sender.round();
  const [first = []] = transactions();
  t.equal(first.length, 2);
  t.equal(first[0]?.nonce, first[1]?.nonce);
  t.equal(await settle(), first[1]?.hash, 'the one with the higher fee');
});
