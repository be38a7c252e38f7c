import { test } from 'tap';
import { runTool } from '../../fixtures/dcmtk.ts';
import { EXPLICIT_LE } from '../../fixtures/dicom.ts';
import { skipWithout } from '../../fixtures/tools.ts';
import { startCollector } from './collector.ts';
import { associateRequest, command, data, rawPeer, readAccept, readCommandNumbers } from './raw-peer.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const VERIFICATION = '1.2.840.10008.1.1';
const FIND = '1.2.840.10008.5.1.4.1.2.2.1';
const GET = '1.2.840.10008.5.1.4.1.2.2.3';
const PROPOSALS = [VERIFICATION, CT, FIND, GET].map((abstractSyntax, i) => ({
  id: 2 * i + 1,
  abstractSyntax,
  transferSyntaxes: [EXPLICIT_LE],
}));
const at = { host: '127.0.0.1', port: 104 };
const peers = [
  { ...at, aeTitle: 'MODALITY', services: ['echo', 'store'] as const },
  { ...at, aeTitle: 'VIEWER', services: ['find', 'get'] as const },
];

async function results(port: number, calling: string, changes = {}): Promise<number[] | Buffer> {
  const peer = await rawPeer(port);
  peer.send(associateRequest(PROPOSALS, { calling, ...changes }));
  const { type, body = Buffer.alloc(0) } = (await peer.next()) ?? {};
  peer.socket.destroy();
  if (type !== 2) return body.subarray(1, 4);
  const { contexts } = readAccept(body);
  return PROPOSALS.map(({ id }) => contexts.get(id)?.[0] ?? -1);
}

test('who may call, and for what', async (t) => {
  const { listener, logged } = await startCollector({ peers });
  t.teardown(() => listener.close());
  const { port } = listener.address;
  t.strictSame(await results(port, 'MODALITY'), [0, 0, 1, 1]);
  t.strictSame(await results(port, 'VIEWER'), [1, 1, 0, 0]);
  t.strictSame(
    await results(port, 'VIEWER', { roles: { [CT]: [1, 1] } }),
    [1, 0, 0, 0],
    'what it is stored to by C-GET is no storing of its own',
  );
  t.strictSame(await results(port, 'MODALITY', { roles: { [CT]: [0, 1] } }), [0, 1, 1, 1], 'no role is left');
  t.strictSame(await results(port, 'STRANGER'), Buffer.of(1, 1, 3), 'calling AE title not recognized');
  t.strictSame(await results(port, 'modality'), Buffer.of(1, 1, 3));
  t.ok(logged.some(({ fields }) => 'why' in fields && fields.why === 'calling AE title'));
});

test('echoscu by a name that is known, and by one that is not', { skip: skipWithout('echoscu') }, async (t) => {
  const { listener, to } = await startCollector({ peers });
  t.teardown(() => listener.close());
  const echo = (name: string) => runTool('echoscu', ['-aet', name, to.host, String(to.port)]);
  t.equal((await echo('MODALITY')).code, 0);
  t.match((await echo('STRANGER')).output, /Calling AE Title Not Recognized/);
});

test('associations of one peer are limited, those of others are not', async (t) => {
  const { listener } = await startCollector({ maxPerPeer: 2 });
  t.teardown(() => listener.close());
  const { port } = listener.address;
  const open = async (calling: string) => {
    const peer = await rawPeer(port);
    peer.send(associateRequest(PROPOSALS, { calling }));
    const answer = await peer.next();
    return { peer, answer };
  };
  const first = await open('A');
  await open('A');
  const third = await open('A');
  t.strictSame(third.answer?.body.subarray(1, 4), Buffer.of(2, 3, 2), 'transient: local limit exceeded');
  t.equal((await open('B')).answer?.type, 2);
  first.peer.socket.destroy();
  let again = await open('A');
  while (again.answer?.type !== 2) again = await open('A');
});

test('identifiers come in native transfer syntaxes only', async (t) => {
  const { listener } = await startCollector();
  t.teardown(() => listener.close());
  const peer = await rawPeer(listener.address.port);
  peer.send(associateRequest([{ id: 1, abstractSyntax: FIND, transferSyntaxes: ['1.2.840.10008.1.2.4.50'] }]));
  t.equal(readAccept((await peer.next())?.body ?? Buffer.alloc(0)).contexts.get(1)?.[0], 4, 'no identifier is a JPEG');
  peer.socket.destroy();
});

test('a context is for the service and the role that it was accepted for', async (t) => {
  const { listener, instances } = await startCollector({ peers });
  t.teardown(() => listener.close());
  const peer = await rawPeer(listener.address.port);
  t.teardown(() => peer.socket.destroy());
  peer.send(associateRequest(PROPOSALS, { calling: 'VIEWER', roles: { [CT]: [1, 1] } }));
  await peer.next();
  const ask = async (contextId: number, elements: Record<number, number | string>) => {
    const request = command({ 256: 1, 272: 1, 1792: 0, 2048: 0, ...elements });
    peer.send(Buffer.concat([data(contextId, 3, request), data(contextId, 2, Buffer.alloc(100))]));
    return readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0))[0x0900];
  };
  t.equal(await ask(3, { 2: CT, 256: 1, 4096: '1.2.3' }), 0x0124, 'it may be stored to, and not store');
  t.equal(await ask(5, { 2: FIND, 256: 0x21, 1536: 'VIEWER' }), 0x0122, 'no C-MOVE on a context for C-FIND');
  t.equal(await ask(5, { 2: GET, 256: 0x10 }), 0x0122);
  t.equal(await ask(5, { 2: CT, 256: 1, 4096: '1.2.3' }), 0x0122);
  t.equal(await ask(7, { 2: FIND, 256: 0x20 }), 0x0122);
  t.equal(instances.length, 0);
});

test('storage classes and presentation contexts may be limited', async (t) => {
  const stores = (uid: string) => uid !== CT;
  const { listener, instances } = await startCollector({ stores, maxContexts: 3 });
  t.teardown(() => listener.close());
  const { port } = listener.address;
  t.strictSame(await results(port, 'ANY'), [0, 3, 0, 2]);
  t.strictSame(
    await results(port, 'ANY', { roles: { [CT]: [1, 1] } }),
    [0, 0, 0, 2],
    'what is retrieved is another matter',
  );
  const MR = '1.2.840.10008.5.1.4.1.1.4';
  const peer = await rawPeer(port);
  peer.send(associateRequest([{ id: 1, abstractSyntax: MR, transferSyntaxes: [EXPLICIT_LE] }]));
  await peer.next();
  const store = command({ 2: CT, 256: 1, 272: 1, 1792: 0, 2048: 0, 4096: '1.2.3' });
  peer.send(Buffer.concat([data(1, 3, store), data(1, 2, Buffer.alloc(100))]));
  t.equal(readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0))[0x0900], 0x0122, 'nor by another context');
  t.equal(instances.length, 0);
  peer.socket.destroy();
});
