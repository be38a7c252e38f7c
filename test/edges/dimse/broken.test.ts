import { test } from 'tap';
import { EXPLICIT_LE } from '../../fixtures/dicom.ts';
import { startCollector } from './collector.ts';
import {
  associateRequest,
  command,
  data,
  type Proposal,
  pdu,
  rawPeer,
  readAccept,
  readCommandNumbers,
} from './raw-peer.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const MR = '1.2.840.10008.5.1.4.1.1.4';
const VERIFICATION = '1.2.840.10008.1.1';
const PROPOSALS: Proposal[] = [CT, MR, VERIFICATION].map((abstractSyntax, i) => ({
  id: 2 * i + 1,
  abstractSyntax,
  transferSyntaxes: [EXPLICIT_LE],
}));
const STORE = command({ 2: CT, 256: 1, 272: 1, 1792: 0, 2048: 0, 4096: '1.2.3' });
const ABORT = 7;

test('fragments that are interleaved, lengths that are none', async (t) => {
  const { listener, to, instances } = await startCollector();
  t.teardown(() => listener.close());
  const part = (contextId: number, control: number) => data(contextId, control, STORE.subarray(0, 20));
  const cases: [name: string, bytes: Buffer, reason: number][] = [
    ['commands of two contexts', Buffer.concat([part(1, 1), part(3, 1)]), 6],
    ['a command inside a data set', Buffer.concat([data(1, 3, STORE), data(1, 0, Buffer.alloc(10)), part(1, 1)]), 5],
    ['a data set on another context', Buffer.concat([data(1, 3, STORE), data(3, 0, Buffer.alloc(10))]), 6],
    [
      'a data set that changes its context',
      Buffer.concat([data(1, 3, STORE), data(1, 0, Buffer.alloc(10)), data(3, 2, Buffer.alloc(10))]),
      6,
    ],
    ['a second data set', Buffer.concat([data(1, 3, STORE), data(1, 0, Buffer.alloc(10)), data(3, 3, STORE)]), 6],
    ['a value of length 1', pdu(4, Buffer.of(0, 0, 0, 1, 1, 3)), 6],
    ['a value of 4 GiB', pdu(4, Buffer.of(0xff, 0xff, 0xff, 0xff, 1, 3)), 6],
    ['bytes after the last value', pdu(4, Buffer.concat([Buffer.of(0, 0, 0, 3, 1, 1, 0), Buffer.of(0, 0, 0)])), 6],
    ['a release of 4 GiB', pdu(5, Buffer.alloc(0), 0xffffffff), 6],
    ['an abort of 4 GiB', pdu(7, Buffer.alloc(0), 0xffffffff), 6],
    ['a release that is answered before it is asked', pdu(6, Buffer.alloc(4)), 2],
    ['an acceptance of nothing', pdu(2, Buffer.alloc(68)), 2],
  ];
  for (const [name, bytes, reason] of cases) {
    const peer = await rawPeer(to.port);
    peer.send(associateRequest(PROPOSALS));
    await peer.next();
    peer.send(bytes);
    const answer = await peer.next();
    t.equal(answer?.type, ABORT, name);
    t.same([answer?.body[2], answer?.body[3]], [2, reason], name);
    await peer.closed;
  }
  t.equal(instances.length, 0, 'nothing half-received is stored');
});

test('lengths of 0 and odd ones, where they do no harm', async (t) => {
  const { listener, to, instances } = await startCollector();
  t.teardown(() => listener.close());
  const peer = await rawPeer(to.port);
  peer.send(associateRequest(PROPOSALS));
  await peer.next();
  // A value without bytes, and odd ones, between which the data set goes on.
  const parts = [data(1, 0, Buffer.alloc(0)), data(1, 0, Buffer.alloc(333, 1)), data(1, 0, Buffer.alloc(0))];
  peer.send(Buffer.concat([data(1, 3, STORE), ...parts, data(1, 2, Buffer.alloc(1, 1))]));
  t.equal(readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0))[0x0900], 0);
  t.ok(instances[0]?.bytes.subarray(-334).equals(Buffer.alloc(334, 1)));
  // Several values in one PDU: the end of a command, and the data set after it.
  const values = [data(1, 1, STORE.subarray(0, 30)), data(1, 3, STORE.subarray(30)), data(1, 2, Buffer.alloc(50))];
  peer.send(pdu(4, Buffer.concat(values.map((each) => each.subarray(6)))));
  t.equal(readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0))[0x0900], 0);
  peer.send(pdu(5, Buffer.alloc(0)));
  t.equal((await peer.next())?.type, 6, 'a release of length 0 is one');
  await peer.closed;
});

test('a command that nobody knows, with a data set after it', async (t) => {
  const { listener, to } = await startCollector();
  t.teardown(() => listener.close());
  const peer = await rawPeer(to.port);
  t.teardown(() => peer.socket.destroy());
  peer.send(associateRequest(PROPOSALS));
  await peer.next();
  for (const field of [0x0000, 0x0002, 0x0150, 0x7fff]) {
    const unknown = command({ 2: CT, 256: field, 272: 9, 2048: 0 });
    peer.send(Buffer.concat([data(1, 3, unknown), data(1, 0, Buffer.alloc(9000)), data(1, 2, Buffer.alloc(9))]));
    const numbers = readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0));
    t.strictSame([numbers[0x0100], numbers[0x0900]], [field | 0x8000, 0x0211]);
  }
});

test('role selection that makes no sense', async (t) => {
  const { listener, to } = await startCollector();
  t.teardown(() => listener.close());
  const ask = async (roles: Record<string, [number, number]>) => {
    const peer = await rawPeer(to.port);
    peer.send(associateRequest(PROPOSALS, { roles }));
    const { type, body = Buffer.alloc(0) } = (await peer.next()) ?? {};
    peer.socket.destroy();
    return {
      type,
      body,
      results: [...(type === 2 ? readAccept(body).contexts.values() : [])].map(([result]) => result),
    };
  };
  t.strictSame((await ask({ [CT]: [0, 0] })).results, [1, 0, 0], 'neither side may ask for anything');
  t.strictSame((await ask({ [VERIFICATION]: [0, 1] })).results, [0, 0, 1], 'a role that is not offered');
  t.strictSame((await ask({ [CT]: [7, 255] })).results, [1, 0, 0], 'neither 0 nor 1 is no');
  const stranger = await ask({ '1.2.840.10008.5.1.4.1.1.128': [1, 1] });
  t.strictSame(stranger.results, [0, 0, 0], 'of a class that is not proposed');
  t.notOk(stranger.body.includes('5.1.4.1.1.128'), 'which is not answered');
  // The length of its UID is not that of the item.
  const request = associateRequest(PROPOSALS, { roles: { [CT]: [1, 1] } });
  request.writeUInt16BE(99, request.lastIndexOf(CT) - 2);
  const peer = await rawPeer(to.port);
  peer.send(request);
  t.equal((await peer.next())?.type, ABORT);
  await peer.closed;
});

test('user information that is as long as it can be', async (t) => {
  const { listener, to } = await startCollector();
  t.teardown(() => listener.close());
  const FIND = '1.2.840.10008.5.1.4.1.2.2.1';
  const proposals = [{ id: 1, abstractSyntax: FIND, transferSyntaxes: [EXPLICIT_LE] }];
  const peer = await rawPeer(to.port);
  t.teardown(() => peer.socket.destroy());
  peer.send(associateRequest(proposals, { extended: { [FIND]: new Array(65_490).fill(1) } }));
  const { type, body = Buffer.alloc(0) } = (await peer.next()) ?? {};
  t.equal(type, 2);
  t.ok(
    body.includes(Buffer.concat([Buffer.from(FIND), Buffer.of(1, 1, 1, 0)])),
    'answered as far as it means anything',
  );
  t.ok(body.length < 500);
});
