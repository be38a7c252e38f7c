import { test } from 'tap';
import { isDagpacsError } from '../../../src/kernel/errors.ts';
import { EXPLICIT_LE } from '../../fixtures/dicom.ts';
import { connectScu } from '../../fixtures/raw-scu.ts';
import { accepted, consume, startCollector } from './collector.ts';
import { associateRequest, command, data, rawPeer } from './raw-peer.ts';

const wire = { sopClassUID: '1.2.840.10008.5.1.4.1.1.2', sopInstanceUID: '1.2.3', transferSyntaxUID: EXPLICIT_LE };
const dataset = Buffer.alloc(200_000);

test('drain lets the running operation finish, and ends the rest', async (t) => {
  const begun = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  const { listener, to } = await startCollector({}, async ({ bytes }) => {
    await consume(bytes);
    begun.resolve();
    await finish.promise;
    return accepted();
  });
  const idle = await connectScu(to, [wire]);
  const pending = await rawPeer(to.port);
  const busy = await connectScu(to, [wire]);
  const stored = busy.store({ ...wire, dataset });
  await begun.promise;
  const drained = listener.drain(10_000);
  await pending.closed;
  await t.rejects(idle.store({ ...wire, dataset }), /aborted|closed/);
  await t.rejects(rawPeer(to.port), { code: 'ECONNREFUSED' });
  finish.resolve();
  t.equal((await stored).status, 0, 'the answer still comes');
  busy.drop();
  idle.drop();
  await drained;
  await listener.close();
});

test('drain aborts what takes too long, and waits until the ingest has let go', async (t) => {
  const begun = Promise.withResolvers<void>();
  const ended: unknown[] = [];
  const { listener, to } = await startCollector({}, async ({ bytes }) => {
    begun.resolve();
    await consume(bytes).catch((error) => ended.push(error));
    return accepted();
  });
  const peer = await rawPeer(to.port);
  peer.send(associateRequest([{ id: 1, abstractSyntax: wire.sopClassUID, transferSyntaxes: [EXPLICIT_LE] }]));
  await peer.next();
  const store = command({ 2: wire.sopClassUID, 256: 1, 272: 1, 2048: 1, 4096: '1.2.3' });
  peer.send(Buffer.concat([data(1, 3, store), data(1, 0, dataset.subarray(0, 100_000))]));
  await begun.promise;
  await listener.drain(50);
  t.equal((await peer.next())?.type, 7);
  t.equal(ended.length, 1);
  t.ok(isDagpacsError(ended[0], 'sender-aborted'));
});

test('an address that cannot be listened on', async (t) => {
  const { listener } = await startCollector();
  t.teardown(() => listener.close());
  await t.rejects(startCollector({ port: listener.address.port }), { code: 'bad-setting' });
});

test('it listens on the one address that it is given', async (t) => {
  const { listener } = await startCollector({ host: '127.0.0.1' });
  t.teardown(() => listener.close());
  t.equal(listener.address.host, '127.0.0.1');
});
