import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openIndex } from '../../src/adapters/index/sqlite.ts';
import { openLedger } from '../../src/adapters/ledger/ledger.ts';
import { ledgerDefaults } from '../../src/adapters/ledger/options.ts';
import { Sender } from '../../src/flows/anchor/send.ts';
import { cidFromDigest, DAG_CBOR } from '../../src/ipld/cid.ts';
import type { Hex } from '../../src/ports/ledger.ts';
import { type Bridge, projectRoot, startBridge } from '../fixtures/bridge.ts';
import { CHAIN_KEY, type Scope, startChain, type TestChain, testProfile } from '../fixtures/chain.ts';
import { custodyOf, custodyStatus } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { stow } from '../fixtures/stow.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import { median } from './table.ts';

const RATE = 200;
const BATCH = 256;
const SAMPLE_EVERY = 7;
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** What the chain's part is measured by, in milliseconds and instances a second. */
export interface ChainFigures {
  /** From stored to anchored, 200 instances a second, a block a second: 95th percentile. */
  lagMs: number;
  /** Of a backlog, with a block a second. */
  drained: number;
  receiptMs: number;
  /** `dagpacs verify` as a process. */
  verifyMs: number;
  /** Of instances without pixels, from CAR files. */
  rebuilt: number;
}

/** Measures on anvils with a block a second; `seconds` of load, a backlog of `backlog` instances. */
export async function measureChain(seconds: number, backlog: number): Promise<ChainFigures> {
  const undo: (() => unknown)[] = [];
  const scope = { teardown: (step: () => unknown) => void undo.push(step) };
  try {
    const drained = await drain(await startChain(scope, '--block-time', '1'), backlog, scope);
    const chain = await startChain(scope, '--block-time', '1');
    const dataDir = await makeTempFolder();
    scope.teardown(() => removeFolder(dataDir));
    const env = { DAGPACS_CHAIN_RPC: chain.url, DAGPACS_CHAIN_KEY: CHAIN_KEY, DAGPACS_CHAIN_PROFILE: 'anvil' };
    const bridge = await startBridge({ dataDir, env });
    scope.teardown(() => bridge.stop());
    const { lagMs, count } = await lag(bridge, seconds);
    const { receiptMs, verifyMs } = await proofs(bridge, chain, dataDir);
    await bridge.stop();
    return { lagMs, drained, receiptMs, verifyMs, rebuilt: await rebuildFrom(dataDir, env, count, scope) };
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

const sop = (n: number) => uid('instance', `chain-${Math.floor(n / 50)}`, 'CT', 1, n);

/** Pushes at a steady rate, and asks afterwards when each was stored and anchored. */
async function lag(bridge: Bridge, seconds: number): Promise<{ lagMs: number; count: number }> {
  const began = performance.now();
  const pushes: Promise<unknown>[] = [];
  const per = RATE / 10;
  let count = 0;
  for (let tick = 0; tick < seconds * 10; tick++) {
    const files = Array.from({ length: per }, () => {
      const n = count++;
      return makeSlice({ study: `chain-${Math.floor(n / 50)}`, instance: n, rows: 2, columns: 2 });
    });
    pushes.push(stow(bridge.dicomWeb, files));
    await sleep(Math.max(0, began + 100 * (tick + 1) - performance.now()));
  }
  await Promise.all(pushes);
  for (;;) {
    const { stages, counts } = (await custodyStatus(bridge.url)) as {
      stages: Record<string, number>;
      counts: { versions: number };
    };
    if (stages.final === counts.versions) break;
    await sleep(100);
  }
  const lags: number[] = [];
  for (let n = 0; n < count; n += SAMPLE_EVERY) {
    const [version] = (await custodyOf(bridge.url, sop(n))).versions;
    lags.push(Date.parse(version?.stages.anchored ?? '') - Date.parse(version?.stages.stored ?? ''));
  }
  return { lagMs: lags.toSorted((a, b) => a - b)[Math.floor(lags.length * 0.95)] ?? Number.NaN, count };
}

/** Batches that were closed while the chain was away, of six studies each. */
async function drain(chain: TestChain, instances: number, scope: Scope): Promise<number> {
  const folder = await makeTempFolder();
  scope.teardown(() => removeFolder(folder));
  const index = openIndex({ dataDir: folder, log: quiet });
  const options = { ...ledgerDefaults, directory: join(folder, 'chain'), rpc: chain.url, key: CHAIN_KEY };
  const ledger = openLedger({ ...options, profile: testProfile }, quiet);
  scope.teardown(() => index.close());
  scope.teardown(() => ledger.close());
  while ((await ledger.status()).state !== 'connected') await sleep(50);
  const random = (): Hex => `0x${randomBytes(32).toString('hex')}`;
  let previousRoot: Hex = `0x${'0'.repeat(64)}`;
  const batches = Math.ceil(instances / BATCH);
  for (let sequence = 0; sequence < batches; sequence++) {
    const [id, merkleRoot] = [random(), random()];
    const record = cidFromDigest(DAG_CBOR, Buffer.from(id.slice(2), 'hex'));
    const closedAt = new Date().toISOString();
    const studies = Array.from({ length: 6 }, () => ({ reference: random(), total: 50 }));
    const batch = { id, sequence, record, previousRoot, merkleRoot, closedAt, count: BATCH };
    await index.addBatch(batch, [], studies, { pack: 1, offset: 100 + sequence });
    previousRoot = merkleRoot;
  }
  const sender = new Sender({ stuckAfterMs: 30_000 }, { index, ledger, log: quiet });
  const began = performance.now();
  // As the outbox does: at once where something was anchored, else after a second.
  while (index.unfinished('anchor', 1).length > 0) if ((await sender.round()) === 0) await sleep(1000);
  return (batches * BATCH * 1000) / (performance.now() - began);
}

async function proofs(bridge: Bridge, chain: TestChain, folder: string) {
  const receipts: number[] = [];
  let text = '';
  for (let n = 0; n < 100; n++) {
    const began = performance.now();
    text = await (await fetch(`${bridge.url}/custody/instances/${sop(n)}/receipt`)).text();
    receipts.push(performance.now() - began);
  }
  const receipt = join(folder, 'receipt.json');
  await writeFile(receipt, text);
  const verifications: number[] = [];
  for (let i = 0; i < 5; i++) {
    const began = performance.now();
    await dagpacs({}, 'verify', '--receipt', receipt, '--rpc', chain.url);
    verifications.push(performance.now() - began);
  }
  return { receiptMs: median(receipts), verifyMs: median(verifications) };
}

async function rebuildFrom(dataDir: string, env: Record<string, string>, count: number, scope: Scope): Promise<number> {
  const folder = await makeTempFolder();
  scope.teardown(() => removeFolder(folder));
  for (const kept of ['vault', 'chain']) await cp(join(dataDir, kept), join(folder, kept), { recursive: true });
  const settings = { ...env, DAGPACS_DATA_DIR: folder };
  const said = await dagpacs(settings, 'rebuild', '--car', join(dataDir, 'blocks'));
  const [, found, seconds] = /^(\d+) versions of \d+ batches in ([\d.]+) s/.exec(said) ?? [];
  if (Number(found) !== count) throw new Error(`rebuilt ${found} of ${count}: ${said}`);
  return count / Number(seconds);
}

function dagpacs(env: Record<string, string>, ...args: string[]): Promise<string> {
  const options = { env: { PATH: process.env.PATH, ...env } };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [join(projectRoot, 'src/cli.ts'), ...args], options, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    );
  });
}
