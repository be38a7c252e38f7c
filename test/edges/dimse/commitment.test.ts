import { type Test, test } from 'tap';
import { readDataset } from '../../../src/dicom/dataset.ts';
import { encodeDataset } from '../../../src/dicom/encode.ts';
import type { DicomJson } from '../../../src/dicom/model.ts';
import { MAX_COMMITMENTS, MAX_REFERENCES } from '../../../src/edges/dimse/commitments.ts';
import { anchoredAt, batchOf } from '../../fixtures/additions.ts';
import { IMPLICIT_LE, makeSeries, uid } from '../../fixtures/dicom.ts';
import { skipOrthanc, startOrthanc } from '../../fixtures/orthanc.ts';
import { freePorts } from '../../fixtures/ports.ts';
import { startArchive } from './archive.ts';
import { startCollector } from './collector.ts';
import { startAcceptor } from './raw-acceptor.ts';
import { associateRequest, command, data, type RawPeer, rawPeer, readCommandNumbers } from './raw-peer.ts';

const COMMITMENT = '1.2.840.10008.1.20.1';
const INSTANCE = '1.2.840.10008.1.20.1.1';
const CT = '1.2.840.10008.5.1.4.1.1.2';
const sop = (instance: number) => uid('instance', 1, 'CT', 1, instance);
const series = makeSeries({ rows: 16, columns: 16, count: 3 });

function information(transaction: string, references: [sopClass: string, instance: string][]): DicomJson {
  return {
    '00081195': { vr: 'UI', Value: [transaction] },
    '00081199': {
      vr: 'SQ',
      Value: references.map(([sopClass, instance]) => ({
        '00081150': { vr: 'UI', Value: [sopClass] },
        '00081155': { vr: 'UI', Value: [instance] },
      })),
    },
  };
}

async function asking(t: Test, port: number) {
  const peer: RawPeer = await rawPeer(port);
  t.teardown(() => peer.socket.destroy());
  peer.send(associateRequest([{ id: 1, abstractSyntax: COMMITMENT, transferSyntaxes: [IMPLICIT_LE] }]));
  await peer.next();
  /** N-ACTION; resolves with its status. */
  const ask = async (dataset: DicomJson, changes: { instance?: string; action?: number } = {}) => {
    const request = command({
      3: COMMITMENT,
      256: 0x130,
      272: 5,
      2048: 0,
      4097: changes.instance ?? INSTANCE,
      4104: changes.action ?? 1,
    });
    const bytes = encodeDataset(dataset, { implicit: true, bigEndian: false });
    peer.send(data(1, 3, request));
    for (let at = 0; at < bytes.length; at += 16_000)
      peer.send(data(1, at + 16_000 < bytes.length ? 0 : 2, bytes.subarray(at, at + 16_000)));
    return readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0))[0x0900];
  };
  /** The N-EVENT-REPORT that comes, which is answered after `meanwhile`. */
  const report = async (meanwhile = async () => {}) => {
    const numbers = readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0));
    const { dataset } = readDataset((await peer.next())?.body.subarray(6) ?? Buffer.alloc(0), IMPLICIT_LE);
    const messageId = numbers[0x0110] ?? 0;
    await meanwhile();
    peer.send(
      data(1, 3, command({ 2: COMMITMENT, 256: 0x8100, 288: messageId, 2048: 0x0101, 2304: 0, 4096: INSTANCE })),
    );
    return { event: numbers[0x1002], field: numbers[0x0100], dataset };
  };
  return { peer, ask, report };
}

const items = (dataset: DicomJson, sequence: string, tag: string) =>
  ((dataset[sequence]?.Value ?? []) as DicomJson[]).map((item) => item[tag]?.Value?.[0]);

test('the report comes on the same association where the peer keeps it', async (t) => {
  const { to, keep, index } = await startArchive(t, { commitGraceMs: 5 });
  for (const file of series) await keep(file);
  const { ask, report } = await asking(t, to.port);
  t.equal(
    await ask(
      information('2.25.1', [
        [CT, sop(1)],
        [CT, sop(2)],
      ]),
    ),
    0,
  );
  const whole = await report();
  t.match(whole, { field: 0x0100, event: 1, dataset: { '00081195': { Value: ['2.25.1'] } } });
  t.strictSame(items(whole.dataset, '00081199', '00081155'), [sop(1), sop(2)]);
  t.notOk(whole.dataset['00081198']);

  t.equal(
    await ask(
      information('2.25.2', [
        [CT, sop(3)],
        [CT, '1.2.3'],
        ['1.2.840.10008.5.1.4.1.1.4', sop(1)],
      ]),
    ),
    0,
  );
  const partial = await report();
  t.equal(partial.event, 2);
  t.strictSame(items(partial.dataset, '00081199', '00081155'), [sop(3)]);
  t.strictSame(items(partial.dataset, '00081198', '00081155'), ['1.2.3', sop(1)]);
  t.strictSame(items(partial.dataset, '00081198', '00081197'), [0x0112, 0x0119], 'no such instance, another class');
  while (index.getValue('dimse.commitments') !== '[]') await new Promise((resolve) => setTimeout(resolve, 5));
});

test('a report and a request that cross on the same association', async (t) => {
  const { to, keep } = await startArchive(t, { commitGraceMs: 5, dimseTimeoutMs: 3000 });
  for (const file of series) await keep(file);
  const { ask, peer, report } = await asking(t, to.port);
  t.equal(await ask(information('2.25.1', [[CT, sop(1)]])), 0);
  const echo = data(1, 3, command({ 256: 0x30, 272: 9, 2048: 0x0101, 2: COMMITMENT }));
  const crossed = await report(async () => {
    peer.send(echo);
    const answer = readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0));
    t.match(answer, { 256: 0x8030, 288: 9 }, 'answered while we wait for the answer to the report');
  });
  t.equal(crossed.event, 1);
  peer.send(echo);
  t.match(readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0)), { 256: 0x8030 }, 'and it goes on');
});

test('what is asked wrongly', async (t) => {
  const { to, logged } = await startArchive(t, { commitGraceMs: 60_000 });
  const { ask } = await asking(t, to.port);
  const good: [string, string][] = [[CT, sop(1)]];
  t.equal(await ask(information('2.25.1', good), { action: 2 }), 0x0123);
  t.equal(await ask(information('2.25.1', good), { instance: '1.2.3' }), 0x0112);
  t.equal(await ask(information('not a UID', good)), 0x0115);
  t.equal(await ask(information('2.25.1', [])), 0x0115);
  t.equal(await ask(information('2.25.1', [[CT, 'x']])), 0x0115);
  t.equal(await ask(information('2.25.1', good)), 0);
  t.equal(await ask(information('2.25.1', good)), 0x0131, 'a transaction that is under way');
  const { peer } = await asking(t, to.port);
  peer.send(data(1, 3, command({ 3: COMMITMENT, 256: 0x130, 272: 5, 2048: 0, 4097: INSTANCE, 4104: 1 })));
  peer.socket.end(data(1, 0, Buffer.alloc(10)));
  await peer.closed;
  while (logged.filter(({ event }) => event === 'association-ended').length === 0)
    await new Promise((resolve) => setTimeout(resolve, 5));
  t.notOk(
    logged.some(({ event }) => event === 'operation-failed'),
    'an association that ends inside a request is no failure of ours',
  );
});

test('"committed" may ask for the chain and the swarm too', async (t) => {
  const { to, keep, index } = await startArchive(t, { commitGraceMs: 5, commitAfter: 'both' });
  for (const file of series) await keep(file);
  const { ask, report, peer } = await asking(t, to.port);
  const anchored = index.version(sop(1));
  if (!anchored) throw new Error('it was stored');
  const batch = batchOf(0);
  await index.addBatch({ ...batch, count: 1 }, [anchored.node], [], index.cursor());
  index.setAnchored(batch.id, anchoredAt(7));
  t.equal(await ask(information('2.25.1', [[CT, sop(1)]])), 0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  peer.send(data(1, 3, command({ 256: 0x30, 272: 9, 2048: 0x0101, 2: COMMITMENT })));
  const echo = readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0));
  t.equal(echo[0x0100], 0x8030, 'nothing is reported yet, and the association goes on');
  index.confirm(batch.id, { node: 'A', at: '2026-01-02T03:04:05.678Z' }, 1);
  t.equal(await ask(information('2.25.2', [[CT, sop(1)]])), 0);
  t.match(await report(), { event: 1, dataset: { '00081195': { Value: ['2.25.2'] } } });
});

test('what waits is not written again and again, nor does it keep others out', async (t) => {
  const list = Array.from({ length: MAX_COMMITMENTS }, (_, i) => ({
    transactionUID: `2.25.${i + 1}`,
    peer: i === 0 ? 'UNKNOWN' : 'RAWPEER',
    references: Array.from({ length: MAX_REFERENCES / MAX_COMMITMENTS }, () => ({
      sopClassUID: CT,
      sopInstanceUID: sop(1),
    })),
    askedAt: Date.now(),
    dueAt: 0,
    tries: 0,
  }));
  const [port = 0] = await freePorts(1);
  const peers = [{ aeTitle: 'RAWPEER', host: '127.0.0.1', port, services: ['commit'] as const }];
  const { index, keep } = await startArchive(t);
  for (const file of series) await keep(file);
  let judged = 0;
  const owed = () => JSON.parse(saved.at(-1) ?? '') as { peer: string; transactionUID: string }[];
  const saved: string[] = [];
  const counted = {
    ...index,
    query: index.query,
    versions: (instance: string) => {
      judged++;
      return index.versions(instance);
    },
    getValue: () => JSON.stringify(list),
    setValue: (_name: string, value: string) => void saved.push(value),
  };
  const other = await startCollector({ peers, commitGraceMs: 5, commitAfter: 'anchored' }, undefined, {
    index: counted,
  });
  t.teardown(() => other.listener.close());
  const { ask } = await asking(t, other.to.port);
  t.equal(await ask(information('2.25.2001', [[CT, sop(1)]])), 0);
  t.equal(owed().length, MAX_COMMITMENTS, 'one that nobody can be told made room');
  t.match(owed()[0], { peer: 'RAWPEER', transactionUID: '2.25.2' });
  t.match(owed().at(-1), { transactionUID: '2.25.2001' });
  // Until it was hurried, and looked at in vain.
  while (judged < MAX_COMMITMENTS + 1) await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(saved.length, 1);
  t.equal(await ask(information('2.25.2002', [[CT, sop(1)]])), 0x0213, 'all of the others are owed one');
});

test('Orthanc asks, and is told on an association of ours', { skip: skipOrthanc }, async (t) => {
  const [dicomPort = 0] = await freePorts(1);
  const peers = [{ aeTitle: 'ORTHANC', host: '127.0.0.1', port: dicomPort, services: ['commit', 'echo'] as const }];
  const archive = await startArchive(t, { peers });
  for (const file of series) await archive.keep(file);
  const { host, port } = archive.listener.address;
  const config = { DicomPort: dicomPort, DicomModalities: { bridge: ['DAGPACS', host, port] } };
  const orthanc = await startOrthanc({ config });
  t.teardown(() => orthanc.stop());
  const ask = async (...instances: string[]) => {
    const body = JSON.stringify({ DicomInstances: instances.map((each) => [CT, each]), Timeout: 10 });
    const init = { method: 'POST', body };
    const response = await fetch(`${orthanc.url}/modalities/bridge/storage-commitment`, init);
    const { ID } = (await response.json()) as { ID: string };
    for (;;) {
      const report = (await (await fetch(`${orthanc.url}/storage-commitment/${ID}`)).json()) as { Status: string };
      if (report.Status !== 'Pending') return report;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  t.match(await ask(sop(1), sop(2)), { Status: 'Success' });
  t.match(await ask(sop(1), '1.2.3'), { Status: 'Failure', Failures: [{ SOPInstanceUID: '1.2.3' }] });
});

test('a report that could not be delivered is kept over a restart', async (t) => {
  const [dicomPort = 0] = await freePorts(1);
  const peers = [{ aeTitle: 'RAWPEER', host: '127.0.0.1', port: dicomPort, services: ['commit'] as const }];
  const archive = await startArchive(t, { peers, commitGraceMs: 5 });
  for (const file of series) await archive.keep(file);
  const { ask, peer } = await asking(t, archive.to.port);
  t.equal(await ask(information('2.25.77', [[CT, sop(1)]])), 0);
  peer.socket.destroy();
  while (!archive.logged.some(({ event }) => event === 'commitment-not-delivered'))
    await new Promise((resolve) => setTimeout(resolve, 5));
  await archive.listener.close();
  const owed = JSON.parse(archive.index.getValue('dimse.commitments') ?? '[]') as { dueAt: number }[];
  t.match(owed, [{ transactionUID: '2.25.77', tries: 1 }]);
  for (const each of owed) each.dueAt = 0;
  archive.index.setValue('dimse.commitments', JSON.stringify(owed));

  const { requests } = await startAcceptor(t, () => 0, { port: dicomPort });
  const again = await startCollector({ peers }, undefined, { index: archive.index });
  t.teardown(() => again.listener.close());
  while (archive.index.getValue('dimse.commitments') !== '[]') await new Promise((resolve) => setTimeout(resolve, 10));
  t.match(requests, [{ command: { field: 0x0100, typeId: 1 }, roles: { scu: false, scp: true } }]);
  t.ok(requests[0]?.dataset.includes('2.25.77'));
});
