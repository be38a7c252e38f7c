import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'tap';
import { writeFileMeta } from '../../../src/dicom/meta.ts';
import { isDagpacsError } from '../../../src/kernel/errors.ts';
import { runTool } from '../../fixtures/dcmtk.ts';
import { EXPLICIT_LE, IMPLICIT_LE } from '../../fixtures/dicom.ts';
import { connectScu } from '../../fixtures/raw-scu.ts';
import { skipWithout } from '../../fixtures/tools.ts';
import { accepted, consume, startCollector } from './collector.ts';
import { associateRequest, command, data, type Proposal, pdu, type RawPeer, rawPeer, readAccept } from './raw-peer.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const VERIFICATION = '1.2.840.10008.1.1';
const PROPOSALS: Proposal[] = [
  { id: 1, abstractSyntax: CT, transferSyntaxes: [EXPLICIT_LE, IMPLICIT_LE] },
  { id: 3, abstractSyntax: VERIFICATION, transferSyntaxes: [IMPLICIT_LE] },
];
const STORE = command({ 2: CT, 256: 1, 272: 1, 1792: 0, 2048: 1, 4096: '1.2.3' });
const ECHO = command({ 2: VERIFICATION, 256: 0x30, 272: 7, 2048: 0x0101 });
const ABORT = 7;
const wire = { sopClassUID: CT, sopInstanceUID: '1.2.3', transferSyntaxUID: EXPLICIT_LE };

async function associated(port: number): Promise<RawPeer> {
  const peer = await rawPeer(port);
  peer.send(associateRequest(PROPOSALS));
  await peer.next();
  return peer;
}

test('what breaks the upper layer protocol is aborted with the reason that the standard has for it', async (t) => {
  const { listener, to, instances } = await startCollector({ maxPduLength: 16384 });
  t.teardown(() => listener.close());
  const cases: [name: string, before: 'connected' | 'associated', bytes: Buffer, reason: number][] = [
    ['another protocol', 'connected', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 1],
    ['one byte that begins no PDU', 'connected', Buffer.of(0), 1],
    ['P-DATA before the association', 'connected', data(1, 3, ECHO), 2],
    ['a release before the association', 'connected', pdu(5, Buffer.alloc(4)), 2],
    ['an association request of 4 GiB', 'connected', pdu(1, Buffer.alloc(0), 0xffffffff), 6],
    ['an association request cut short', 'connected', pdu(1, Buffer.alloc(40)), 6],
    [
      'an item that exceeds its PDU',
      'connected',
      pdu(1, Buffer.concat([Buffer.alloc(68), Buffer.of(16, 0, 99, 99)])),
      6,
    ],
    ['even context ids', 'connected', associateRequest([{ ...(PROPOSALS[0] as Proposal), id: 2 }]), 6],
    ['context ids used twice', 'connected', associateRequest([PROPOSALS[0], PROPOSALS[0]] as Proposal[]), 6],
    ['a second association request', 'associated', associateRequest(PROPOSALS), 2],
    ['an unknown PDU type', 'associated', pdu(9, Buffer.alloc(4)), 1],
    ['P-DATA of 4 GiB', 'associated', pdu(4, Buffer.alloc(0), 0xffffffff), 6],
    ['P-DATA beyond the negotiated length', 'associated', pdu(4, Buffer.alloc(0), 17000), 6],
    ['P-DATA without a value', 'associated', pdu(4, Buffer.alloc(0)), 6],
    ['a value that exceeds its PDU', 'associated', pdu(4, Buffer.of(0, 0, 1, 0, 1, 3)), 6],
    ['a value of length 0', 'associated', pdu(4, Buffer.of(0, 0, 0, 0, 1, 3)), 6],
    ['a context that was not proposed', 'associated', data(99, 3, ECHO), 6],
    ['a data set where a command is due', 'associated', data(1, 2, Buffer.alloc(8)), 5],
    ['a command where a data set is due', 'associated', Buffer.concat([data(1, 3, STORE), data(1, 3, ECHO)]), 5],
    ['a release inside a message', 'associated', Buffer.concat([data(1, 3, STORE), pdu(5, Buffer.alloc(4))]), 2],
    ['a command set of garbage', 'associated', data(1, 3, Buffer.from('this is no command set')), 6],
    ['a command set without Message ID', 'associated', data(3, 3, command({ 256: 0x30, 2048: 0x0101 })), 6],
    ['a response to nothing', 'associated', data(3, 3, command({ 256: 0x8030, 2048: 0x0101 })), 5],
  ];
  for (const [name, before, bytes, reason] of cases) {
    const peer = before === 'connected' ? await rawPeer(listener.address.port) : await associated(to.port);
    peer.send(bytes);
    const answer = await peer.next();
    t.equal(answer?.type, ABORT, name);
    t.same([answer?.body[2], answer?.body[3]], [2, reason], name);
    await peer.closed;
  }
  // A command that never ends.
  const endless = await associated(to.port);
  for (let i = 0; i < 20; i++) endless.send(data(1, 1, Buffer.alloc(8192)));
  t.equal((await endless.next())?.type, ABORT, 'an endless command set');
  const scu = await connectScu(to, [wire]);
  t.equal((await scu.store({ ...wire, dataset: Buffer.alloc(100_000) })).status, 0, 'the listener is as it was');
  await scu.release();
  t.equal(instances.length, 1);
});

test('associations that are refused, and why', async (t) => {
  const { listener } = await startCollector({ checkCalledAE: true, maxAssociations: 1 });
  t.teardown(() => listener.close());
  const { port } = listener.address;
  const ask = async (request: Buffer) => {
    const peer = await rawPeer(port);
    peer.send(request);
    const answer = await peer.next();
    t.equal(answer?.type, 3);
    await peer.closed;
    return [...(answer?.body ?? [])].slice(1);
  };
  t.same(await ask(associateRequest(PROPOSALS, { version: 2 })), [1, 2, 2], 'protocol version not supported');
  t.same(await ask(associateRequest(PROPOSALS, { applicationContext: '1.2.3' })), [1, 1, 2], 'application context');
  t.same(await ask(associateRequest(PROPOSALS, { called: 'OTHER' })), [1, 1, 7], 'called AE title not recognized');
  const only = await associated(port);
  t.same(await ask(associateRequest(PROPOSALS)), [2, 3, 2], 'local limit exceeded');
  only.send(pdu(5, Buffer.alloc(4)));
  t.equal((await only.next())?.type, 6);
  await only.closed;
  await associated(port);
});

test('contexts keep their ids in any order, and each gets its own answer', async (t) => {
  const { listener } = await startCollector({ maxPduLength: 65536 });
  t.teardown(() => listener.close());
  const peer = await rawPeer(listener.address.port);
  const services = [
    '1.2.840.10008.5.1.4.1.2.9.1',
    '1.2.840.10008.3.1.2.3.3',
    '1.2.840.10008.5.1.4.31',
    '1.2.840.10008.1.3.10',
  ];
  peer.send(
    associateRequest([
      { id: 7, abstractSyntax: CT, transferSyntaxes: ['1.2.840.10008.1.2.4.90', EXPLICIT_LE] },
      { id: 3, abstractSyntax: '1.3.12.2.1107.5.9.1', transferSyntaxes: ['1.2.3.4'] },
      { id: 1, abstractSyntax: CT, transferSyntaxes: ['not a UID'] },
      { id: 5, abstractSyntax: CT, transferSyntaxes: ['not a UID', IMPLICIT_LE] },
      ...services.map((abstractSyntax, i) => ({ id: 9 + 2 * i, abstractSyntax, transferSyntaxes: [IMPLICIT_LE] })),
    ]),
  );
  const { contexts, maximum } = readAccept((await peer.next())?.body ?? Buffer.alloc(0));
  t.equal(maximum, 65536, 'the length that we take, whatever the peer takes');
  t.same(contexts.get(7), [0, '1.2.840.10008.1.2.4.90']);
  t.same(contexts.get(3), [0, '1.2.3.4']);
  t.equal(contexts.get(1)?.[0], 4);
  t.same(contexts.get(5), [0, IMPLICIT_LE]);
  for (const [i, service] of services.entries()) t.equal(contexts.get(9 + 2 * i)?.[0], 3, service);
  // What is not served is answered on a context that is.
  peer.send(data(3, 3, command({ 2: CT, 256: 0x140, 272: 4, 2048: 0x0101 })));
  const answer = await peer.next();
  t.ok(answer?.body.includes(command({ 2304: 0x0211 })), 'unrecognized operation');
  peer.send(data(3, 3, command({ 2: CT, 256: 0x30, 272: 5, 2048: 0x0101 })));
  t.ok((await peer.next())?.body.includes(command({ 2304: 0 })), 'after which the association goes on');
  peer.socket.destroy();
});

test('an association that is dropped inside a data set leaves nothing', async (t) => {
  const { listener, to, instances, errors, logged } = await startCollector();
  t.teardown(() => listener.close());
  const instance = { ...wire, dataset: Buffer.alloc(1_000_000) };
  for (const how of ['drop', 'abort'] as const) {
    if (how === 'drop') {
      const scu = await connectScu(to, [wire]);
      await scu.storePart(instance, 600_000);
      scu.drop();
    } else {
      const peer = await associated(to.port);
      peer.send(Buffer.concat([data(1, 3, STORE), data(1, 0, Buffer.alloc(5000)), pdu(ABORT, Buffer.alloc(4))]));
      await peer.closed;
    }
    while (errors.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    t.ok(isDagpacsError(errors.pop(), 'sender-aborted'), how);
  }
  t.equal(instances.length, 0);
  t.ok(logged.some(({ event }) => event === 'association-lost'));
});

test('silence ends a connection: before an association, inside a message, between messages', async (t) => {
  const { listener, to, errors } = await startCollector({ artimMs: 60, idleTimeoutMs: 60 });
  t.teardown(() => listener.close());
  const mute = await rawPeer(to.port);
  t.equal(await mute.next(), undefined);
  const slow = await rawPeer(to.port);
  slow.send(associateRequest(PROPOSALS).subarray(0, 90));
  t.equal(await slow.next(), undefined);
  const stuck = await associated(to.port);
  stuck.send(Buffer.concat([data(1, 3, STORE), data(1, 0, Buffer.alloc(5000))]));
  t.equal((await stuck.next())?.type, ABORT);
  t.ok(isDagpacsError(errors[0], 'sender-aborted'));
  const idle = await associated(to.port);
  t.equal((await idle.next())?.type, ABORT);
});

test('a peer is not idle while it waits for us', async (t) => {
  const finish = Promise.withResolvers<void>();
  const { listener, to } = await startCollector({ idleTimeoutMs: 40 }, async ({ bytes }) => {
    await consume(bytes);
    await finish.promise;
    return accepted();
  });
  t.teardown(() => listener.close());
  const scu = await connectScu(to, [wire]);
  const stored = scu.store({ ...wire, dataset: Buffer.alloc(1000) });
  await new Promise((resolve) => setTimeout(resolve, 200));
  finish.resolve();
  t.equal((await stored).status, 0);
  await scu.release();
});

test('connections without an association do not keep others out', { skip: skipWithout('echoscu') }, async (t) => {
  const { listener, to } = await startCollector({ maxPending: 8, maxAssociations: 2 });
  t.teardown(() => listener.close());
  const open: RawPeer[] = [];
  for (let i = 0; i < 40; i++) open.push(await rawPeer(to.port));
  await Promise.all(open.slice(0, 32).map(({ closed }) => closed));
  const { code, output } = await runTool('echoscu', [to.host, String(to.port)]);
  t.equal(code, 0, output);
  for (const { socket } of open) socket.destroy();
});

test('a slow ingest holds the sender back', async (t) => {
  const gate = Promise.withResolvers<void>();
  let read = 0;
  const { listener, to } = await startCollector({ highWaterBytes: 256 * 1024 }, async ({ bytes }) => {
    await gate.promise;
    read = await consume(bytes);
    return accepted();
  });
  t.teardown(() => listener.close());
  const before = process.memoryUsage().arrayBuffers;
  const scu = await connectScu(to, [wire]);
  const size = 64 * 1024 * 1024;
  let done = false;
  const stored = scu.store({ ...wire, dataset: Buffer.alloc(size) }).finally(() => {
    done = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.equal(done, false);
  // The data set itself, its PDUs in the sender's hands, and little more.
  t.ok(process.memoryUsage().arrayBuffers - before < size + 16 * 1024 * 1024);
  gate.resolve();
  t.equal((await stored).status, 0);
  t.ok(read > size);
  await scu.release();
});

test('memory that is received into again is not written to while it is read', async (t) => {
  const { listener, to } = await startCollector({ highWaterBytes: 512 * 1024 }, async ({ bytes, expect }) => {
    const hash = createHash('sha256');
    for await (const chunk of bytes) {
      // Time for the socket to overwrite what is still being looked at.
      await new Promise((resolve) => setTimeout(resolve, 1));
      hash.update(chunk);
    }
    hashes.set(expect?.sopInstanceUID, hash.digest('hex'));
    return accepted();
  });
  t.teardown(() => listener.close());
  const hashes = new Map<string | undefined, string>();
  const instances = [1, 2, 3].map((n) => {
    const dataset = Buffer.alloc(3_000_000);
    for (let at = 0; at < dataset.length; at += 4) dataset.writeInt32LE((at * n) | 0, at);
    return { ...wire, sopInstanceUID: `1.2.${n}`, dataset };
  });
  await Promise.all(
    instances.map(async (instance) => {
      const scu = await connectScu(to, [wire]);
      t.equal((await scu.store(instance)).status, 0);
      await scu.release();
    }),
  );
  for (const { sopClassUID, sopInstanceUID, transferSyntaxUID, dataset } of instances) {
    const meta = writeFileMeta({ sopClassUID, sopInstanceUID, transferSyntaxUID });
    t.equal(hashes.get(sopInstanceUID), createHash('sha256').update(meta).update(dataset).digest('hex'));
  }
});

test('the library writes nothing to the console', { skip: skipWithout('echoscu') }, async (t) => {
  const source = new URL('../../../src/edges/dimse/', import.meta.url);
  const script = `
    const { startDimse } = await import('${source}listener.ts');
    const { dimseDefaults } = await import('${source}options.ts');
    const log = { info() {}, warn() {}, error() {} };
    const index = { getValue: () => undefined };
    const listener = await startDimse({ ...dimseDefaults, port: 0 }, { ingest: async () => ({}), index, log });
    console.log(listener.address.port);
    process.stdin.on('data', () => undefined).on('end', () => listener.close());`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  while (!output.includes('\n')) await new Promise((resolve) => setTimeout(resolve, 20));
  const port = output.trim();
  t.equal((await runTool('echoscu', ['127.0.0.1', port])).code, 0);
  const peer = await rawPeer(Number(port));
  peer.send(Buffer.from('GET /'));
  await peer.closed;
  child.stdin.end();
  await once(child, 'close');
  t.equal(output, `${port}\n`);
});

test('a peer that asks and asks without reading the answers', async (t) => {
  const { listener, to, logged } = await startCollector({ idleTimeoutMs: 300 });
  t.teardown(() => listener.close());
  const peer = await associated(to.port);
  peer.socket.pause();
  const echoes = Buffer.concat(Array.from({ length: 2000 }, () => data(3, 3, ECHO)));
  let done = false;
  const aborted = (async () => {
    while (!logged.some(({ event }) => event === 'association-aborted')) await new Promise((r) => setTimeout(r, 20));
    done = true;
  })();
  let sent = 0;
  while (!done && sent < 200_000_000) {
    if (peer.socket.writableLength < 1_000_000) {
      peer.send(echoes);
      sent += echoes.length;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(done, `held back after ${sent} bytes`);
  await aborted;
  peer.socket.destroy();
});

test('what comes ahead of an answer waits for it', async (t) => {
  const order: string[] = [];
  const { listener, to } = await startCollector({}, async ({ bytes, expect }) => {
    order.push(`begin ${expect?.sopInstanceUID}`);
    const size = await consume(bytes);
    await new Promise((resolve) => setTimeout(resolve, 20));
    order.push(`end ${expect?.sopInstanceUID} ${size % 1000}`);
    return accepted();
  });
  t.teardown(() => listener.close());
  const peer = await associated(to.port);
  const store = (id: number, uid: string) => data(1, 3, command({ 2: CT, 256: 1, 272: id, 2048: 1, 4096: uid }));
  peer.send(
    Buffer.concat([
      store(1, '1.1'),
      data(1, 2, Buffer.alloc(10_000)),
      store(2, '1.2'),
      data(1, 0, Buffer.alloc(10_000)),
      data(1, 2, Buffer.alloc(0)),
      data(3, 3, ECHO),
      pdu(5, Buffer.alloc(4)),
    ]),
  );
  const types = [];
  for (let answer = await peer.next(); answer; answer = await peer.next()) types.push(answer.type);
  t.same(types, [4, 4, 4, 6]);
  t.same(
    order.map((line) => line.split(' ').slice(0, 2).join(' ')),
    ['begin 1.1', 'end 1.1', 'begin 1.2', 'end 1.2'],
  );
});

test('a message in fragments of every size', async (t) => {
  const { listener, to, instances } = await startCollector();
  t.teardown(() => listener.close());
  const dataset = Buffer.from(Array.from({ length: 300 }, (_, i) => i & 0xff));
  const peer = await rawPeer(to.port);
  const parts = [associateRequest(PROPOSALS)];
  for (const byte of STORE.subarray(0, -1)) parts.push(data(1, 1, Buffer.of(byte)));
  parts.push(data(1, 3, STORE.subarray(-1)));
  for (const byte of dataset) parts.push(data(1, 0, Buffer.of(byte)));
  parts.push(data(1, 2, Buffer.alloc(0)));
  const bytes = Buffer.concat(parts);
  // Cut where no sender would cut, so that each header is split somewhere.
  for (let at = 0; at < bytes.length; at += 7) {
    peer.send(bytes.subarray(at, at + 7));
    if (at % 70 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal((await peer.next())?.type, 2);
  t.equal((await peer.next())?.type, 4);
  t.ok(instances[0]?.bytes.subarray(-300).equals(dataset));
  peer.socket.destroy();
});
