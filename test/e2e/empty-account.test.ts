import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { privateKeyToAddress } from 'viem/accounts';
import { startBridge } from '../fixtures/bridge.ts';
import { CHAIN_KEY, startChain } from '../fixtures/chain.ts';
import { custodyStatus, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { stow } from '../fixtures/stow.ts';

interface Status {
  chain: { state: string };
  outbox: { problem: string | null };
}

test('an account without ether is said, and its fees do not rise meanwhile', async (t) => {
  const chain = await startChain(t);
  const setBalance = (wei: string) => chain.rpc('anvil_setBalance', [privateKeyToAddress(CHAIN_KEY), wei]);
  const bridge = await startBridge({
    env: { DAGPACS_CHAIN_RPC: chain.url, DAGPACS_CHAIN_KEY: CHAIN_KEY, DAGPACS_ANCHOR_MAX_AGE_MS: '50' },
  });
  t.teardown(() => bridge.stop());
  const until = async (is: (status: Status) => boolean) => {
    for (let i = 0; ; i++) {
      const status = (await custodyStatus(bridge.url)) as Status;
      if (is(status)) return;
      if (i === 100) throw new Error(`still ${JSON.stringify(status)}`);
      await sleep(100);
    }
  };
  await until(({ chain }) => chain.state === 'connected');
  await setBalance('0x0');
  t.equal((await stow(bridge.dicomWeb, [makeSlice({ study: 'ether', rows: 2, columns: 2 })])).status, 200);
  await until(({ outbox }) => /send ether to 0x/.test(outbox.problem ?? ''));
  await sleep(4000);
  const { stdout, stderr } = bridge.output();
  t.notMatch(stdout + stderr, /transaction-replaced/);
  await setBalance('0x56bc75e2d63100000');
  await untilStage(bridge.url, [uid('instance', 'ether', 'CT', 1, 1)], 'anchored');
  await until(({ outbox }) => outbox.problem === null);
});
