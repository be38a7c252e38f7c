import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { isStorage } from '../../../src/edges/dimse/negotiation.ts';
import { DagpacsError, type ErrorCode } from '../../../src/kernel/errors.ts';
import { corpusFiles, readCorpusFile, skipCorpus } from '../../fixtures/corpus.ts';
import { runTool, startRecorder, storescu } from '../../fixtures/dcmtk.ts';
import {
  DEFLATED,
  EXPLICIT_BE,
  EXPLICIT_LE,
  IMPLICIT_LE,
  JPEG_BASELINE,
  makeSlice,
  type SliceOptions,
  uid,
} from '../../fixtures/dicom.ts';
import { datasetOf, metaOf } from '../../fixtures/part10.ts';
import { connectScu, type WireInstance } from '../../fixtures/raw-scu.ts';
import { tempFolder } from '../../fixtures/temp.ts';
import { skipWithout } from '../../fixtures/tools.ts';
import { accepted, type Collector, refused, startCollector } from './collector.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const skip = skipWithout('storescu', 'echoscu', 'storescp');

/** What was collected under a SOP Instance UID. */
const instance = ({ instances }: Collector, sopInstanceUID: string) =>
  instances.find(({ expect }) => expect?.sopInstanceUID === sopInstanceUID);

async function writeSlices(folder: string, slices: SliceOptions[]): Promise<string[]> {
  return Promise.all(
    slices.map(async (options, i) => {
      const path = join(folder, `${i}.dcm`);
      await writeFile(path, makeSlice({ rows: 64, columns: 64, ...options }));
      return path;
    }),
  );
}

test('echoscu is answered, by whatever name it calls', { skip }, async (t) => {
  const { listener, to, logged } = await startCollector();
  t.teardown(() => listener.close());
  for (const called of ['DAGPACS', 'SOMEONE']) {
    const { code, output } = await runTool('echoscu', ['-v', '-aec', called, to.host, String(to.port)]);
    t.equal(code, 0, output);
    t.match(output, /Received Echo Response \(Success\)/);
  }
  t.match(logged[0], { event: 'association-accepted', fields: { peer: 'ECHOSCU@127.0.0.1', accepted: 1 } });
});

test('a called AE title is checked where that is asked for', { skip }, async (t) => {
  const { listener, to } = await startCollector({ checkCalledAE: true, aeTitle: 'BRIDGE' });
  t.teardown(() => listener.close());
  const good = await runTool('echoscu', ['-aec', 'BRIDGE', to.host, String(to.port)]);
  t.equal(good.code, 0, good.output);
  const bad = await runTool('echoscu', ['-aec', 'OTHER', to.host, String(to.port)]);
  t.not(bad.code, 0);
  t.match(bad.output, /Called AE Title Not Recognized/);
});

test("storescu: what the ingest gets is what DCMTK's own storescp records", { skip }, async (t) => {
  const folder = await tempFolder(t);
  const collector = await startCollector();
  t.teardown(() => collector.listener.close());
  const recorder = await startRecorder(await tempFolder(t));
  t.teardown(() => recorder.stop());
  const jpeg = { fragments: [Buffer.from('ffd8ffd9', 'hex')] };
  const cases: [flag: string, transferSyntaxUID: string][] = [
    ['-xi', IMPLICIT_LE],
    ['-xe', EXPLICIT_LE],
    ['-xb', EXPLICIT_BE],
    ['-xd', DEFLATED],
    ['-xy', JPEG_BASELINE],
  ];
  for (const [instance, [flag, transferSyntaxUID]] of cases.entries()) {
    const encapsulated = transferSyntaxUID === JPEG_BASELINE && { encapsulated: jpeg };
    const files = await writeSlices(folder, [{ transferSyntaxUID, instance, ...encapsulated }]);
    for (const to of [collector.to, recorder]) {
      const { code, output } = await storescu(to, files, flag);
      t.equal(code, 0, output);
    }
  }
  const recorded = (await recorder.files()).map((file) => ({ meta: metaOf(file), dataset: datasetOf(file) }));
  for (const [i, [, transferSyntaxUID]] of cases.entries()) {
    const sopInstanceUID = uid('instance', 1, 'CT', 1, i);
    const got = instance(collector, sopInstanceUID);
    const reference = recorded.find(({ meta }) => meta['00020003'] === sopInstanceUID);
    t.ok(got && reference, `${transferSyntaxUID} arrived`);
    if (!got || !reference) return;
    t.match(metaOf(got.bytes), { '00020002': CT, '00020003': sopInstanceUID, '00020010': transferSyntaxUID });
    t.equal(reference.meta['00020010'], transferSyntaxUID);
    t.same(got.expect, { sopClassUID: CT, sopInstanceUID });
    t.equal(got.from, 'dimse:STORESCU@127.0.0.1');
    t.ok(datasetOf(got.bytes).equals(reference.dataset), transferSyntaxUID);
  }
});

test('private and unknown SOP classes and transfer syntaxes are taken, byte for byte', async (t) => {
  const collector = await startCollector();
  t.teardown(() => collector.listener.close());
  const instances = [
    { sopClassUID: '1.3.12.2.1107.5.9.1', transferSyntaxUID: IMPLICIT_LE },
    { sopClassUID: '1.2.840.10008.5.1.4.1.1.999.1', transferSyntaxUID: '1.2.840.113619.5.2' },
    { sopClassUID: CT, transferSyntaxUID: DEFLATED },
    { sopClassUID: CT, transferSyntaxUID: '1.2.840.10008.1.2.4.999' },
  ].map((each, i) => ({ ...each, sopInstanceUID: uid('raw', i), dataset: makeSlice({ instance: i }).subarray(400) }));
  const scu = await connectScu(collector.to, instances, 'MODALITY 1');
  for (const each of instances) t.equal((await scu.store(each)).status, 0);
  await scu.release();
  for (const each of instances) {
    const got = instance(collector, each.sopInstanceUID);
    t.ok(got && datasetOf(got.bytes).equals(each.dataset), each.transferSyntaxUID);
    t.equal(got && metaOf(got.bytes)['00020010'], each.transferSyntaxUID);
    t.equal(got?.from, 'dimse:MODALITY 1@127.0.0.1');
  }
});

test('every transfer syntax of the corpus', { skip: skipCorpus }, async (t) => {
  const collector = await startCollector();
  t.teardown(() => collector.listener.close());
  const bySyntax = new Map<string, WireInstance>();
  for (const file of corpusFiles()) {
    const bytes = readCorpusFile(file);
    if (file.path.startsWith('bad/') || bytes.toString('latin1', 128, 132) !== 'DICM') continue;
    const { '00020002': sopClassUID = '', '00020010': transferSyntaxUID = '' } = metaOf(bytes);
    const each = { sopClassUID, transferSyntaxUID, sopInstanceUID: uid(file.path), dataset: datasetOf(bytes) };
    bySyntax.set(transferSyntaxUID, each);
  }
  const instances = [...bySyntax.values()].filter(({ sopClassUID }) => isStorage(sopClassUID));
  t.ok(instances.length > 20, `${instances.length} transfer syntaxes`);
  const scu = await connectScu(collector.to, instances);
  for (const each of instances) {
    t.equal((await scu.store(each)).status, 0);
    const got = instance(collector, each.sopInstanceUID);
    t.ok(got && datasetOf(got.bytes).equals(each.dataset), each.transferSyntaxUID);
  }
  await scu.release();
});

test('several associations at once, one operation at a time on each', { skip }, async (t) => {
  const folder = await tempFolder(t);
  const collector = await startCollector();
  t.teardown(() => collector.listener.close());
  const files = await writeSlices(
    folder,
    Array.from({ length: 12 }, (_, instance) => ({ instance, rows: 256, columns: 256 })),
  );
  const runs = await Promise.all([0, 1, 2, 3].map((i) => storescu(collector.to, files, '-aet', `SCU${i}`)));
  for (const { code, output } of runs) t.equal(code, 0, output);
  t.equal(collector.instances.length, 48);
  for (let i = 0; i < 4; i++) {
    const own = collector.instances.filter(({ from }) => from === `dimse:SCU${i}@127.0.0.1`);
    const order = own.map(({ expect }) => expect?.sopInstanceUID);
    t.same(
      order,
      Array.from({ length: 12 }, (_, instance) => uid('instance', 1, 'CT', 1, instance)),
    );
  }
});

test('what the ingest refuses is refused with a status that storescu shows', { skip }, async (t) => {
  const folder = await tempFolder(t);
  const files = await writeSlices(folder, [{ instance: 1 }, { instance: 2, rows: 512, columns: 512 }]);
  const cases: [ErrorCode, number][] = [
    ['pushback', 0xa700],
    ['sop-mismatch', 0xa900],
    ['missing-attribute', 0xc003],
    ['storage-failed', 0x0110],
    ['too-large', 0x0213],
    ['instance-conflict', 0x0111],
  ];
  for (const [code, status] of cases) {
    const subject = {
      attribute: 'StudyInstanceUID',
      tag: '0020000D',
      rule: `must be there, and ${'long '.repeat(20)}`,
    };
    // Half of the refusals come before the data set was read.
    let calls = 0;
    const { listener, to, logged } = await startCollector({}, async ({ bytes }) => {
      if (calls++ % 2) for await (const chunk of bytes) if (chunk.length === 0) break;
      return refused(new DagpacsError(code, 'no', subject));
    });
    const { output } = await storescu(to, files, '-d', '-nh');
    t.match(output, new RegExp(`DIMSE Status\\s*: 0x${status.toString(16).padStart(4, '0')}`), code);
    t.match(output, /\(0000,0902\) LO \[StudyInstanceUID: must be there/);
    t.match(output, /\(0000,0901\) AT \(0020,000d\)/);
    t.equal(calls, 2, 'the association goes on after a refusal');
    t.match(
      logged.find(({ event }) => event === 'store-refused'),
      { fields: { code, attribute: 'StudyInstanceUID' } },
    );
    await listener.close();
  }
});

test('an ingest that throws costs one instance, and its message goes nowhere', async (t) => {
  let calls = 0;
  const collector = await startCollector({}, async ({ bytes }) => {
    if (calls++ === 0) throw new Error('Doe^Jane');
    for await (const chunk of bytes) if (chunk.length === 0) break;
    return accepted();
  });
  t.teardown(() => collector.listener.close());
  const one = { sopClassUID: CT, sopInstanceUID: '1.2.3', transferSyntaxUID: EXPLICIT_LE, dataset: makeSlice() };
  const scu = await connectScu(collector.to, [one]);
  t.same(await scu.store(one), { status: 0x0110, comment: '' });
  t.same(await scu.store(one), { status: 0, comment: '' });
  await scu.release();
  t.notMatch(JSON.stringify(collector.logged), /Doe/);
});

test('UIDs of the command that are none', async (t) => {
  const collector = await startCollector();
  t.teardown(() => collector.listener.close());
  const good = { sopClassUID: CT, sopInstanceUID: '1.2.3', transferSyntaxUID: EXPLICIT_LE, dataset: makeSlice() };
  const scu = await connectScu(collector.to, [good]);
  for (const sopInstanceUID of ['', '../../etc/passwd', '1.2.3*', '1'.repeat(65)]) {
    const answer = await scu.store({ ...good, sopInstanceUID });
    t.equal(answer.status, 0x0117, sopInstanceUID);
    t.match(answer.comment, /^AffectedSOPInstanceUID: must be a UID/);
  }
  t.equal((await scu.store(good)).status, 0);
  t.equal(collector.instances.length, 1);
  await scu.release();
});
