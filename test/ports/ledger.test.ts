import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { type Test, test } from 'tap';
import { concatHex, createClient, decodeEventLog, encodeAbiParameters, http, numberToHex } from 'viem';
import { privateKeyToAccount, privateKeyToAddress } from 'viem/accounts';
import { abi } from '../../src/adapters/ledger/anchor-log.ts';
import { type Anvil, startAnvil } from '../../src/adapters/ledger/anvil.ts';
import { Governance } from '../../src/adapters/ledger/governance.ts';
import { openLedger } from '../../src/adapters/ledger/ledger.ts';
import { finalityByProfile, type LedgerOptions, ledgerDefaults } from '../../src/adapters/ledger/options.ts';
import type { Log } from '../../src/kernel/log.ts';
import type { Anchor, Anchored, Hex, Ledger, LedgerStatus } from '../../src/ports/ledger.ts';
import { testProfile } from '../fixtures/chain.ts';
import { FIXED_MEMBERS_LOG } from '../fixtures/fixed-members-log.ts';
import { tempFolder } from '../fixtures/temp.ts';

const ZERO: Hex = `0x${'0'.repeat(64)}`;
const KEY: Hex = `0x${'0'.repeat(60)}cafe`;
const quiet = { ...ledgerDefaults, retryMinMs: 20, retryMaxMs: 200, profile: testProfile };

/** A log that keeps its events' names. */
function listeningLog(): Log & { events: string[] } {
  const events: string[] = [];
  const note = (event: string) => void events.push(event);
  return { events, info: note, warn: note, error: note };
}

function open(t: Test, options: Partial<LedgerOptions> & { directory: string }, log: Log = listeningLog()) {
  const ledger = openLedger({ ...quiet, ...options }, log);
  t.teardown(() => ledger.close());
  return ledger;
}

/** Waits until the ledger says that it is in `state`. */
async function until(ledger: Ledger, state: LedgerStatus['state']): Promise<LedgerStatus> {
  for (let i = 0; ; i++) {
    const status = await ledger.status();
    if (status.state === state) return status;
    if (i === 1000) throw new Error(`still ${status.state}: ${status.reason}`);
    await delay(20);
  }
}

async function eventually<T>(what: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let i = 0; i < 1000; i++) {
    const found = await what();
    if (found !== undefined) return found;
    await delay(20);
  }
  throw new Error('it did not come');
}

const random = (): Hex => `0x${randomBytes(32).toString('hex')}`;

async function anchorAfter(ledger: Ledger, studies = 1, count = 256): Promise<Anchor> {
  const list = Array.from({ length: studies }, (_, i) => ({ reference: random(), total: 1000 + i }));
  return { ...(await ledger.next()), batch: random(), merkleRoot: random(), count, studies: list };
}

async function send(ledger: Ledger, anchor: Anchor): Promise<Anchored> {
  await ledger.broadcast(await ledger.sign(anchor));
  return eventually(() => ledger.find(anchor.batch));
}

/** A chain that is somebody else's, where the account of KEY has ether. */
async function outsideChain(t: Test) {
  const anvil: Anvil = await startAnvil({ ...quiet, directory: await tempFolder(t) }, listeningLog());
  t.teardown(() => anvil.stop());
  const client = createClient({ transport: http(anvil.url) });
  const send = client.request as unknown as (call: { method: string; params: unknown[] }) => Promise<unknown>;
  const request = (method: string, ...params: unknown[]) => send({ method, params });
  await request('anvil_setBalance', privateKeyToAddress(KEY), numberToHex(10n ** 20n));
  return { anvil, request };
}

const chains: Record<string, (t: Test) => Promise<Partial<LedgerOptions>>> = {
  'child anvil': async () => ({}),
  'outside chain': async (t) => {
    const { anvil } = await outsideChain(t);
    return { rpc: anvil.url, key: KEY, finalityDepth: finalityByProfile.qbft };
  },
};

for (const [name, prepare] of Object.entries(chains)) {
  test(`ledger on ${name}`, async (t) => {
    const directory = await tempFolder(t);
    const options = { directory, ...(await prepare(t)) };
    let ledger = open(t, options);

    t.equal((await ledger.status()).state, 'starting', 'opening does not wait');
    await t.rejects(ledger.next(), { code: 'chain-unavailable' });
    const up = await until(ledger, 'connected');
    t.equal(up.chainId, 31337);
    t.match(up.contract, /^0x[0-9a-f]{40}$/);
    t.match(up.sender, /^0x[0-9a-f]{40}$/);

    t.same(await ledger.next(), { sequence: 0, previousRoot: ZERO });
    const first = await anchorAfter(ledger);
    t.equal(await ledger.find(first.batch), undefined);
    const transaction = await ledger.sign(first);
    t.equal(await ledger.find(first.batch), undefined, 'signing sends nothing');
    t.equal((await ledger.sign(first)).nonce, transaction.nonce, 'signed again, a batch keeps its nonce');
    await ledger.broadcast(transaction);
    await ledger.broadcast(transaction);
    const anchored = await eventually(() => ledger.find(first.batch));
    t.equal(anchored.transactionHash, transaction.hash);
    t.ok(Math.abs(Date.parse(anchored.blockTime) - Date.now()) < 600_000);
    t.same(await ledger.next(), { sequence: 1, previousRoot: first.merkleRoot });

    await eventually(async () => {
      const now = await ledger.finalized();
      return now >= anchored.blockNumber ? now : undefined;
    });
    t.equal(await ledger.hashAt(anchored.blockNumber), anchored.blockHash);
    t.equal(await ledger.hashAt(anchored.blockNumber + 1000), undefined);

    const before = await ledger.nextNonce();
    t.same(before, { confirmed: transaction.nonce + 1, pending: transaction.nonce + 1 });
    const second = await anchorAfter(ledger, 6);
    const third = { ...(await anchorAfter(ledger, 256)), sequence: 2, previousRoot: second.merkleRoot };
    const signed = [await ledger.sign(second), await ledger.sign(third)];
    t.same(
      signed.map(({ nonce }) => nonce),
      [before.pending, before.pending + 1],
      'what is signed and not sent has its nonce too',
    );
    for (const each of signed) await ledger.broadcast(each);
    t.ok(await eventually(() => ledger.find(second.batch)));
    t.ok(await eventually(() => ledger.find(third.batch)), 'the gas limit suffices for a study an instance');

    const again = { ...(await anchorAfter(ledger)), batch: first.batch };
    await ledger.broadcast(await ledger.sign(again));
    await eventually(async () => (await ledger.nextNonce()).confirmed === before.pending + 3 || undefined);
    t.same(await ledger.find(first.batch), anchored, 'the contract takes a batch once');
    t.equal((await ledger.next()).sequence, again.sequence);

    await ledger.close();
    await t.rejects(ledger.next(), { code: 'chain-unavailable' });
    ledger = open(t, options);
    const back = await until(ledger, 'connected');
    t.equal(back.contract, up.contract);
    t.equal(back.sender, up.sender);
    t.same(await ledger.find(first.batch), anchored, 'the chain is as we left it');
    await send(ledger, await anchorAfter(ledger));
    await ledger.close();
  });
}

test('a child that is not up yet goes with the ledger', async (t) => {
  const ledger = open(t, { directory: await tempFolder(t) });
  const pid = await eventually(() => ledger.childPid);
  await ledger.close();
  t.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('the key is made once, for the owner’s eyes only', async (t) => {
  const directory = await tempFolder(t);
  await until(open(t, { directory }), 'connected');
  const file = join(directory, 'key');
  t.match(await readFile(file, 'latin1'), /^0x[0-9a-f]{64}\n$/);
  if (process.platform !== 'win32') t.equal((await stat(file)).mode & 0o777, 0o600);
});

test('a key that has anchored is not replaced by another', async (t) => {
  const directory = await tempFolder(t);
  const ledger = open(t, { directory });
  await until(ledger, 'connected');
  await ledger.close();
  await rm(join(directory, 'key'));
  t.match((await until(open(t, { directory }), 'mismatch')).reason, /key is gone/);
  t.notOk((await readdir(directory)).includes('key'), 'so that it can be restored');
});

test('what is not a private key is refused without being repeated', async (t) => {
  const ledger = open(t, { directory: await tempFolder(t), key: '0xbadbadbad' });
  const { reason } = await until(ledger, 'unreachable');
  t.match(reason, /not a private key/);
  t.notMatch(reason, /badbad/);
});

test('a child anvil that is killed before its state was saved comes back, and is anchored on anew', async (t) => {
  const directory = await tempFolder(t);
  const log = listeningLog();
  const ledger = open(t, { directory, stateIntervalMs: 3_600_000 }, log);
  const { contract } = await until(ledger, 'connected');
  const first = await anchorAfter(ledger);
  const second = { ...(await anchorAfter(ledger)), sequence: 1, previousRoot: first.merkleRoot };
  await send(ledger, first);
  await send(ledger, second);
  t.ok((await ledger.finalized()) < 3, 'not on disk, so not final');

  process.kill(ledger.childPid as number, 'SIGKILL');
  await eventually(() => (log.events.filter((event) => event === 'chain-connected').length === 2 ? true : undefined));
  t.equal((await until(ledger, 'connected')).contract, contract);
  t.same(await ledger.next(), { sequence: 0, previousRoot: ZERO }, 'it tells the truth of the chain as it is now');
  t.equal(await ledger.find(first.batch), undefined);
  await send(ledger, first);
  await send(ledger, second);
  t.same(await ledger.next(), { sequence: 2, previousRoot: second.merkleRoot });
});

test('a child that hangs is replaced, and does not hold up the end', async (t) => {
  const log = listeningLog();
  const limits = { identityCheckMs: 50, callTimeoutMs: 1000, statusTimeoutMs: 200, hungAfterMs: 1000 };
  const ledger = open(t, { directory: await tempFolder(t), stateIntervalMs: 10, ...limits }, log);
  const { contract } = await until(ledger, 'connected');
  const first = await anchorAfter(ledger);
  const anchored = await send(ledger, first);
  await eventually(async () => ((await ledger.finalized()) >= anchored.blockNumber ? true : undefined));
  const hung = ledger.childPid as number;
  process.kill(hung, 'SIGSTOP');
  await until(ledger, 'unreachable');
  await eventually(() => (ledger.childPid !== undefined && ledger.childPid !== hung ? true : undefined));
  t.equal((await until(ledger, 'connected')).contract, contract);
  t.same(await ledger.find(first.batch), anchored, 'what was saved is there');
  t.throws(() => process.kill(hung, 0), { code: 'ESRCH' });
  await send(ledger, await anchorAfter(ledger));

  const again = ledger.childPid as number;
  process.kill(again, 'SIGSTOP');
  await ledger.close();
  t.throws(() => process.kill(again, 0), { code: 'ESRCH' });
});

test('what was final survives a kill of the child', async (t) => {
  const log = listeningLog();
  const ledger = open(t, { directory: await tempFolder(t), stateIntervalMs: 10 }, log);
  await until(ledger, 'connected');
  const anchor = await anchorAfter(ledger);
  const anchored = await send(ledger, anchor);
  await eventually(async () => ((await ledger.finalized()) >= anchored.blockNumber ? true : undefined));
  process.kill(ledger.childPid as number, 'SIGKILL');
  await eventually(() => (log.events.filter((event) => event === 'chain-connected').length === 2 ? true : undefined));
  t.same(await ledger.find(anchor.batch), anchored);
});

const damages: Record<string, (file: string) => Promise<void>> = {
  'cut short': async (file) => truncate(file, Math.floor((await stat(file)).size / 2)),
  empty: (file) => truncate(file, 0),
  'something else': (file) => writeFile(file, gzipSync('{"block": 1}')),
};
for (const [what, damage] of Object.entries(damages)) {
  test(`a state file that is ${what} is kept aside, and the chain begun anew`, async (t) => {
    const directory = await tempFolder(t);
    const ledger = open(t, { directory });
    await until(ledger, 'connected');
    await send(ledger, await anchorAfter(ledger));
    await ledger.close();
    await damage(join(directory, 'state.gz'));

    const log = listeningLog();
    const next = open(t, { directory }, log);
    await until(next, 'connected');
    t.ok(log.events.includes('chain-state-damaged'));
    t.ok((await readdir(directory)).some((file) => file.startsWith('state.gz.damaged-')));
    t.same(await next.next(), { sequence: 0, previousRoot: ZERO });
    await send(next, await anchorAfter(next));
  });
}

test('a child that is killed while it is given its state has not damaged it', async (t) => {
  const directory = await tempFolder(t);
  const ledger = open(t, { directory });
  await until(ledger, 'connected');
  const anchor = await anchorAfter(ledger);
  const anchored = await send(ledger, anchor);
  await ledger.close();

  const killed = join(directory, 'killed');
  const script = `require('node:http').createServer(() => process.kill(process.pid, 'SIGKILL'))
    .listen(0, '127.0.0.1', function () { console.log('Listening on 127.0.0.1:' + this.address().port); });`;
  await writeFile(killed, `#!${process.execPath}\n${script}\n`, { mode: 0o700 });
  const log = listeningLog();
  const dying = open(t, { directory, anvil: killed }, log);
  t.match((await until(dying, 'unreachable')).reason, /anvil_loadState: no answer/);
  await dying.close();
  t.notOk(log.events.includes('chain-state-damaged'));

  const next = open(t, { directory });
  await until(next, 'connected');
  t.same(await next.find(anchor.batch), anchored);
});

test('events carry what was anchored', async (t) => {
  const { anvil, request } = await outsideChain(t);
  const ledger = open(t, { directory: await tempFolder(t), rpc: anvil.url, key: KEY });
  await until(ledger, 'connected');
  const anchor = await anchorAfter(ledger, 2);
  const { transactionHash } = await send(ledger, anchor);
  const finalized = await eventually(async () => (await ledger.finalized()) || undefined);
  t.equal(finalized, 1, 'by the node’s own notion: two blocks behind, a moment later');
  const receipt = (await request('eth_getTransactionReceipt', transactionHash)) as {
    logs: { data: Hex; topics: [Hex, ...Hex[]] }[];
  };
  const [batch, ...studies] = receipt.logs.map(({ data, topics }) => decodeEventLog({ abi, data, topics }));
  const { previousRoot, merkleRoot, count } = anchor;
  t.match(batch, {
    eventName: 'Anchored',
    args: { institution: privateKeyToAddress(KEY), batch: anchor.batch, sequence: 0n, previousRoot, merkleRoot, count },
  });
  t.match(
    studies.map(({ args }) => args),
    anchor.studies.map(({ reference, total }) => ({ studyReference: reference, sequence: 0n, total: BigInt(total) })),
  );
});

test('another chain, a lost contract and a stranger’s account are mismatches', async (t) => {
  const { anvil, request } = await outsideChain(t);
  const directory = await tempFolder(t);
  const ledger = open(t, { directory, rpc: anvil.url, key: KEY });
  const { contract } = await until(ledger, 'connected');

  const stranger = open(t, { directory: await tempFolder(t), rpc: anvil.url, contract: contract as Hex });
  t.match((await until(stranger, 'mismatch')).reason, /not a member/);
  await t.rejects(stranger.next(), { code: 'chain-mismatch' });

  await request('anvil_setCode', contract, '0x');
  await t.rejects(ledger.next(), { code: 'chain-mismatch' });
  await ledger.close();
  const lost = open(t, { directory, rpc: anvil.url, key: KEY });
  t.match((await until(lost, 'mismatch')).reason, /no AnchorLog/);

  await delay(1100); // Two chains differ in the second at which block 0 was made.
  const other = await outsideChain(t);
  const elsewhere = open(t, { directory, rpc: other.anvil.url, key: KEY });
  t.match((await until(elsewhere, 'mismatch')).reason, /not the chain/);
});

test('an AnchorLog whose members were fixed at its deployment is anchored on as before', async (t) => {
  const { anvil, request } = await outsideChain(t);
  const account = privateKeyToAccount(KEY);
  const members = encodeAbiParameters([{ type: 'address[]' }], [[account.address]]);
  const data = concatHex([FIXED_MEMBERS_LOG, members]);
  await request('anvil_impersonateAccount', account.address);
  const hash = await request('eth_sendTransaction', { from: account.address, data });
  const { contractAddress: contract } = await eventually(async () => {
    const receipt = await request('eth_getTransactionReceipt', hash);
    return (receipt ?? undefined) as { contractAddress: Hex } | undefined;
  });
  const ledger = open(t, { directory: await tempFolder(t), rpc: anvil.url, key: KEY, contract });
  t.match(await until(ledger, 'connected'), { contract });
  const anchor = await anchorAfter(ledger);
  t.ok(await send(ledger, anchor));
  t.equal((await ledger.next()).sequence, 1);
  await t.rejects(Governance.open(anvil.url, { ...quiet, directory: await tempFolder(t), key: KEY, contract }), {
    code: 'chain-mismatch',
    message: /members of this AnchorLog are fixed/,
  });
});

test('an AnchorLog before something else than a Consortium is a mismatch', async (t) => {
  const { anvil, request } = await outsideChain(t);
  const directory = await tempFolder(t);
  const ledger = open(t, { directory, rpc: anvil.url, key: KEY });
  const { contract } = await until(ledger, 'connected');
  await ledger.close();
  // The first slot is the consortium's address.
  await request('anvil_setStorageAt', contract, ZERO, `0x${'0'.repeat(62)}42`);
  const fooled = open(t, { directory, rpc: anvil.url, key: KEY });
  t.match((await until(fooled, 'mismatch')).reason, /consortium is none/);
});

/** A port that accepts and says nothing. Each use has its own: connections are kept for reuse. */
async function silentNode(): Promise<{ server: Server; url: string }> {
  // A client may use a connection again that was made for a request which was given up: what counts is that it asks.
  const server = createServer((socket) => socket.on('data', () => server.emit('asked')).on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test('a node that is away, or that accepts and is silent, is unreachable', async (t) => {
  const slow = await silentNode();
  const silent = open(t, { directory: await tempFolder(t), rpc: slow.url, callTimeoutMs: 200 });
  t.match((await until(silent, 'unreachable')).reason, /chain id: TimeoutError/);
  await silent.close();
  slow.server.close();

  const patient = await silentNode();
  const connected = once(patient.server, 'connection');
  const hanging = openLedger(
    { ...quiet, directory: await tempFolder(t), rpc: patient.url, callTimeoutMs: 600_000 },
    listeningLog(),
  );
  await connected;
  await hanging.close();
  patient.server.close();

  const gone = await silentNode();
  gone.server.close();
  await once(gone.server, 'close');
  const away = open(t, { directory: await tempFolder(t), rpc: gone.url });
  t.match((await until(away, 'unreachable')).reason, /the node is not reachable/);
  await t.rejects(away.find(ZERO), { code: 'chain-unavailable' });
});
