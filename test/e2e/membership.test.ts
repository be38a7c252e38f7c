import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { privateKeyToAddress } from 'viem/accounts';
import { type Bridge, projectRoot, startBridge } from '../fixtures/bridge.ts';
import { CHAIN_KEY, startChain } from '../fixtures/chain.ts';
import { custodyStatus, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

const KEYS = [CHAIN_KEY, `0x${'0'.repeat(60)}aaaa`, `0x${'0'.repeat(60)}bbbb`] as const;
const ACCOUNTS = KEYS.map((key) => privateKeyToAddress(key).toLowerCase());

interface Institution {
  env: Record<string, string>;
  dagpacs(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
}

async function institution(t: Test, rpc: string, key: string): Promise<Institution> {
  const env: Record<string, string> = {
    DAGPACS_DATA_DIR: await tempFolder(t),
    DAGPACS_CHAIN_RPC: rpc,
    DAGPACS_CHAIN_KEY: key,
    DAGPACS_CHAIN_PROFILE: 'anvil',
    DAGPACS_ANCHOR_MAX_AGE_MS: '50',
  };
  return {
    env,
    dagpacs: (...args) =>
      new Promise((resolve) => {
        const options = { cwd: env.DAGPACS_DATA_DIR, env: { PATH: process.env.PATH, ...env } };
        execFile(process.execPath, [join(projectRoot, 'src/cli.ts'), ...args], options, (error, stdout, stderr) => {
          resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
        });
      }),
  };
}

let stored = 0;
async function storeOne(bridge: Bridge): Promise<string> {
  stored += 1;
  const made = makeSlice({ study: 'membership', instance: stored, rows: 2, columns: 2 });
  if ((await stow(bridge.dicomWeb, [made])).status !== 200) throw new Error('not stored');
  return uid('instance', 'membership', 'CT', 1, stored);
}

async function untilChain(bridge: Bridge, state: string): Promise<{ chain: { reason?: string } }> {
  for (let i = 0; ; i++) {
    const status = (await custodyStatus(bridge.url)) as { chain: { state: string; reason?: string } };
    if (status.chain.state === state) return status;
    if (i === 300) throw new Error(`still ${JSON.stringify(status.chain)}`);
    await sleep(100);
  }
}

test('members come and go by votes, and whoever has gone anchors no more', { timeout: 280_000 }, async (t) => {
  const { url, rpc } = await startChain(t);
  for (const account of ACCOUNTS) await rpc('anvil_setBalance', [account, '0x56bc75e2d63100000']);
  const [one, two, three] = (await Promise.all(KEYS.map((key) => institution(t, url, key)))) as [
    Institution,
    Institution,
    Institution,
  ];
  one.env.DAGPACS_PUBLIC_URL = 'https://one.example/bridge/';
  t.match(await one.dagpacs('consortium', 'members'), { code: 2, stderr: /run dagpacs chain init/ });
  const { stdout: made } = await one.dagpacs('chain', 'init');
  const contract = /contract (\S+)/.exec(made)?.[1] ?? '';
  for (const { env } of [two, three]) env.DAGPACS_CHAIN_CONTRACT = contract;

  const joining = async (who: Institution) => (await who.dagpacs('consortium', 'application')).stdout.trim().split(' ');
  const join2 = await joining(two);
  t.match(join2, ['--account', ACCOUNTS[1], '--key', /^x25519:[0-9a-f]{64}$/]);
  t.strictSame(await joining(two), join2, 'the key is made once');
  t.match(
    await two.dagpacs('consortium', 'propose-join', ...join2),
    { code: 1, stderr: /refuses: NotMember\(0x/ },
    'nobody admits himself',
  );
  t.match(await one.dagpacs('consortium', 'propose-join', ...join2), { code: 0, stdout: /proposal 0 is carried out/ });
  const join3 = [
    '--account',
    ACCOUNTS[2] ?? '',
    '--key',
    `p256:02${'ab'.repeat(32)}`,
    '--endpoint',
    'https://3.example',
  ];
  t.match(await two.dagpacs('consortium', 'propose-join', ...join3), { code: 0, stdout: /proposal 1 waits/ });
  t.match(await two.dagpacs('consortium', 'approve', '--proposal', '1'), { code: 1, stderr: /AlreadyApproved/ });
  const waits = `1: admit ${join3[1]} --key ${join3[3]} --endpoint https://3.example: 1 of 2 approvals`;
  t.equal((await one.dagpacs('consortium', 'proposals')).stdout, `${waits}\n`);
  t.equal((await two.dagpacs('consortium', 'proposals')).stdout, `${waits}, ours among them\n`);
  t.match(await two.dagpacs('consortium', 'revoke', '--proposal', '1'), { code: 0 });
  t.match(await one.dagpacs('consortium', 'approve', '--proposal', '1'), { stdout: /waits for more/ });
  t.match(await two.dagpacs('consortium', 'approve', '--proposal', '1'), { stdout: /is carried out/ });
  t.match(await one.dagpacs('consortium', 'approve', '--proposal', '7'), { code: 1, stderr: /UnknownProposal\(7\)/ });

  const before = (await one.dagpacs('consortium', 'members')).stdout;
  t.match(
    before,
    new RegExp(`^${ACCOUNTS[0]} since \\S+Z --key x25519:\\w{64} --endpoint https://one.example/bridge$`, 'm'),
  );
  t.match(await two.dagpacs('consortium', 'update', '--new-key', '--endpoint', 'https://two.example'), { code: 0 });
  const after = (await one.dagpacs('consortium', 'members')).stdout;
  t.not(/x25519:\w+/.exec(after.split('\n')[1] ?? '')?.[0], /x25519:\w+/.exec(before.split('\n')[1] ?? '')?.[0]);
  t.match(after, /--endpoint https:\/\/two.example$/m);
  const held = await readdir(join(two.env.DAGPACS_DATA_DIR ?? '', 'vault'));
  t.equal(held.filter((name) => name.startsWith('exchange')).length, 2, 'the old private key stays');

  const bridge = await startBridge({ dataDir: three.env.DAGPACS_DATA_DIR ?? '', env: three.env });
  t.teardown(() => bridge.stop());
  await untilStage(bridge.url, [await storeOne(bridge)], 'anchored');
  t.match(await one.dagpacs('consortium', 'propose-removal', '--account', ACCOUNTS[2] ?? ''), { stdout: /2 waits/ });
  await untilStage(bridge.url, [await storeOne(bridge)], 'anchored');
  t.match(await two.dagpacs('consortium', 'approve', '--proposal', '2'), { stdout: /2 is carried out/ });
  const kept = await storeOne(bridge);
  t.match((await untilChain(bridge, 'mismatch')).chain.reason, /not a member of the consortium/);
  const nonce = await rpc('eth_getTransactionCount', [ACCOUNTS[2], 'latest']);
  await storeOne(bridge);
  await sleep(1500);
  t.equal(await rpc('eth_getTransactionCount', [ACCOUNTS[2], 'latest']), nonce, 'nothing is wasted on the chain');
  t.match(await three.dagpacs('consortium', 'resign'), { code: 1, stderr: /NotMember/ });

  await one.dagpacs('consortium', 'propose-join', ...join3);
  t.match(await two.dagpacs('consortium', 'approve', '--proposal', '3'), { stdout: /3 is carried out/ });
  await untilStage(bridge.url, [kept], 'anchored');
  t.match(await three.dagpacs('consortium', 'resign'), { code: 0 }, 'while its bridge runs');

  const wrong: [string[], RegExp][] = [
    [['propose-join', '--account', join3[1] ?? '', '--key', 'x25519:12'], /--key must be/],
    [['approve', '--account', join3[1] ?? ''], /approve does not take --account/],
  ];
  for (const [args, reason] of wrong) {
    t.match(await one.dagpacs('consortium', ...args), { code: 2, stderr: reason }, args.join(' '));
  }
});
