import { test } from 'tap';
import type { DicomJson } from '../../src/dicom/model.ts';
import { startBridge } from '../fixtures/bridge.ts';
import { makeSlice, type SliceOptions } from '../fixtures/dicom.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

const request = (step: string, procedure: string) => ({
  '00400009': ['SH', step] as const,
  '00401001': ['SH', procedure] as const,
});

/** Four studies of three patients. */
function files(): Buffer[] {
  const of = (study: string, patientName: string, patientID: string, overrides: SliceOptions['overrides']) =>
    makeSlice({
      study,
      patientName,
      patientID,
      rows: 4,
      columns: 4,
      overrides: { '00200010': ['SH', study], ...overrides },
    });
  const steps = { '00400275': ['SQ', [request('S1', 'P1'), request('S2', 'P2')]] } as const;
  return [
    of('a', 'M\xfcller^J\xfcrgen', 'PAT1', { '00080020': ['DA', '20240105'], '00080030': ['TM', '180000'] }),
    of('b', 'SMITH^JOHN', 'PAT2', { '00080020': ['DA', '20240106'], '00080030': ['TM', '090000'] }),
    of('c', 'SMITH^JOHN', 'PAT2', {
      '00080020': ['DA', '20240108'],
      '00080030': ['TM', '090000'],
      '00080050': ['SH', ''],
      ...(steps as unknown as SliceOptions['overrides']),
    }),
    of('d', 'Yamada^Tarou', 'PAT3', { '00080020': ['DA', '20231231'], '00081050': ['PN', 'Curie^Marie'] }),
  ];
}

test('QIDO-RS', async (t) => {
  const dataDir = await tempFolder(t);
  let bridge = await startBridge({ dataDir });
  t.teardown(() => bridge.stop());
  const { status } = await stow(bridge.dicomWeb, files());
  t.equal(status, 200);
  const search = async (path: string) => {
    const response = await fetch(`${bridge.dicomWeb}${path}`);
    const body = (await response.json()) as DicomJson[] & { attribute?: string };
    return { status: response.status, warning: response.headers.get('warning'), body };
  };
  const first = (rows: DicomJson[], tag: string) => rows.map((row) => row[tag]?.Value?.[0]);
  const studies = async (query: string) => first((await search(`/studies?${query}`)).body, '00200010');

  t.strictSame(await studies(''), ['c', 'b', 'a', 'd'], 'the newest first');
  const cases: [query: string, found: string[]][] = [
    ['PatientName=muller*', ['a']],
    ['PatientName=jur+mul&fuzzymatching=true', ['a']],
    ['PatientName=jur+mul', []],
    ['PatientID=PAT1&PatientID=PAT3', ['a', 'd']],
    ['00100020=PAT2&orderby=StudyDate', ['b', 'c']],
    ['orderby=-PatientName,StudyDate', ['d', 'b', 'c', 'a']],
    ['AccessionNumber=%22%22', ['c']],
    ['AccessionNumber=', ['c', 'b', 'a', 'd']],
    ['StudyDate=20240105-20240108&StudyTime=20-', ['c', 'b']],
    ['StudyDate=20240105-20240108&StudyTime=-0800', ['b', 'a']],
    ['ModalitiesInStudy=MR,CT&limit=1&offset=1', ['b']],
    ['RequestAttributesSequence.ScheduledProcedureStepID=S1&00400275.00401001=P1', ['c']],
    ['RequestAttributesSequence.ScheduledProcedureStepID=S1&00400275.00401001=P2', []],
    ['PerformingPhysicianName=curie*', ['d']],
    ['StationName=STATION?&SliceThickness=2.50&PatientID=PAT3', ['d']],
  ];
  for (const [query, found] of cases) t.strictSame(await studies(query), found, query);

  const patients = (await search('/patients?orderby=PatientName')).body;
  t.strictSame(first(patients, '00100020'), ['PAT1', 'PAT2', 'PAT3']);
  t.strictSame(first(patients, '00201200'), [1, 2, 1]);
  const [series] = (await search('/series?StudyID=c&includefield=StationName,00400275.00400009')).body;
  t.match(series, {
    '00081010': { Value: ['STATION1'] },
    '00400275': { Value: [{ '00400009': { Value: ['S1'] } }, { '00400009': { Value: ['S2'] } }] },
  });

  const unindexed = await search('/studies?orderby=PerformingPhysicianName');
  t.match(unindexed, { status: 400, body: { attribute: 'orderby' } });
  await bridge.stop();
  const env = { DAGPACS_QIDO_INDEX: 'PerformingPhysicianName,00400275.00400009', DAGPACS_QIDO_MAX: '3' };
  bridge = await startBridge({ dataDir, env });
  // Of the series' level, which a study does not have.
  t.match(await search('/studies?orderby=PerformingPhysicianName'), { status: 400, body: { attribute: 'orderby' } });
  const ordered = await search('/series?orderby=-PerformingPhysicianName,PatientID');
  t.strictSame(first(ordered.body, '00100020'), ['PAT3', 'PAT1', 'PAT2']);
  t.match(ordered.warning, /^299 /, 'four, of which a setting allows three');
  t.equal((await search('/series?PerformingPhysicianName=curie*')).warning, null);
});
