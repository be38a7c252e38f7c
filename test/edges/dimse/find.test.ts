import { test } from 'tap';
import type { DicomJson } from '../../../src/dicom/model.ts';
import { made } from '../../fixtures/additions.ts';
import { type FoundDataset, findscu } from '../../fixtures/findscu.ts';
import { skipWithout } from '../../fixtures/tools.ts';
import { startCollector } from './collector.ts';
import { library, startLibrary } from './library.ts';
import { querying } from './querying.ts';
import { command, data } from './raw-peer.ts';

const skip = skipWithout('findscu', 'dcm2json');
const STUDY_ROOT = '1.2.840.10008.5.1.4.1.2.2.1';
const PATIENT_ROOT = '1.2.840.10008.5.1.4.1.2.1.1';

const first = (datasets: FoundDataset[], tag: string) => datasets.map((dataset) => dataset[tag]?.Value?.[0]);

test('C-FIND at every level of both information models', { skip }, async (t) => {
  const { to } = await startLibrary(t, library());
  const ask = async (model: '-P' | '-S', level: string, ...keys: string[]) => {
    const found = await findscu(to, [`QueryRetrieveLevel=${level}`, ...keys], model);
    t.equal(found.code, 0, found.output);
    t.equal(found.statuses.at(-1), 0);
    for (const dataset of found.datasets) {
      t.match(dataset, { '00080052': { Value: [level] }, '00080054': { vr: 'AE', Value: ['DAGPACS'] } });
    }
    return found.datasets;
  };
  const patients = await ask('-P', 'PATIENT', 'PatientID', 'PatientName', 'NumberOfPatientRelatedStudies');
  t.strictSame(first(patients, '00100020'), ['P1', 'P2', 'P3'], 'each patient once');
  t.strictSame(first(patients, '00201200'), [2, 1, 1]);
  const [counted] = await ask('-P', 'PATIENT', 'PatientID=P1', 'NumberOfPatientRelatedSeries', '0020,1204');
  t.match(counted, { '00201202': { Value: [3] }, '00201204': { Value: [4] } });

  const studies = await ask('-S', 'STUDY', 'StudyInstanceUID', 'ModalitiesInStudy', 'StudyDate=20240101-');
  t.strictSame(first(studies, '0020000D'), ['1.2', '1.1']);
  t.strictSame(studies[0]?.['00080061']?.Value, ['CT', 'SR']);
  t.strictSame(Object.keys(studies[0] ?? {}).length, 6, 'the keys that were asked for, and no others');
  const ofPatient = await ask('-P', 'STUDY', 'PatientID=P1', 'StudyInstanceUID', 'InstanceAvailability');
  t.strictSame(first(ofPatient, '00080056'), ['ONLINE', 'ONLINE']);

  const series = await ask('-S', 'SERIES', 'StudyInstanceUID=1.2', 'SeriesInstanceUID', 'Modality', 'StationName');
  t.strictSame(first(series, '0020000E'), ['1.2.1', '1.2.9']);
  t.same(series[1]?.['00081010'], { vr: 'SH' }, 'what is not there is there, and empty');
  const list = await ask('-S', 'SERIES', 'StudyInstanceUID=1.2', 'SeriesInstanceUID=1.2.9\\1.1.1');
  t.strictSame(first(list, '0020000E'), ['1.2.9'], 'a list of UIDs');

  const images = await ask('-S', 'IMAGE', 'StudyInstanceUID=1.1', 'SeriesInstanceUID=1.1.1', 'SOPInstanceUID');
  t.strictSame(first(images, '00080018'), ['1.1.1.1', '1.1.1.2']);
  const image = await ask(
    '-P',
    'IMAGE',
    'PatientID=P1',
    'StudyInstanceUID=1.1',
    'SeriesInstanceUID=1.1.1',
    'InstanceNumber=2',
    'SOPInstanceUID',
  );
  t.strictSame(first(image, '00080018'), ['1.1.1.2']);
});

test('sequences are matched and answered item by item', { skip }, async (t) => {
  const { to } = await startLibrary(t, library());
  const step = 'RequestAttributesSequence[0].ScheduledProcedureStepID';
  const ask = (value: string) =>
    findscu(to, ['QueryRetrieveLevel=SERIES', 'StudyInstanceUID=1.2', 'SeriesInstanceUID', `${step}${value}`], '-S');
  const { datasets } = await ask('=SPS9');
  t.strictSame(first(datasets, '0020000E'), ['1.2.1']);
  t.same(
    datasets[0]?.['00400275']?.Value,
    [{ '00400009': { vr: 'SH', Value: ['SPS9'] } }],
    'the key that was asked for',
  );
  t.equal((await ask('=OTHER')).datasets.length, 0);
});

test('what cannot be answered is told', { skip }, async (t) => {
  const { to } = await startLibrary(t, library());
  const status = async (model: string, ...keys: string[]) => (await findscu(to, keys, model)).statuses;
  const level = (name: string) => `QueryRetrieveLevel=${name}`;
  t.same(
    await status('-S', level('STUDY'), 'StudyInstanceUID=1.1', 'SOPInstanceUID'),
    [0xff01, 0],
    'not at that level',
  );
  t.same(await status('-S', level('STUDY'), 'StudyInstanceUID=1.1', 'NumberOfStudyRelatedSeries=1'), [0xff01, 0]);
  t.same(await status('-S', level('PATIENT'), 'PatientID'), [0xa900], 'no level of the Study Root');
  t.same(await status('-S', level('SERIE'), 'StudyInstanceUID=1.1'), [0xa900]);
  t.same(await status('-S', 'StudyInstanceUID=1.1'), [0xa900], 'no level at all');
  t.same(await status('-S', level('SERIES'), 'SeriesInstanceUID'), [0xa900], 'a unique key above is missing');
  t.same(await status('-P', level('STUDY'), 'StudyInstanceUID'), [0xa900]);
  t.same(await status('-S', level('IMAGE'), 'StudyInstanceUID=1.1\\1.2', 'SeriesInstanceUID=1.1.1'), [0xa900]);
  t.same(await status('-S', level('STUDY'), 'StudyDate=yesterday'), [0xa900], 'no date');
});

const study = (keys: DicomJson = {}): DicomJson => ({
  '00080052': { vr: 'CS', Value: ['STUDY'] },
  '0020000D': { vr: 'UI' },
  ...keys,
});

test('keys come in any character set, and answers go in it where it has the characters', async (t) => {
  const { to } = await startLibrary(t, library());
  const { peer, all } = await querying(to.port, STUDY_ROOT);
  t.teardown(() => peer.socket.destroy());
  const name = (Alphabetic: string) => study({ '00100010': { vr: 'PN', Value: [{ Alphabetic }] } });
  const cases: [charset: string, key: string, answered: string, study: string][] = [
    ['ISO_IR 100', 'Müller*', 'ISO_IR 100', '1.2'],
    ['ISO_IR 192', 'Müller*', 'ISO_IR 192', '1.2'],
    ['ISO_IR 144', 'Люк*', 'ISO_IR 144', '1.4'],
    ['\\ISO 2022 IR 87', '*=山田*', '\\ISO 2022 IR 87', '1.3'],
    ['ISO 2022 IR 6\\ISO 2022 IR 87', '*=*=やまだ*', 'ISO 2022 IR 6\\ISO 2022 IR 87', '1.3'],
    ['GB18030', '*=山田*', 'GB18030', '1.3'],
    ['ISO_IR 100', 'Yamada*', 'ISO_IR 192', '1.3'],
    ['', 'Yamada*', 'ISO_IR 192', '1.3'],
  ];
  const names: Record<string, object> = {
    '1.2': { Alphabetic: 'Müller^Jürgen' },
    '1.3': { Alphabetic: 'Yamada^Tarou', Ideographic: '山田^太郎', Phonetic: 'やまだ^たろう' },
    '1.4': { Alphabetic: 'Люкceмбypг' },
  };
  for (const [charset, key, answered, uid] of cases) {
    const [found] = await all(name(key), charset);
    t.equal(found?.identifier?.charset, answered, `${charset} ${key}`);
    t.same(found?.identifier?.dataset['0020000D']?.Value, [uid]);
    t.same(found?.identifier?.dataset['00100010']?.Value, [names[uid]]);
  }
});

test('what extended negotiation adds', async (t) => {
  const { to } = await startLibrary(t, library());
  const plain = await querying(to.port, STUDY_ROOT);
  const extended = await querying(to.port, STUDY_ROOT, [1, 1, 1, 1, 1]);
  t.teardown(() => plain.peer.socket.destroy());
  t.teardown(() => extended.peer.socket.destroy());
  t.notOk(plain.accept.includes(Buffer.from([0x56, 0])), 'what was not asked for is not answered');
  const answered = extended.accept.indexOf(Buffer.concat([Buffer.from(STUDY_ROOT), Buffer.of(1, 1, 1, 0, 0)]));
  t.ok(answered > 0, 'relational queries, combined date-time, fuzzy names');
  t.equal(extended.accept[answered - 6], 0x56);

  const found = async (asking: typeof plain, keys: DicomJson, tag = '0020000D') =>
    (await asking.all(keys)).flatMap(({ identifier }) => identifier?.dataset[tag]?.Value ?? []);
  const images: DicomJson = {
    '00080018': { vr: 'UI' },
    '00080052': { vr: 'CS', Value: ['IMAGE'] },
    '00100020': { vr: 'LO', Value: ['P1'] },
  };
  t.same(await found(extended, images, '00080018'), ['1.2.1.1', '1.2.9.1', '1.1.1.1', '1.1.1.2'], 'relational');
  t.match(await plain.all(images), [{ status: 0xa900 }]);

  const moment = study({
    '00080020': { vr: 'DA', Value: ['20240301-20240302'] },
    '00080030': { vr: 'TM', Value: ['080000-073000'] },
  });
  t.same(await found(extended, moment), ['1.2', '1.1'], 'from one moment to the other');
  t.same(await found(plain, moment), [], 'a time of day that is none');
  const fuzzy = study({ '00100010': { vr: 'PN', Value: [{ Alphabetic: 'jur mul' }] } });
  t.same(await found(extended, fuzzy), ['1.2', '1.1']);
  t.same(await found(plain, fuzzy), []);

  const patients = await querying(to.port, PATIENT_ROOT, [1]);
  t.teardown(() => patients.peer.socket.destroy());
  const byStudy: DicomJson = {
    '00080052': { vr: 'CS', Value: ['PATIENT'] },
    '00100020': { vr: 'LO' },
    '0020000D': { vr: 'UI', Value: ['1.1'] },
  };
  t.same(await found(patients, byStudy, '00100020'), ['P1'], 'by a study that is not its newest');
});

test('C-CANCEL stops it', async (t) => {
  const many = Array.from({ length: 3000 }, (_, i) =>
    made({ study: `1.${i + 10}`, series: `1.${i + 10}.1`, sop: `1.${i + 10}.1.1` }),
  );
  const { to } = await startLibrary(t, many);
  const { peer, ask, next, all } = await querying(to.port, STUDY_ROOT);
  t.teardown(() => peer.socket.destroy());
  t.equal((await all(study())).length, 3001, 'more than one page');
  ask(study());
  t.equal((await next()).status, 0xff00);
  peer.send(data(1, 3, command({ 256: 0x0fff, 288: 1, 2048: 0x0101 })));
  let answers = 1;
  let status: number;
  do {
    ({ status } = await next());
    answers++;
  } while (status === 0xff00);
  t.equal(status, 0xfe00);
  t.ok(answers < 3000, `${answers} answers`);
  t.equal((await all(study({ '0020000D': { vr: 'UI', Value: ['1.11'] } }))).length, 2, 'the association goes on');
});

test('identifiers that are none', async (t) => {
  const { to } = await startLibrary(t, library());
  const { peer, ask, next } = await querying(to.port, STUDY_ROOT);
  t.teardown(() => peer.socket.destroy());
  ask(Buffer.from([8, 0, 0x52, 0, 100, 0, 0, 0, 1, 2, 3, 4]));
  t.same(await next(), { status: 0xc000 });
  peer.send(data(1, 3, command({ 2: STUDY_ROOT, 256: 0x20, 272: 1, 1792: 0, 2048: 0x0101 })));
  t.same(await next(), { status: 0xa900 }, 'none at all');
});

test('a peer that asks without reading the answers is not answered ahead', async (t) => {
  const text = 'x'.repeat(60_000);
  let pages = 0;
  const index = {
    query() {
      pages++;
      return { rows: Array(500).fill(`{"00104000":{"vr":"LT","Value":["${text}"]}}`) as string[], more: true };
    },
    versions: () => [],
    getValue: () => undefined,
    setValue: () => undefined,
  };
  const { to, listener } = await startCollector({ idleTimeoutMs: 200 }, undefined, { index });
  t.teardown(() => listener.close());
  const { peer, ask } = await querying(to.port, STUDY_ROOT);
  peer.socket.pause();
  ask(study({ '00104000': { vr: 'LT' } }));
  await new Promise((resolve) => setTimeout(resolve, 150));
  t.equal(pages, 1, 'no page is read before the one before it was sent');
  // It does not take what it asked for: its association ends, and with it the query.
  await listener.drain(1000);
  t.equal(pages, 1);
  peer.socket.destroy();
});
