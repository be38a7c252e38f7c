import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { stripTypeScriptTypes } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { type Test, test } from 'tap';
import { abi } from '../../src/adapters/ledger/anchor-log.ts';
import { startAnvil } from '../../src/adapters/ledger/anvil.ts';
import { ledgerDefaults } from '../../src/adapters/ledger/options.ts';
import { cidFromDigest, DAG_CBOR } from '../../src/ipld/cid.ts';
import { dagCborCid, type Hex, toHex } from '../../src/proof/bytes.ts';
import { leafHash } from '../../src/proof/merkle.ts';
import type { Receipt, StudyReceipt } from '../../src/proof/receipt.ts';
import { httpRpc, type Rpc, verifyReceipt, verifyStudy } from '../../src/proof/verify.ts';
import { type Bridge, projectRoot, startBridge } from '../fixtures/bridge.ts';
import { startBrowser } from '../fixtures/browser.ts';
import { untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

const KEY = `0x${'0'.repeat(60)}beef`;
const SOP = (instance: number) => uid('instance', 'receipt', 'CT', 1, instance);
const STUDY = uid('study', 'receipt');
const slice = (instance: number, patientName?: string) =>
  makeSlice({ study: 'receipt', instance, rows: 2, columns: 2, ...(patientName === undefined ? {} : { patientName }) });

/** A chain that is nobody's child of the bridge's, so that it is there when the bridge is gone. */
async function chainFor(t: Test): Promise<string> {
  const silent = () => undefined;
  const anvil = await startAnvil(
    { ...ledgerDefaults, directory: await tempFolder(t) },
    { info: silent, warn: silent, error: silent },
  );
  t.teardown(() => anvil.stop());
  const { privateKeyToAddress } = await import('viem/accounts');
  await httpRpc(anvil.url)('anvil_setBalance', [privateKeyToAddress(KEY as `0x${string}`), '0x56bc75e2d63100000']);
  return anvil.url;
}

async function getJson<T>(bridge: Bridge, path: string, status = 200): Promise<T> {
  const response = await fetch(`${bridge.url}/custody${path}`);
  if (response.status !== status) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** Runs `dagpacs verify` where there is neither bridge nor data directory. */
function verify(cwd: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const cli = join(projectRoot, 'src/cli.ts');
    execFile(process.execPath, [cli, 'verify', ...args], { cwd }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

/** A node whose answers are remembered, so that thousands of receipts can be checked against it. */
function remembered(rpc: Rpc): Rpc {
  const answers = new Map<string, Promise<unknown>>();
  return (method, params) => {
    const name = JSON.stringify([method, params]);
    const answer = answers.get(name) ?? rpc(method, params);
    answers.set(name, answer);
    return answer;
  };
}

/** The verifier's modules as a browser gets them, and the node behind the same origin. */
async function serveVerifier(t: Test, rpc: Rpc): Promise<string> {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    if (path === '/rpc') {
      const { method, params } = (await json(request)) as { method: string; params: unknown[] };
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ result: await rpc(method, params) }));
    } else if (/^\/src\/(proof|kernel)\/[\w-]+\.ts$/.test(path)) {
      const source = await readFile(join(projectRoot, path), 'utf8');
      response.setHeader('content-type', 'text/javascript').end(stripTypeScriptTypes(source));
    } else {
      response.setHeader('content-type', 'text/html').end('<!doctype html><title>verify</title>');
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a node behind a password is asked with the user and password of its URL', async (t) => {
  const server = createServer((request, response) => {
    response.end(JSON.stringify({ result: [request.headers.authorization ?? '', request.url] }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const place = `127.0.0.1:${(server.address() as AddressInfo).port}/key`;
  const basic = `Basic ${Buffer.from('Zoë:p@ss').toString('base64')}`;
  t.strictSame(await httpRpc(`http://Zo%C3%AB:p%40ss@${place}`)('eth_chainId', []), [basic, '/key']);
  t.strictSame(await httpRpc(`http://${place}`)('eth_chainId', []), ['', '/key']);
});

test('receipts prove instances, versions and studies, with no bridge left', async (t) => {
  const rpc = await chainFor(t);
  const folder = await tempFolder(t);
  const bridge = await startBridge({
    env: {
      DAGPACS_CHAIN_RPC: rpc,
      DAGPACS_CHAIN_KEY: KEY,
      DAGPACS_ANCHOR_MAX_AGE_MS: '100',
      DAGPACS_ANCHOR_MAX_BATCH: '5',
    },
  });
  t.teardown(() => bridge.stop());
  const files = [1, 2, 3, 4, 5, 6, 7].map((instance) => slice(instance));
  const other = makeSlice({ study: 'receipt other', rows: 2, columns: 2 });
  const renamed = slice(2, 'Phantom^Renamed');
  t.equal((await stow(bridge.dicomWeb, [...files, other])).status, 200);
  await untilStage(bridge.url, [1, 2, 3, 4, 5, 6, 7].map(SOP), 'anchored');
  t.equal((await stow(bridge.dicomWeb, [renamed])).status, 200);
  await untilStage(bridge.url, [SOP(2)], 'anchored');

  const receipt = await getJson<Receipt>(bridge, `/instances/${SOP(2)}/receipt`);
  const first = await getJson<Receipt>(bridge, `/instances/${SOP(2)}/receipt?version=1`);
  const third = await getJson<Receipt>(bridge, `/instances/${SOP(3)}/receipt`);
  const history = await getJson<{ version: number; receipt: Receipt }[]>(bridge, `/instances/${SOP(2)}/receipts`);
  const study = await getJson<StudyReceipt>(bridge, `/studies/${STUDY}/receipt`);
  const early = await getJson<StudyReceipt>(bridge, `/studies/${STUDY}/receipt?until=${first.batch.sequence}`);
  const unknown = await getJson<{ type: string }>(bridge, '/instances/1.2.3/receipt', 404);
  t.equal(unknown.type, 'urn:dagpacs:error:not-found');
  t.strictSame(
    history.map((each) => each.receipt),
    [first, receipt],
    'each version has its receipt',
  );
  const began = performance.now();
  for (let i = 0; i < 20; i++) await getJson(bridge, `/instances/${SOP(2)}/receipt`);
  t.comment(`a receipt takes ${((performance.now() - began) / 20).toFixed(2)} ms`);
  const salts = study.leaves.map(({ salt }) => salt);
  t.equal(new Set(salts).size, salts.length, 'no salt opens two leaves');
  await bridge.stop();

  const paths = await Promise.all(
    Object.entries({ receipt, first, third, study, renamed, original: files[1] as Buffer, other }).map(
      async ([name, value]) => {
        const path = join(folder, name);
        await writeFile(path, Buffer.isBuffer(value) ? value : JSON.stringify(value, null, 2));
        return [name, path] as const;
      },
    ),
  );
  const at = Object.fromEntries(paths) as Record<string, string>;
  const run = (name: string, ...more: string[]) =>
    verify(folder, '--rpc', rpc, '--receipt', at[name] as string, ...more);
  const instance = (name: string) => ['--instance', at[name] as string];

  const timed = performance.now();
  const good = await run('receipt', ...instance('renamed'));
  t.comment(`dagpacs verify takes ${(performance.now() - timed).toFixed(0)} ms`);
  t.match(good, { code: 0, stdout: /VERIFIED/ });
  for (const step of ['file', 'root', 'chain', 'contract', 'anchor', 'block', 'study'])
    t.match(good.stdout, `ok    ${step}:`);
  t.match(await run('first', ...instance('original')), { code: 0 });
  t.match(await run('receipt', ...instance('original')), { code: 1, stdout: /FAIL {2}file/ }, 'the other version');
  t.match(await run('receipt', ...instance('other')), { code: 1 });
  t.match(await run('third'), { code: 0, stdout: /no file was given/ });
  t.match(await run('study'), { code: 0, stdout: /all 8 versions of the study/ });
  t.match(await run('original'), { code: 1 }, 'a file that is no receipt');
  t.match(await run('receipt', '--institution', `0x${'1'.repeat(40)}`), { code: 1, stdout: /FAIL {2}institution/ });
  t.match(await run('receipt', '--contract', `0x${'1'.repeat(40)}`), { code: 1, stdout: /FAIL {2}contract/ });
  t.match(await run('receipt', '--instance', join(folder, 'none')), { code: 2 });
  t.match(await run('receipt', '--wrong'), { code: 2, stderr: /Usage/ });
  t.match(await run('receipt', '--contract', '0x12'), { code: 2, stderr: /--contract must be an address/ });
  t.match(await verify(folder, '--receipt', at.receipt as string, '--rpc', 'http://127.0.0.1:1'), { code: 2 });

  const node = remembered(httpRpc(rpc));
  await t.test('a browser verifies', { skip: skipWithout('chromium') }, async (t) => {
    const url = await serveVerifier(t, node);
    const browser = await startBrowser();
    t.teardown(() => browser.close());
    const page = await browser.newPage();
    await page.goto(url);
    const script = `async ({ receipt, bytes }) => {
      const { httpRpc, verifyReceipt } = await import('/src/proof/verify.ts');
      const file = Uint8Array.from(bytes);
      const rpc = httpRpc('/rpc');
      const { verified, steps } = await verifyReceipt(receipt, { file, rpc });
      file[7] ^= 1;
      return { verified, steps: steps.length, flipped: (await verifyReceipt(receipt, { file, rpc })).verified };
    }`;
    const outcome = await page.evaluate(`(${script})(${JSON.stringify({ receipt, bytes: [...renamed] })})`);
    t.strictSame(outcome, { verified: true, steps: 10, flipped: false });
  });

  await t.test('any flipped bit of the file is found', async (t) => {
    const missed: number[] = [];
    for (let at = 0; at < renamed.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const file = Uint8Array.from(renamed);
        file[at] = (file[at] as number) ^ (1 << bit);
        if ((await verifyReceipt(receipt, { file, rpc: node })).verified) missed.push(8 * at + bit);
      }
    }
    t.strictSame(missed, [], `${8 * renamed.length} bits`);
  });

  await t.test('any flipped bit of a receipt is found', async (t) => {
    const file = { sha256: `0x${createHash('sha256').update(renamed).digest('hex')}` } as const;
    t.ok((await verifyReceipt(receipt, { file, rpc: node })).verified);
    const bytes = Buffer.from(JSON.stringify(receipt, null, 1));
    const missed: string[] = [];
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] as number) ^ (1 << bit);
        let parsed: unknown;
        try {
          parsed = JSON.parse(changed.toString());
        } catch {
          continue;
        }
        if ((await verifyReceipt(parsed, { file, rpc: node })).verified) missed.push(changed.toString());
      }
    }
    t.strictSame(missed, [], `${8 * bytes.length} bits`);
  });

  await t.test('a receipt that leaves out, adds or says of another tree is refused', async (t) => {
    for (const name of Object.keys(receipt)) {
      const { [name as keyof Receipt]: _, ...rest } = receipt;
      t.notOk((await verifyReceipt(rest, { rpc: node })).verified, `without ${name}`);
    }
    const more = [{ ...receipt, x: 1 }, { ...receipt, batch: { ...receipt.batch, x: 1 } }, null, [], 'x', 1];
    for (const each of more) t.notOk((await verifyReceipt(each, { rpc: node })).verified);
    // The last leaf of 5 is proved by the same path in a tree of 8 with a root of the same name: only the anchor's count tells.
    for (const count of [first.batch.count - 1, first.batch.count + 1, 2 * first.batch.count]) {
      const lied = { ...first, batch: { ...first.batch, count } };
      t.notOk((await verifyReceipt(lied, { rpc: node })).verified, `a tree of ${count}`);
    }
  });

  await t.test('a study receipt is complete or refused', async (t) => {
    const now = await verifyStudy(study, { rpc: node });
    t.match(now, { verified: true, later: 0 });
    t.equal(study.leaves.length, 8);
    const before = await verifyStudy(early, { rpc: node });
    t.ok(before.verified);
    t.ok(before.later > 0, 'what came later is seen');
    for (const [i] of study.leaves.entries()) {
      const leaves = study.leaves.toSpliced(i, 1);
      t.notOk((await verifyStudy({ ...study, leaves }, { rpc: node })).verified, `leaf ${i} is withheld`);
      const total = study.total - 1;
      t.notOk((await verifyStudy({ ...study, leaves, total }, { rpc: node })).verified, `and not counted`);
    }
    const twice = { ...study, leaves: [...study.leaves.slice(0, -1), study.leaves[0]] };
    t.notOk((await verifyStudy(twice, { rpc: node })).verified, 'one leaf for another');
    const skipped = {
      ...study,
      batches: study.batches.slice(1),
      leaves: study.leaves.filter(({ of }) => of > 0).map((leaf) => ({ ...leaf, of: leaf.of - 1 })),
    };
    t.notOk((await verifyStudy(skipped, { rpc: node })).verified, 'the first batch is withheld');
    t.notOk((await verifyStudy({ ...study, batches: [] }, { rpc: node })).verified);
  });

  await t.test('a node that answers nonsense says nothing', async (t) => {
    const answers: unknown[] = [null, '', '0x', 'x', {}, [], 7, '0xzz', { hash: 1 }, [{ topics: 1 }]];
    for (const answer of answers) {
      for (const method of ['eth_chainId', 'eth_getCode', 'eth_call', 'eth_getBlockByNumber', 'eth_getLogs']) {
        const liar: Rpc = async (asked, params) => (asked === method ? answer : node(asked, params));
        const outcome = await verifyReceipt(receipt, { rpc: liar }).then(
          ({ verified }) => verified,
          (error: { code?: string }) => error.code,
        );
        t.not(outcome, true, `${method}: ${JSON.stringify(answer)}`);
      }
    }
  });

  await t.test('a node that has dropped its events cannot tell', async (t) => {
    const pruned: Rpc = async (method, params) => (method === 'eth_getLogs' ? [] : node(method, params));
    const cannot = { code: 'chain-unavailable', message: /does not have the events of block \d+/ };
    await t.rejects(verifyReceipt(receipt, { rpc: pruned }), cannot);
    await t.rejects(verifyStudy(study, { rpc: pruned }), cannot);
    const { anchor } = study.batches[0] as StudyReceipt['batches'][number];
    const older: Rpc = async (method, params) => {
      const answer = await node(method, params);
      const [{ fromBlock } = {}] = params as { fromBlock?: string }[];
      if (method !== 'eth_getLogs' || fromBlock === undefined) return answer;
      return (answer as { transactionHash: string }[]).filter((log) => log.transactionHash !== anchor.transactionHash);
    };
    await t.rejects(verifyStudy(study, { rpc: older }), cannot, 'where they are searched for, too');
  });

  await t.test('a counter that the institution began again is seen', async (t) => {
    const { leaf: opened, ...anchored } = await anchorAgain(rpc, study);
    const again = { ...study, total: 1, batches: [anchored], leaves: [{ ...opened, of: 0 }] };
    const { verified, steps } = await verifyStudy(again, { rpc: httpRpc(rpc) });
    t.notOk(verified);
    t.match(steps.at(-1), {
      step: 'complete',
      ok: false,
      detail: /has \d anchors of the study by then, the receipt 1/,
    });
    t.match(await verifyStudy(study, { rpc: httpRpc(rpc) }), { verified: true, later: 1 });
  });
});

/** What an institution could do that wants to withhold: a batch of the study's first leaf alone, counted from 1 again. */
async function anchorAgain(rpc: string, { reference, leaves, batches }: StudyReceipt) {
  const { createWalletClient, http, publicActions } = await import('viem');
  const { privateKeyToAccount } = await import('viem/accounts');
  const { of: _, ...first } = leaves[0] as StudyReceipt['leaves'][number];
  const { anchor } = batches[0] as StudyReceipt['batches'][number];
  const bytes = (hex: string) => Buffer.from(hex.slice(2), 'hex');
  const node = dagCborCid(first.node) as Uint8Array;
  const merkleRoot = toHex(await leafHash(bytes(first.salt), bytes(reference), bytes(first.digest), node));
  const client = createWalletClient({ account: privateKeyToAccount(KEY as Hex), transport: http(rpc) }).extend(
    publicActions,
  );
  const contract = { abi, address: anchor.contract };
  const [previousRoot, at] = await client.readContract({
    ...contract,
    functionName: 'head',
    args: [anchor.institution],
  });
  const batch = toHex(createHash('sha256').update('again').digest());
  const studies = [{ studyReference: reference, total: 1n }];
  const args = [batch, at, previousRoot, merkleRoot, 1, studies] as const;
  const hash = await client.writeContract({ ...contract, functionName: 'anchor', args, chain: null });
  const { blockNumber, blockHash } = await client.waitForTransactionReceipt({ hash, pollingInterval: 50 });
  const { timestamp } = await client.getBlock({ blockNumber });
  const record = cidFromDigest(DAG_CBOR, bytes(batch)).toString();
  const blockTime = new Date(1000 * Number(timestamp)).toISOString();
  const place = { transactionHash: hash, blockNumber: Number(blockNumber), blockHash, blockTime };
  return {
    leaf: { ...first, leafIndex: 0, path: [] },
    batch: { sequence: Number(at), previousRoot, merkleRoot, count: 1, record },
    anchor: { ...anchor, ...place },
  };
}
