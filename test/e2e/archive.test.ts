import { execFile } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'tap';
import { startBridge } from '../fixtures/bridge.ts';
import { corpusFiles, readCorpusFile, skipCorpus } from '../fixtures/corpus.ts';
import { makeSlice, RLE, type SliceOptions, uid } from '../fixtures/dicom.ts';
import { get } from '../fixtures/pixel-client.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

const run = promisify(execFile);
const NAME = 'Müller^Jürgen';

/** One study of three series: CT, a report, and an encapsulated document. */
function files(): Buffer[] {
  const small = { study: 'archive', rows: 16, columns: 16, patientName: NAME };
  const without = { '00280010': undefined, '00280011': undefined, '7FE00010': undefined };
  const report = {
    ...without,
    '00080016': ['UI', '1.2.840.10008.5.1.4.1.1.88.11'],
    '00080060': ['CS', 'SR'],
    '0040A043': ['SQ', [{ '00080100': ['SH', '121144'], '00080102': ['SH', 'DCM'], '00080104': ['LO', 'Title'] }]],
    '0040A491': ['CS', 'COMPLETE'],
    '0040A493': ['CS', 'UNVERIFIED'],
  } satisfies SliceOptions['overrides'];
  const document = {
    ...without,
    '00080016': ['UI', '1.2.840.10008.5.1.4.1.1.104.1'],
    '00080060': ['CS', 'DOC'],
    '00420010': ['ST', 'A letter'],
    '00420011': ['OB', Buffer.from('%PDF')],
    '00420012': ['LO', 'application/pdf'],
  } satisfies SliceOptions['overrides'];
  return [
    makeSlice({ ...small, instance: 1 }),
    makeSlice({ ...small, instance: 2 }),
    makeSlice({
      ...small,
      instance: 3,
      transferSyntaxUID: RLE,
      encapsulated: { fragments: [Buffer.alloc(64, 1)] },
    }),
    makeSlice({ ...small, series: 2, overrides: report }),
    makeSlice({ ...small, series: 3, overrides: document }),
  ];
}

/** The records of a DICOMDIR as DCMTK reads them: type, and the attributes that are asked for. */
async function records(dicomdir: string): Promise<string[]> {
  const { stdout, stderr } = await run('dcmdump', ['+L', '-Un', dicomdir]);
  if (stderr !== '') throw new Error(stderr);
  const found: string[] = [];
  for (const line of stdout.split('\n')) {
    const [, tag = '', value = ''] = /\((\w{4},\w{4})\) \w\w \[(.*)\]/.exec(line) ?? [];
    if (tag === '0004,1430') found.push(value);
    else if (['0008,0018', '0010,0010', '0008,0060', '0004,1500', '0004,1512', '0042,0012', '0040,a491'].includes(tag))
      found[found.length - 1] += ` ${value}`;
  }
  return found;
}

test('a study as an archive with a DICOMDIR', { skip: skipWithout('unzip', 'dcmdump', 'dcmmkdir') }, async (t) => {
  const bridge = await startBridge();
  t.teardown(() => bridge.stop());
  const stored = files();
  const { status, text } = await stow(bridge.dicomWeb, stored);
  t.ok([200, 202].includes(status), text);
  const study = `${bridge.dicomWeb}/studies/${uid('study', 'archive')}`;
  const folder = await tempFolder(t);
  const unpack = async (url: string, accept?: string) => {
    const answer = await get(url, accept);
    t.match([answer.status, answer.type], [200, 'application/zip']);
    t.equal(answer.headers.get('content-length'), String(answer.body.length));
    const path = join(folder, 'study.zip');
    await writeFile(path, answer.body);
    const into = await tempFolder(t);
    await run('unzip', ['-q', path, '-d', into]);
    return into;
  };

  const whole = await unpack(study, 'application/zip');
  const names = (await readdir(whole, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(whole.length + 1))
    .sort();
  t.strictSame(names, [
    'DICOM/SE000001/IM000001',
    'DICOM/SE000001/IM000002',
    'DICOM/SE000001/IM000003',
    'DICOM/SE000002/IM000001',
    'DICOM/SE000003/IM000001',
    'DICOMDIR',
  ]);
  const bytes = await Promise.all(names.slice(0, 5).map((name) => readFile(join(whole, name))));
  t.ok(
    bytes.every((each, i) => each.equals(stored[i] as Buffer)),
    'every instance is as it was received',
  );

  const dicomdir = join(whole, 'DICOMDIR');
  const explicit = '1.2.840.10008.1.2.1';
  t.strictSame(await records(dicomdir), [
    `PATIENT ${NAME}`,
    'STUDY',
    'SERIES CT',
    `IMAGE DICOM\\SE000001\\IM000001 ${explicit}`,
    `IMAGE DICOM\\SE000001\\IM000002 ${explicit}`,
    `IMAGE DICOM\\SE000001\\IM000003 ${RLE}`,
    'SERIES SR',
    `SR DOCUMENT DICOM\\SE000002\\IM000001 ${explicit} COMPLETE`,
    'SERIES DOC',
    `ENCAP DOC DICOM\\SE000003\\IM000001 ${explicit} application/pdf`,
  ]);

  // DCMTK follows the links of a DICOMDIR that it adds to: what is there already is found in its place.
  const added = makeSlice({ study: 'archive', instance: 4, rows: 16, columns: 16, patientName: NAME });
  await writeFile(join(whole, 'DICOM', 'SE000001', 'IM000004'), added);
  const add = ['+A', '-Pgp', '+id', whole, '+D', dicomdir, 'DICOM/SE000001/IM000004'];
  await run(
    'dcmmkdir',
    add.filter((option) => option !== '-Pgp'),
  );
  const after = await records(dicomdir);
  t.strictSame(
    after.map((line) => line.split(' ')[0]),
    ['PATIENT', 'STUDY', 'SERIES', 'IMAGE', 'IMAGE', 'IMAGE', 'IMAGE', 'SERIES', 'SR', 'SERIES', 'ENCAP'],
    'the new image is in the series that it belongs to',
  );

  const series = `${study}/series/${uid('series', 'archive', 'CT', 1)}`;
  t.equal((await records(join(await unpack(`${series}?accept=application/zip`), 'DICOMDIR'))).length, 6);
  const instance = `${series}/instances/${uid('instance', 'archive', 'CT', 1, 1)}`;
  t.equal((await records(join(await unpack(instance, 'application/zip'), 'DICOMDIR'))).length, 4);
  t.match((await get(study)).type, 'multipart/related', 'who takes anything gets what there was before');
  const head = await fetch(study, { method: 'HEAD', headers: { accept: 'application/zip' } });
  t.strictSame(
    [head.status, head.headers.get('content-type'), head.headers.get('content-disposition')],
    [200, 'application/zip', `attachment; filename="${uid('study', 'archive')}.zip"`],
  );
  const refused = await get(study, 'application/gzip');
  t.equal(refused.status, 406);
  t.match(JSON.parse(refused.body.toString()), { available: /application\/zip/ });
});

/** Types of the records that are found by following the links from the root, as a reader of media does. */
function follow(dicomdir: Buffer): string[] {
  const found: string[] = [];
  const rootElement = dicomdir.indexOf(Buffer.from('04000012554c0400', 'hex'));
  const walk = (from: number) => {
    for (let at = from; at !== 0; at = dicomdir.readUInt32LE(at + 16)) {
      if (dicomdir.readUInt32LE(at) !== 0xe000fffe) throw new Error(`no item at ${at}`);
      const length = dicomdir.readUInt16LE(at + 48);
      found.push(dicomdir.toString('latin1', at + 50, at + 50 + length).trim());
      walk(dicomdir.readUInt32LE(at + 38));
    }
  };
  walk(dicomdir.readUInt32LE(rootElement + 8));
  return found;
}

const skipObjects = skipCorpus || skipWithout('unzip', 'dcmdump');

test('a DICOMDIR of objects of all kinds', { skip: skipObjects }, async (t) => {
  const bridge = await startBridge();
  t.teardown(() => bridge.stop());
  await stow(bridge.dicomWeb, corpusFiles('objects/').map(readCorpusFile));
  const studies = (await (await fetch(`${bridge.dicomWeb}/studies`)).json()) as Record<string, { Value: unknown[] }>[];
  t.ok(studies.length > 10);
  const folder = await tempFolder(t);
  const types = new Set<string>();
  for (const study of studies) {
    const { body } = await get(`${bridge.dicomWeb}/studies/${study['0020000D']?.Value[0]}`, 'application/zip');
    const path = join(folder, 'study.zip');
    await writeFile(path, body);
    await run('unzip', ['-qo', path, 'DICOMDIR', '-d', folder]);
    const listed = await records(join(folder, 'DICOMDIR'));
    const followed = follow(await readFile(join(folder, 'DICOMDIR')));
    t.equal(followed.length, 2 + Number(study['00201206']?.Value[0]) + Number(study['00201208']?.Value[0]));
    t.ok(
      listed.every((line, i) => line.startsWith(followed[i] as string)),
      'the links lead where DCMTK reads',
    );
    for (const type of followed) types.add(type);
  }
  for (const type of ['IMAGE', 'SR DOCUMENT', 'RT DOSE', 'RT PLAN', 'WAVEFORM', 'ENCAP DOC', 'PRESENTATION']) {
    t.ok(types.has(type), type);
  }
});
