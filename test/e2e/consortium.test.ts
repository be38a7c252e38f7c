import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { test } from 'tap';
import { privateKeyToAddress } from 'viem/accounts';
import { verifyReceipt } from '../../src/proof/verify.ts';
import { type Bridge, projectRoot, startBridge } from '../fixtures/bridge.ts';
import { INSTITUTIONS, type Signer, skipGeth, startConsortium } from '../fixtures/clique.ts';
import { custodyStatus, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

const run = promisify(execFile);
const ANCHORED = '0xbeaa0b8aa6e9b8ac9970b5efae09ce8a505df2a3489e608a04038d55e64a846e';
const addressOf = (key: `0x${string}`) => privateKeyToAddress(key).toLowerCase() as `0x${string}`;

let stored = 0;
async function storeOne(bridge: Bridge): Promise<string> {
  stored += 1;
  await stow(bridge.dicomWeb, [makeSlice({ study: 'consortium', instance: stored, rows: 2, columns: 2 })]);
  return uid('instance', 'consortium', 'CT', 1, stored);
}

/** Sequences that a node's chain has of an institution, in their order. */
async function sequences({ rpc }: Signer, institution: `0x${string}`): Promise<number[]> {
  const topics = [ANCHORED, `0x${institution.slice(2).padStart(64, '0')}`];
  const logs = (await rpc('eth_getLogs', [{ fromBlock: '0x0', toBlock: 'latest', topics }])) as { topics: string[] }[];
  return logs.map(({ topics }) => Number(topics[3]));
}

test('three institutions on a chain of three signers', { skip: skipGeth }, async (t) => {
  const consortium = await startConsortium(t);
  const [one, two, three] = consortium.signers as [Signer, Signer, Signer];
  const folders = await Promise.all(INSTITUTIONS.map(() => tempFolder(t)));
  const envOf = (i: number) => ({
    DAGPACS_DATA_DIR: folders[i] as string,
    DAGPACS_CHAIN_RPC: (consortium.signers[i] as Signer).url,
    DAGPACS_CHAIN_KEY: INSTITUTIONS[i] as string,
    DAGPACS_CHAIN_PROFILE: 'clique',
    DAGPACS_ANCHOR_MAX_AGE_MS: '100',
    DAGPACS_LOG_LEVEL: 'warn',
  });
  let contract = '';
  const dagpacs = async (i: number, ...args: string[]) => {
    const env = { PATH: process.env.PATH, ...envOf(i), DAGPACS_CHAIN_CONTRACT: contract };
    return (await run(process.execPath, [join(projectRoot, 'src/cli.ts'), ...args], { cwd: folders[i], env })).stdout;
  };
  t.equal(await dagpacs(0, 'chain', 'address'), `${addressOf(INSTITUTIONS[0] as `0x${string}`)}\n`);
  const made = await dagpacs(0, 'chain', 'init');
  t.match(made, /chain 4711\ncontract 0x[0-9a-f]{40}\n/);
  t.equal(await dagpacs(0, 'chain', 'init'), made, 'a second time changes nothing');
  contract = /contract (\S+)/.exec(made)?.[1] ?? '';

  // The first member decides alone about the second; about the third, both.
  const propose = async (joins: number) => {
    const application = (await dagpacs(joins, 'consortium', 'application')).trim().split(' ');
    return dagpacs(0, 'consortium', 'propose-join', ...application);
  };
  t.match(await propose(1), /proposal 0 is carried out/);
  t.match(await propose(2), /proposal 1 waits/);
  // The node of the second may be a block behind.
  for (let i = 0; !(await dagpacs(1, 'consortium', 'proposals')).startsWith('1: admit'); i++) {
    if (i === 20) throw new Error('the proposal is not seen');
  }
  t.match(await dagpacs(1, 'consortium', 'approve', '--proposal', '1'), /proposal 1 is carried out/);
  const members = await dagpacs(1, 'consortium', 'members');
  t.strictSame(members.match(/^0x\w+/gm), INSTITUTIONS.map(addressOf));

  const bridges = await Promise.all(
    [0, 1, 2].map(async (i) => {
      const bridge = await startBridge({
        dataDir: folders[i] as string,
        env: { ...envOf(i), DAGPACS_CHAIN_CONTRACT: contract },
      });
      t.teardown(() => bridge.stop());
      return bridge;
    }),
  );
  const [first, second, third] = bridges as [Bridge, Bridge, Bridge];
  for (const [i, bridge] of bridges.entries()) {
    const sop = await storeOne(bridge);
    await untilStage(bridge.url, [sop], 'anchored');
    const receipt = await (await fetch(`${bridge.url}/custody/instances/${sop}/receipt`)).json();
    const elsewhere = consortium.signers[(i + 1) % 3] as Signer;
    const institution = addressOf(INSTITUTIONS[i] as `0x${string}`);
    let verified = false;
    // The other signer may be a block behind.
    for (let tries = 0; !verified && tries < 50; tries++) {
      verified = (await verifyReceipt(receipt, { rpc: elsewhere.rpc, institution })).verified;
      if (!verified) await sleep(100);
    }
    t.ok(verified, 'another institution’s node proves it');
  }

  await t.test('one signer stops: anchoring goes on, and its own bridge takes instances', async (t) => {
    await consortium.stop(three);
    const waits = await storeOne(third);
    for (const bridge of [first, second]) await untilStage(bridge.url, [await storeOne(bridge)], 'anchored');
    t.match(await custodyStatus(third.url), { chain: { state: 'unreachable' } });
    await three.start();
    await consortium.join();
    await untilStage(third.url, [waits], 'anchored');
  });

  await t.test('a signer is cut off and comes back: no anchor is lost, none is doubled', async (t) => {
    await consortium.cutOff(one);
    const alone = await Promise.all(Array.from({ length: 3 }, () => storeOne(first)));
    const others = [await storeOne(second), await storeOne(third)];
    await untilStage(second.url, others.slice(0, 1), 'anchored');
    await untilStage(third.url, others.slice(1), 'anchored');
    await sleep(3000);
    await consortium.join();
    await untilStage(first.url, alone, 'anchored');
    await untilStage(first.url, alone, 'final');
    for (const [i, bridge] of bridges.entries()) {
      const { counts } = (await custodyStatus(bridge.url)) as { counts: { versions: number } };
      const found = await sequences(two, addressOf(INSTITUTIONS[i] as `0x${string}`));
      t.strictSame(
        found,
        found.map((_, sequence) => sequence),
        `institution ${i}: ${found.length} batches, each once`,
      );
      t.ok(found.length <= counts.versions);
    }
    const receipts = await Promise.all(
      alone.map(async (sop) => (await fetch(`${first.url}/custody/instances/${sop}/receipt`)).json()),
    );
    for (const receipt of receipts) t.match(await verifyReceipt(receipt, { rpc: two.rpc }), { verified: true });
  });
});
