import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { verifyReceipt } from '../../src/proof/verify.ts';
import { startBridge } from '../fixtures/bridge.ts';
import { CHAIN_KEY, startChain } from '../fixtures/chain.ts';
import { corpusFiles, readCorpusFile } from '../fixtures/corpus.ts';
import { allBatches, custodyStatus, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { disguises, Finder } from '../fixtures/find-any.ts';
import { skipKubo, startKuboNode } from '../fixtures/kubo.ts';
import { madeFiles } from '../fixtures/made-files.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

/** What names a patient or leads to one, by tag. */
const NAMING = {
  '00100010': 'patient name',
  '00100020': 'patient ID',
  '00080050': 'accession number',
  '00100030': 'birth date',
  '00080020': 'study date',
  '00200010': 'study ID',
  '0020000D': 'study UID',
  '0020000E': 'series UID',
  '00080018': 'instance UID',
} as const;

type Row = Record<string, { Value?: (string | Record<string, string>)[] } | undefined>;

/** Every naming value of the bridge's instances, with what it is. */
function namingValues(rows: Row[]): Map<string, string> {
  const values = new Map<string, string>();
  for (const row of rows) {
    for (const [tag, name] of Object.entries(NAMING)) {
      for (const value of row[tag]?.Value ?? []) {
        const texts = typeof value === 'string' ? [value] : Object.values(value);
        for (const text of texts) {
          values.set(text, name);
          // A name is known by its parts, a date by its other form.
          if (name === 'patient name') for (const part of text.split('^')) values.set(part, name);
          if (/^\d{8}$/.test(text)) values.set(text.replace(/(....)(..)(..)/, '$1-$2-$3'), name);
        }
      }
    }
  }
  values.delete('');
  return values;
}

/** The bytes of every hexadecimal value in a node's answer: as text, digits would look like dates. */
function hexBytes(answer: unknown): Buffer {
  if (typeof answer === 'string') return Buffer.from(answer.replace(/^0x/, '').replace(/^(.(?:..)*)$/, '0$1'), 'hex');
  if (typeof answer !== 'object' || answer === null) return Buffer.alloc(0);
  const inner = Array.isArray(answer) ? answer : [...Object.keys(answer), ...Object.values(answer)];
  return Buffer.concat(inner.map(hexBytes));
}

test('nothing that names a patient is on the chain or in IPFS', { skip: skipKubo }, async (t) => {
  const chain = await startChain(t);
  const kubo = await startKuboNode();
  t.teardown(() => kubo.stop());
  const bridge = await startBridge({
    env: {
      DAGPACS_CHAIN_RPC: chain.url,
      DAGPACS_CHAIN_KEY: CHAIN_KEY,
      DAGPACS_CHAIN_PROFILE: 'anvil',
      DAGPACS_KUBO_API: kubo.url,
      DAGPACS_ANCHOR_MAX_AGE_MS: '200',
      DAGPACS_QIDO_MAX: '100000',
    },
  });
  t.teardown(() => bridge.stop());
  const files = [...corpusFiles().map(readCorpusFile), ...madeFiles().map((file) => file.bytes())];
  for (let at = 0; at < files.length; at += 20) await stow(bridge.dicomWeb, files.slice(at, at + 20));
  for (let i = 0; ; i++) {
    const { counts, stages } = (await custodyStatus(bridge.url)) as {
      counts: { versions: number };
      stages: { final: number };
    };
    const batches = (await allBatches(bridge.url)) as { replicatedAt?: string | null }[];
    if (stages.final === counts.versions && batches.every(({ replicatedAt }) => replicatedAt !== null)) break;
    if (i === 600) throw new Error('not anchored and replicated');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const rows = (await (await fetch(`${bridge.dicomWeb}/instances?includefield=all&limit=100000`)).json()) as Row[];
  await bridge.stop();

  const values = namingValues(rows);
  const finder = new Finder([...values].flatMap(([text, name]) => disguises(`${name} ${text}`, text)));
  t.ok(finder.count > 1000, `${values.size} values of ${rows.length} instances in ${finder.count} forms`);
  t.ok(finder.find(files[0] as Buffer).length > 0, 'in a file of its own they are found');

  const places: [string, Buffer][] = [];
  const height = Number(await chain.rpc('eth_blockNumber', []));
  for (let number = 1; number <= height; number++) {
    const block = await chain.rpc('eth_getBlockByNumber', [`0x${number.toString(16)}`, true]);
    places.push([`block ${number}`, hexBytes(block)]);
    const trace = await chain.rpc('debug_traceBlockByNumber', [
      `0x${number.toString(16)}`,
      { tracer: 'prestateTracer' },
    ]);
    places.push([`the state under block ${number}`, hexBytes(trace)]);
  }
  const logs = (await chain.rpc('eth_getLogs', [{ fromBlock: '0x0', toBlock: 'latest' }])) as object[];
  t.ok(logs.length > 10);
  places.push(['events', hexBytes(logs)]);
  let blocks = 0;
  for (const entry of await readdir(join(kubo.repo, 'blocks'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.data')) continue;
    blocks += 1;
    places.push([`IPFS ${entry.name}`, await readFile(join(entry.parentPath, entry.name))]);
  }
  t.ok(blocks > 2 * rows.length, `${blocks} blocks in IPFS`);
  const found = places.flatMap(([place, content]) => finder.find(content).map((name) => `${name} in ${place}`));
  t.strictSame(found, [], `${places.reduce((sum, [, content]) => sum + content.length, 0)} bytes`);
});

test('once a study’s key is erased its leaves mean nothing, and the rest is proved as before', async (t) => {
  const chain = await startChain(t);
  const dataDir = await tempFolder(t);
  const env = { DAGPACS_CHAIN_RPC: chain.url, DAGPACS_CHAIN_KEY: CHAIN_KEY, DAGPACS_ANCHOR_MAX_AGE_MS: '1500' };
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  const studies = join(dataDir, 'vault', 'studies');
  const slice = (study: string) => makeSlice({ study, rows: 2, columns: 2 });
  await stow(bridge.dicomWeb, [slice('erased')]);
  const [key = ''] = await readdir(studies);
  await stow(bridge.dicomWeb, [slice('kept')]);
  const sops = ['erased', 'kept'].map((study) => uid('instance', study, 'CT', 1, 1));
  await untilStage(bridge.url, sops, 'anchored');
  const receiptOf = async (sop = '') => (await fetch(`${bridge.url}/custody/instances/${sop}/receipt`)).json();
  const [gone, kept] = (await Promise.all(sops.map(receiptOf))) as { batch: unknown }[];
  t.strictSame(gone?.batch, kept?.batch, 'both are leaves of one tree');
  await bridge.stop();
  await rm(join(studies, key));

  bridge = await startBridge({ dataDir, env });
  t.strictSame(await receiptOf(sops[1]), kept);
  t.match(await verifyReceipt(kept, { file: slice('kept'), rpc: chain.rpc }), { verified: true });
  t.match(await receiptOf(sops[0]), { status: 404 }, 'no receipt');
  t.equal((await fetch(`${bridge.url}/custody/instances/${sops[0]}/versions/1`)).status, 404, 'and no bytes');
});
