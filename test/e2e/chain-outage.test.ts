import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { CHAIN_KEY, type Fault, startChainAt, startFaultyNode } from '../fixtures/chain.ts';
import { allBatches, custodyStatus, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { freePorts } from '../fixtures/ports.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

interface Status {
  chain: { state: string; reason?: string };
  outbox: { problem: string | null; waiting: number };
}

let stored = 0;
const sop = (n: number) => uid('instance', 'outage', 'CT', 1, n);

/** Stores one instance, which must not depend on the chain. */
async function storeOne(bridge: Bridge): Promise<string> {
  stored += 1;
  const { status } = await stow(bridge.dicomWeb, [
    makeSlice({ study: 'outage', instance: stored, rows: 2, columns: 2 }),
  ]);
  if (status !== 200) throw new Error(`STOW: ${status}`);
  return sop(stored);
}

async function untilState(bridge: Bridge, state: string): Promise<Status> {
  for (let i = 0; ; i++) {
    const status = (await custodyStatus(bridge.url)) as Status;
    if (status.chain.state === state) return status;
    if (i === 300) throw new Error(`still ${JSON.stringify(status.chain)}`);
    await sleep(100);
  }
}

test('whatever the node does, instances are taken, the state is told, and anchoring goes on by itself', async (t) => {
  const [port = 0] = await freePorts(1);
  const chain = await startChainAt(t, port);
  const node = await startFaultyNode(t, () => chain.url);
  const dataDir = await tempFolder(t);
  const env = {
    DAGPACS_CHAIN_RPC: node.url,
    DAGPACS_CHAIN_KEY: CHAIN_KEY,
    DAGPACS_CHAIN_PROFILE: 'anvil',
    DAGPACS_ANCHOR_MAX_AGE_MS: '50',
  };
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  await untilStage(bridge.url, [await storeOne(bridge)], 'anchored');

  const faults: [Fault, string][] = [
    ['down', 'unreachable'],
    ['hung', 'unreachable'],
    ['html', 'unreachable'],
    ['nonsense', 'unreachable'],
    ['other-chain', 'mismatch'],
  ];
  for (const [fault, state] of faults) {
    node.fault(fault);
    const waits = await storeOne(bridge);
    const { chain: told } = await untilState(bridge, state);
    t.ok(told.reason, `${fault}: ${told.reason}`);
    await storeOne(bridge);
    if (state === 'unreachable') {
      const { outbox } = (await custodyStatus(bridge.url)) as Status;
      t.equal(outbox.waiting, 2, 'how many wait is told, in a batch or not');
    }
    node.fault('none');
    await untilStage(bridge.url, [waits, sop(stored)], 'anchored');
    await untilState(bridge, 'connected');
  }

  node.fault('hung');
  await storeOne(bridge);
  t.match(await bridge.stop(), { code: 0 }, 'a stop does not wait for a node that hangs');
  node.fault('none');
  bridge = await startBridge({ dataDir, env });
  await untilStage(bridge.url, [sop(stored)], 'anchored');

  // A node that was created anew, at the same address, with a chain of its own.
  const before = await allBatches(bridge.url);
  await chain.stop();
  const fresh = await startChainAt(t, port);
  const waits = await storeOne(bridge);
  const { chain: told } = await untilState(bridge, 'mismatch');
  t.match(told.reason, /another chain|contract is gone|not the chain/);
  await bridge.stop();
  bridge = await startBridge({ dataDir, env });
  t.match((await untilState(bridge, 'mismatch')).chain.reason, /not the chain that the data directory was anchored on/);
  await storeOne(bridge);
  t.equal((await allBatches(bridge.url)).filter(({ sequence }) => sequence < before.length).length, before.length);
  t.equal(await fresh.rpc('eth_blockNumber', []), '0x0', 'nothing was sent to the other chain');
  t.equal((await fetch(`${bridge.url}/custody/instances/${waits}/receipt`)).status, 404);
});

test('a key that anchors for another data directory is refused, and said', async (t) => {
  const [port = 0] = await freePorts(1);
  const { url, rpc } = await startChainAt(t, port);
  const env = { DAGPACS_CHAIN_RPC: url, DAGPACS_CHAIN_KEY: CHAIN_KEY, DAGPACS_ANCHOR_MAX_AGE_MS: '50' };
  const first = await startBridge({ env });
  t.teardown(() => first.stop());
  const [{ anchor } = {}] = (await untilStage(first.url, [await storeOne(first)], 'anchored'))[0]?.versions ?? [];
  await first.stop();
  const second = await startBridge({ env: { ...env, DAGPACS_CHAIN_CONTRACT: anchor?.contract ?? '' } });
  t.teardown(() => second.stop());
  await storeOne(second);
  for (let i = 0; ; i++) {
    const { outbox } = (await custodyStatus(second.url)) as Status;
    if (outbox.problem !== null) {
      t.match(outbox.problem, /anchors of our account/);
      break;
    }
    if (i === 100) t.fail('it is not said');
    await sleep(100);
  }
  const height = await rpc('eth_blockNumber', []);
  await sleep(1500);
  t.equal(await rpc('eth_blockNumber', []), height, 'no transaction is wasted');
});
