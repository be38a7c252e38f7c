import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import type { Receipt } from '../../src/proof/receipt.ts';
import { verifyReceipt } from '../../src/proof/verify.ts';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { CHAIN_KEY, startChain, type TestChain } from '../fixtures/chain.ts';
import { allBatches, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { stow } from '../fixtures/stow.ts';

const sop = (n: number) => uid('instance', 'reorg', 'CT', 1, n);
const env = (chain: TestChain) => ({
  DAGPACS_CHAIN_RPC: chain.url,
  DAGPACS_CHAIN_KEY: CHAIN_KEY,
  DAGPACS_ANCHOR_MAX_AGE_MS: '20',
  DAGPACS_LOG_LEVEL: 'warn',
});

/** Stores an instance and waits for its anchor, so that it has a batch and a block of its own. */
async function anchorOne(bridge: Bridge, n: number): Promise<void> {
  const { status } = await stow(bridge.dicomWeb, [makeSlice({ study: 'reorg', instance: n, rows: 2, columns: 2 })]);
  if (status !== 200) throw new Error(`STOW: ${status}`);
  await untilStage(bridge.url, [sop(n)], 'anchored');
}

async function receiptOf(bridge: Bridge, n: number): Promise<Receipt> {
  return (await (await fetch(`${bridge.url}/custody/instances/${sop(n)}/receipt`)).json()) as Receipt;
}

/** Batches as the chain's events have them: how often each sequence was anchored. */
async function anchoredSequences(chain: TestChain): Promise<number[]> {
  const topics = ['0xbeaa0b8aa6e9b8ac9970b5efae09ce8a505df2a3489e608a04038d55e64a846e'];
  const logs = (await chain.rpc('eth_getLogs', [{ fromBlock: '0x0', toBlock: 'latest', topics }])) as {
    topics: string[];
  }[];
  return logs.map(({ topics }) => Number(topics[3])).sort((a, b) => a - b);
}

test('a reorganisation of 10 blocks loses no anchor and doubles none', async (t) => {
  const chain = await startChain(t);
  const bridge = await startBridge({ env: env(chain) });
  t.teardown(() => bridge.stop());
  const all = Array.from({ length: 14 }, (_, i) => i + 1);
  for (const n of all) await anchorOne(bridge, n);
  const before = await Promise.all(all.map((n) => receiptOf(bridge, n)));

  await chain.rpc('anvil_reorg', [10, []]);
  t.ok((await anchoredSequences(chain)).length < all.length, 'the chain has lost anchors');
  for (let i = 0; (await anchoredSequences(chain)).length < all.length; i++) {
    if (i === 300) throw new Error(`not anchored again\n${bridge.output().stderr}`);
    await sleep(100);
  }
  t.strictSame(
    await anchoredSequences(chain),
    all.map((n) => n - 1),
    'each batch is there once',
  );

  // Mixed in with the reorganisation's aftermath: a receipt is never of a block that is gone for long.
  for (let i = 0; ; i++) {
    const receipts = await Promise.all(all.map((n) => receiptOf(bridge, n)));
    const good = await Promise.all(
      receipts.map(async (receipt) => (await verifyReceipt(receipt, { rpc: chain.rpc })).verified),
    );
    if (good.every(Boolean)) break;
    if (i === 100) throw new Error(`receipts of blocks that are gone: ${good}`);
    await sleep(100);
  }
  const old = await Promise.all(
    before.map(async (receipt) => (await verifyReceipt(receipt, { rpc: chain.rpc })).verified),
  );
  t.strictSame(old.slice(0, 4), [true, true, true, true], 'what lay below stays proved');
  t.ok(old.includes(false), 'a receipt of a block that is gone is refused');
  t.equal((await allBatches(bridge.url)).length, all.length);
  await anchorOne(bridge, 15);
  t.match(bridge.output().stderr, /chain-reorganised/);
});

test('a reorganisation while the bridge is down is seen when it comes back', async (t) => {
  const chain = await startChain(t);
  let bridge = await startBridge({ env: { ...env(chain), DAGPACS_CHAIN_PROFILE: 'anvil' } });
  const { dataDir } = bridge;
  t.teardown(() => bridge.stop());
  for (const n of [1, 2, 3]) await anchorOne(bridge, n);
  await untilStage(bridge.url, [1, 2, 3].map(sop), 'final');
  await bridge.kill();
  await chain.rpc('anvil_reorg', [2, []]);
  const height = Number(await chain.rpc('eth_blockNumber', []));
  bridge = await startBridge({ dataDir, env: { ...env(chain), DAGPACS_CHAIN_PROFILE: 'anvil' } });
  await anchorOne(bridge, 4);
  t.strictSame(await anchoredSequences(chain), [0, 1, 2, 3]);
  t.equal(Number(await chain.rpc('eth_blockNumber', [])), height + 3, 'the two that were lost, and the new one');
  t.match(bridge.output().stderr, /final-anchors-changed/, 'what was called final and was not is reported');
});

test('a chain that goes back to the very head that was seen last is given what it lost', async (t) => {
  const chain = await startChain(t);
  const bridge = await startBridge({ env: env(chain) });
  t.teardown(() => bridge.stop());
  await anchorOne(bridge, 1);
  // Longer than a round's rest, so that the bridge has seen this head and looks at no later one before the chain is back.
  await sleep(1500);
  const snapshot = await chain.rpc('evm_snapshot', []);
  await anchorOne(bridge, 2);
  t.equal(await chain.rpc('evm_revert', [snapshot]), true);
  t.strictSame(await anchoredSequences(chain), [0], 'the chain has lost an anchor');
  for (let i = 0; (await anchoredSequences(chain)).length < 2; i++) {
    if (i === 200) throw new Error(`not anchored again\n${bridge.output().stderr}`);
    await sleep(100);
  }
  await anchorOne(bridge, 3);
  t.strictSame(await anchoredSequences(chain), [0, 1, 2]);
});
