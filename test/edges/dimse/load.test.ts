import { type Test, test } from 'tap';
import type { DicomJson } from '../../../src/dicom/model.ts';
import { isDagpacsError } from '../../../src/kernel/errors.ts';
import { runTool } from '../../fixtures/dcmtk.ts';
import { EXPLICIT_LE, makeSeries, makeSlice, uid } from '../../fixtures/dicom.ts';
import { datasetOf, metaOf } from '../../fixtures/part10.ts';
import { connectScu } from '../../fixtures/raw-scu.ts';
import { skipWithout } from '../../fixtures/tools.ts';
import { type Archive, startArchive } from './archive.ts';
import { startCollector } from './collector.ts';
import { querying } from './querying.ts';
import {
  associateRequest,
  command,
  data,
  type Proposal,
  type RawPeer,
  rawPeer,
  readCommandNumbers,
} from './raw-peer.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const FIND = '1.2.840.10008.5.1.4.1.2.2.1';
const GET = '1.2.840.10008.5.1.4.1.2.2.3';
const MIB = 1 << 20;
const PROPOSALS: Proposal[] = [CT, GET].map((abstractSyntax, i) => ({
  id: 2 * i + 1,
  abstractSyntax,
  transferSyntaxes: [EXPLICIT_LE],
}));
const byStudy: DicomJson = { '00080052': { vr: 'CS', Value: ['STUDY'] }, '0020000D': { vr: 'UI' } };

async function associated(t: Test, port: number): Promise<RawPeer> {
  const peer = await rawPeer(port);
  t.teardown(() => peer.socket.destroy());
  peer.send(associateRequest(PROPOSALS, { roles: { [CT]: [1, 1] } }));
  await peer.next();
  return peer;
}

/** Asks by C-GET for a study; the sub-operations that follow are the caller's. */
function askForStudy(peer: RawPeer, study: string): void {
  const value = Buffer.from(study.length % 2 ? `${study}\0` : study);
  const identifier = Buffer.concat([
    Buffer.from([8, 0, 0x52, 0, 0x43, 0x53, 6, 0]),
    Buffer.from('STUDY '),
    Buffer.from([0x20, 0, 0x0d, 0, 0x55, 0x49, value.length, 0]),
    value,
  ]);
  const request = command({ 2: GET, 256: 0x10, 272: 1, 1792: 0, 2048: 0 });
  peer.send(Buffer.concat([data(3, 3, request), data(3, 2, identifier)]));
}

/** Takes what a C-GET sends; resolves with the status of its end and how many came. */
async function take(peer: RawPeer): Promise<[status: number | undefined, count: number]> {
  let count = 0;
  for (let next = await peer.next(); next; next = await peer.next()) {
    if (((next.body[5] ?? 0) & 1) === 0) continue;
    const { 0x0100: field, 0x0110: messageId = 0, 0x0900: status } = readCommandNumbers(next.body);
    if (field === 1) {
      count++;
      peer.send(data(1, 3, command({ 2: CT, 256: 0x8001, 288: messageId, 2048: 0x0101, 2304: 0 })));
    } else if (status !== 0xff00) return [status, count];
  }
  return [undefined, count];
}

/** SOP Instance UIDs of all that is held. */
function heldBy({ index }: Archive): string[] {
  const page = { limit: 10_000, offset: 0, fuzzy: false };
  const { rows } = index.query({ level: 'instance', matches: [], include: [], ...page });
  return [...rows].map((row) => (JSON.parse(row) as DicomJson)['00080018']?.Value?.[0] as string);
}

test('500 connections that get half way to an association', { skip: skipWithout('echoscu') }, async (t) => {
  const { to, listener, logged } = await startCollector();
  t.teardown(() => listener.close());
  const before = process.memoryUsage();
  const peers: RawPeer[] = [];
  t.teardown(() => {
    for (const { socket } of peers) socket.destroy();
  });
  for (let i = 0; i < 500; i++) {
    const peer = await rawPeer(to.port);
    // Nothing at all, a byte, a header, half a request, one that claims half a megabyte.
    const request = associateRequest(PROPOSALS);
    const [first, ...rest] = [0, 1, 6, request.length >> 1, 200];
    const part = Buffer.from(request.subarray(0, [first, ...rest][i % 5]));
    if (i % 5 === 4) part.writeUInt32BE(500_000, 2);
    if (part.length > 0) peer.send(part);
    peers.push(peer);
    if (i % 100 === 99) t.equal((await runTool('echoscu', [to.host, String(to.port)])).code, 0, `after ${i + 1}`);
  }
  await Promise.all(peers.slice(0, 430).map(({ closed }) => closed));
  const after = process.memoryUsage();
  t.ok(after.arrayBuffers - before.arrayBuffers < 40 * MIB, 'memory');
  const scu = await connectScu(to, [{ sopClassUID: CT, transferSyntaxUID: EXPLICIT_LE }]);
  await scu.release();
  t.notOk(logged.some(({ event }) => event === 'association-failed'));
});

test('64 associations at once: storing, asking and retrieving', async (t) => {
  const archive = await startArchive(t);
  const { to } = archive;
  const kept = makeSeries({ count: 10, rows: 128, columns: 128 });
  for (const file of kept) await archive.keep(file);
  const before = process.memoryUsage().arrayBuffers;
  const sent = Array.from({ length: 96 }, (_, i) =>
    makeSlice({ study: 2 + (i % 4), instance: i, rows: 256, columns: 256 }),
  );

  const storing = Array.from({ length: 24 }, async (_, lane) => {
    const scu = await connectScu(to, [{ sopClassUID: CT, transferSyntaxUID: EXPLICIT_LE }], `STORE${lane}`);
    return async () => {
      for (const file of sent.filter((_, i) => i % 24 === lane)) {
        const meta = metaOf(file);
        const [sopClassUID, sopInstanceUID] = [meta['00020002'] as string, meta['00020003'] as string];
        const dataset = datasetOf(file);
        const { status } = await scu.store({ sopClassUID, sopInstanceUID, transferSyntaxUID: EXPLICIT_LE, dataset });
        if (status !== 0) return status;
      }
      await scu.release();
      return 0;
    };
  });
  const asking = Array.from({ length: 20 }, async () => {
    const { peer, all } = await querying(to.port, FIND);
    t.teardown(() => peer.socket.destroy());
    return async () => {
      for (let i = 0; i < 5; i++) if ((await all(byStudy)).at(-1)?.status !== 0) return 1;
      return 0;
    };
  });
  const retrieving = Array.from({ length: 20 }, async () => {
    const peer = await associated(t, to.port);
    return async () => {
      askForStudy(peer, uid('study', 1));
      const [status, count] = await take(peer);
      return status === 0 && count === kept.length ? 0 : 1;
    };
  });
  const all = await Promise.all([...storing, ...asking, ...retrieving]);
  const refused = await rawPeer(to.port);
  refused.send(associateRequest(PROPOSALS));
  const answer = await refused.next();
  t.equal(answer?.type, 3);
  t.strictSame(answer?.body.subarray(1, 4), Buffer.of(2, 3, 2), 'the 65th: transient, local limit exceeded');
  let peak = 0;
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().arrayBuffers)), 10);
  t.strictSame(await Promise.all(all.map((run) => run())), Array(64).fill(0), 'each is served');
  clearInterval(watch);
  // What is sent is in memory here too.
  t.ok(peak - before < 200 * MIB, `${Math.round((peak - before) / MIB)} MiB`);
  const wanted = [...kept, ...sent].map((file) => metaOf(file)['00020003'] as string);
  t.strictSame(heldBy(archive).sort(), wanted.sort());
});

test('a peer that never reads what it asked for', async (t) => {
  const archive = await startArchive(t, { idleTimeoutMs: 400, dimseTimeoutMs: 400 });
  for (const file of makeSeries({ count: 40, rows: 512, columns: 512 })) await archive.keep(file);
  const before = process.memoryUsage().arrayBuffers;
  const deaf = await Promise.all(Array.from({ length: 8 }, () => associated(t, archive.to.port)));
  for (const peer of deaf) {
    peer.socket.pause();
    askForStudy(peer, uid('study', 1));
  }
  const reader = await associated(t, archive.to.port);
  askForStudy(reader, uid('study', 1));
  t.strictSame(await take(reader), [0, 40], 'another is served meanwhile');
  const aborted = () => archive.logged.filter(({ event }) => event === 'association-aborted').length;
  while (aborted() < 8) await new Promise((resolve) => setTimeout(resolve, 20));
  t.ok(process.memoryUsage().arrayBuffers - before < 100 * MIB);
});

test('a peer that sends a byte at a time', async (t) => {
  const archive = await startArchive(t, { artimMs: 300, idleTimeoutMs: 300 });
  const trickle = (peer: RawPeer, bytes: Buffer): Promise<void> => {
    let at = 0;
    const timer = setInterval(() => peer.send(bytes.subarray(at, ++at)), 25);
    return peer.closed.finally(() => clearInterval(timer));
  };
  const slow = await rawPeer(archive.to.port);
  const asking = trickle(slow, associateRequest(PROPOSALS));
  const inCommand = await associated(t, archive.to.port);
  const commanding = trickle(inCommand, data(1, 1, Buffer.alloc(1000)));
  const inData = await associated(t, archive.to.port);
  inData.send(data(1, 3, command({ 2: CT, 256: 1, 272: 1, 1792: 0, 2048: 0, 4096: '1.2.3' })));
  const storing = trickle(inData, Buffer.concat(Array.from({ length: 100 }, () => data(1, 0, Buffer.of(0)))));
  const quick = await associated(t, archive.to.port);
  askForStudy(quick, uid('study', 1));
  t.strictSame(await take(quick), [0, 0], 'others are served');
  t.equal(await slow.next(), undefined, 'no association in time');
  for (const peer of [inCommand, inData]) t.strictSame((await peer.next())?.body, Buffer.of(0, 0, 0, 0), 'aborted');
  await Promise.all([asking, commanding, storing]);
  t.strictSame(heldBy(archive), []);
});

test('an abort at every point leaves nothing behind', async (t) => {
  const archive = await startArchive(t, { commitGraceMs: 5 });
  const kept = makeSeries({ count: 10, rows: 128, columns: 128 });
  for (const file of kept) await archive.keep(file);
  const slice = makeSlice({ study: 9, instance: 1, rows: 128, columns: 128 });
  const dataset = datasetOf(slice);
  const sop = metaOf(slice)['00020003'] as string;
  const store = command({ 2: CT, 256: 1, 272: 1, 1792: 0, 2048: 0, 4096: sop });
  const abort = Buffer.of(7, 0, 0, 0, 0, 4, 0, 0, 0, 0);
  const request = associateRequest(PROPOSALS);
  const points: [name: string, associated: boolean, bytes: Buffer][] = [
    ['at once', false, Buffer.alloc(0)],
    ['inside the request', false, request.subarray(0, 80)],
    ['after the association', true, Buffer.alloc(0)],
    ['inside a PDU header', true, Buffer.of(4, 0, 0)],
    ['inside a command', true, data(1, 1, store.subarray(0, 20))],
    ['between command and data set', true, data(1, 3, store)],
    ['inside the data set', true, Buffer.concat([data(1, 3, store), data(1, 0, dataset.subarray(0, 9000))])],
    ['before the last fragment', true, Buffer.concat([data(1, 3, store), data(1, 0, dataset)])],
  ];
  for (const [name, withAssociation, bytes] of points) {
    const peer = withAssociation ? await associated(t, archive.to.port) : await rawPeer(archive.to.port);
    // Inside a PDU an abort would be a part of it: there the connection is cut.
    if (name.startsWith('inside the request') || name.startsWith('inside a PDU')) peer.socket.end(bytes);
    else peer.send(Buffer.concat([bytes, abort]));
    await peer.closed;
    t.notOk(heldBy(archive).includes(sop), name);
  }
  // While the bridge sends: it stops, and others are served.
  const getting = await associated(t, archive.to.port);
  askForStudy(getting, uid('study', 1));
  await getting.next();
  getting.send(abort);
  await getting.closed;
  const whole = await associated(t, archive.to.port);
  askForStudy(whole, uid('study', 1));
  t.strictSame(await take(whole), [0, 10]);
  t.strictSame(heldBy(archive).sort(), kept.map((file) => metaOf(file)['00020003'] as string).sort());
  t.notOk(archive.errors.some((error) => !isDagpacsError(error)));
});
