import { test } from 'tap';
import { keywordOf, tagOf, vrOf } from '../../../src/dicom/dictionary.ts';
import { IMPLEMENTATION_VERSION_NAME, writeFileMeta } from '../../../src/dicom/meta.ts';
import { TRANSFER_SYNTAXES, transferSyntax } from '../../../src/dicom/transfer-syntax.ts';
import { isStrictUID, isUsableUID } from '../../../src/dicom/uid.ts';
import { corpusFiles, skipCorpus } from '../../fixtures/corpus.ts';
import { EXPLICIT_LE, sliceDataset, uid, writeDataset } from '../../fixtures/dicom.ts';
import { metaOf } from '../../fixtures/part10.ts';
import { scanBytes } from '../../fixtures/scanning.ts';

test('a file meta header before a bare data set makes a Part 10 file', async (t) => {
  const names = { sopClassUID: '1.2.840.10008.5.1.4.1.1.2', sopInstanceUID: uid('instance', 1, 'CT', 1, 1) };
  const meta = writeFileMeta({ ...names, transferSyntaxUID: EXPLICIT_LE });
  const file = Buffer.concat([meta, writeDataset(sliceDataset({ rows: 8, columns: 8 }))]);
  t.strictSame(writeFileMeta({ ...names, transferSyntaxUID: EXPLICIT_LE }), meta, 'deterministic');
  const scan = await scanBytes(file);
  t.match(scan, { ...names, transferSyntaxUID: EXPLICIT_LE, datasetOffset: meta.length, warnings: [] });
  t.match(metaOf(file), {
    '00020002': names.sopClassUID,
    '00020003': names.sopInstanceUID,
    '00020010': EXPLICIT_LE,
    '00020013': IMPLEMENTATION_VERSION_NAME,
  });
  t.match(metaOf(file)['00020012'], /^2\.25\.\d+$/);
  t.equal(metaOf(file)['00020016'], undefined, 'no AE title');
});

test('transfer syntaxes', { skip: skipCorpus }, (t) => {
  for (const [key, { uid: own, encapsulated, mediaType, deflated }] of TRANSFER_SYNTAXES) {
    t.equal(key, own);
    t.ok(isStrictUID(own));
    t.notOk(encapsulated && deflated);
    t.match(mediaType, /^(image|video|application)\//);
  }
  for (const { transferSyntaxUID, path } of corpusFiles()) {
    if (path.startsWith('bad/') || !/^1\.2\.840\.10008/.test(transferSyntaxUID ?? '')) continue;
    t.ok(transferSyntax(transferSyntaxUID as string), `${transferSyntaxUID} of ${path}`);
  }
  t.match(transferSyntax('1.2.840.10008.1.2.4.50'), { mediaType: 'image/jpeg', encapsulated: true });
  t.match(transferSyntax('1.2.840.113619.5.2'), { implicit: true, bigEndian: false, bigEndianPixels: true });
  t.end();
});

test('dictionary', (t) => {
  t.equal(tagOf('PatientID'), '00100020');
  t.equal(tagOf('NoSuchThing'), undefined);
  t.equal(keywordOf('0020000D'), 'StudyInstanceUID');
  t.equal(keywordOf('00091001'), undefined);
  t.equal(keywordOf('60123000'), 'OverlayData', 'repeating groups');
  t.equal(keywordOf('00281040'), 'PixelIntensityRelationship');
  t.equal(vrOf('7FE00010'), 'OW');
  t.equal(vrOf('00090010'), 'LO', 'private creator');
  t.equal(vrOf('00091001'), 'UN');
  t.equal(vrOf('00110000'), 'UL', 'group length');
  t.end();
});

test('UIDs', (t) => {
  for (const good of ['1.2', '2.25.0', '1.2.840.10008.1.2']) t.ok(isStrictUID(good) && isUsableUID(good), good);
  for (const odd of ['1.02.3', '1..2', '1.2.', '.1', '1']) t.ok(!isStrictUID(odd) && isUsableUID(odd), odd);
  for (const bad of ['', '.', '..', '1.2.a', '1.2/3', '../1', '1.2*', `1.${'2'.repeat(63)}`, '1.2\n'])
    t.notOk(isUsableUID(bad), bad);
  t.end();
});
