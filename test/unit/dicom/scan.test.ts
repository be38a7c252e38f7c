import { test } from 'tap';
import type { DicomElement, DicomJson } from '../../../src/dicom/model.ts';
import { Scanner } from '../../../src/dicom/scan.ts';
import {
  DEFLATED,
  EXPLICIT_BE,
  EXPLICIT_LE,
  type FixtureDataset,
  IMPLICIT_LE,
  makeCtSlice,
  sliceDataset,
  uid,
  writeDataset,
  writePart10,
} from '../../fixtures/dicom.ts';
import { outcome, scanBytes } from '../../fixtures/scanning.ts';

const small = { rows: 16, columns: 16 };
const IDENTITY: FixtureDataset = {
  '00080016': ['UI', '1.2.840.10008.5.1.4.1.1.7'],
  '00080018': ['UI', '1.2.3.4'],
  '0020000D': ['UI', '1.2.3'],
  '0020000E': ['UI', '1.2.3.5'],
};

async function headerOf(dataset: FixtureDataset, options = {}): Promise<DicomJson> {
  return (await scanBytes(writePart10({ ...IDENTITY, ...dataset }, options))).header;
}

test('one header from every encoding and chunk size', async (t) => {
  const overrides: FixtureDataset = {
    '00090010': ['LO', 'DAGPACS TEST'],
    '00091001': ['SQ', [{ '00091002': ['LO', 'inside'] }, {}]],
    '00189074': ['DT', '20240315101530.123456+0100'],
    '00280030': ['DS', '0.5\\0.25'],
    '00400275': ['SQ', [{ '00321064': ['SQ', [{ '00080100': ['SH', 'A'] }]], '00400007': ['LO', 'one'] }, {}]],
    '00720074': ['FD', [1.5, -2.25]],
  };
  const expected = (await scanBytes(makeCtSlice({ ...small, overrides }))).header;
  t.equal(expected['00100010']?.vr, 'PN');
  t.strictSame(expected['00189074']?.Value, ['20240315101530.123456+0100']);
  t.strictSame(expected['00400275']?.Value?.length, 2);
  for (const transferSyntaxUID of [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED]) {
    for (const undefinedLength of [false, true]) {
      const bytes = makeCtSlice({ ...small, overrides, transferSyntaxUID, undefinedLength });
      for (const size of [1, 7, 4096, bytes.length]) {
        const scan = await scanBytes(bytes, size);
        // Private elements have no VR in implicit VR, and the creator is not in any dictionary.
        const header = { ...scan.header };
        if (transferSyntaxUID === IMPLICIT_LE) header['00091001'] = expected['00091001'] as DicomElement;
        t.strictSame(header, expected, `${transferSyntaxUID} undefined length ${undefinedLength} in ${size}`);
        t.strictSame(scan.warnings, []);
        t.equal(scan.transferSyntaxUID, transferSyntaxUID);
        t.equal(scan.size, bytes.length);
        t.match(scan.frames, { kind: 'native', count: 1, bitsPerFrame: 16 * 16 * 16 });
      }
    }
  }
});

test('bulk values lie where the scan says', async (t) => {
  const audio = Buffer.alloc(3000, 7);
  const text = 'x'.repeat(70_000);
  const short = Buffer.from('short value.');
  const dataset: FixtureDataset = {
    ...IDENTITY,
    '00400275': ['SQ', [{}, { '00420011': ['OB', audio] }]],
    '0040A160': ['UT', text],
    '00420011': ['OB', short],
    '7FE00010': ['OB', Buffer.alloc(10, 9)],
    FFFCFFFC: ['OB', Buffer.alloc(2000)],
  };
  for (const undefinedLength of [false, true]) {
    const bytes = writePart10(dataset, { undefinedLength });
    const { header, bulk, datasetOffset } = await scanBytes(bytes, 100);
    const at = (path: string) => {
      const { offset, length } = bulk[path] ?? { offset: 0, length: 0 };
      return bytes.subarray(offset, offset + length);
    };
    t.strictSame(Object.keys(bulk), ['00400275/2/00420011', '0040A160', '7FE00010', 'FFFCFFFC']);
    t.strictSame(at('0040A160').toString(), text);
    t.strictSame(at('00400275/2/00420011'), audio);
    t.strictSame(at('7FE00010'), Buffer.alloc(10, 9));
    t.strictSame(header['00420011'], { vr: 'OB', InlineBinary: short.toString('base64') });
    t.strictSame(header['7FE00010'], { vr: 'OB', BulkDataURI: 'bulk:/7FE00010' });
    t.equal(bytes.readUInt16LE(datasetOffset), 0x0008);
  }
});

test('deflated: places count in the inflated data set', async (t) => {
  const dataset = sliceDataset(small);
  const plain = await scanBytes(writePart10(dataset, { meta: { '00020010': ['UI', EXPLICIT_LE] } }));
  const deflated = await scanBytes(writePart10(dataset, { transferSyntaxUID: DEFLATED }), 50);
  const offset = (scan: typeof plain) => (scan.bulk['7FE00010']?.offset ?? 0) - scan.datasetOffset;
  t.equal(offset(deflated), offset(plain));
});

test('a deflated data set that never ends is looked at up to the limit', async (t) => {
  const bytes = makeCtSlice({
    ...small,
    transferSyntaxUID: DEFLATED,
    overrides: { '7FE00010': ['OW', Buffer.alloc(64 << 20)] },
  });
  const scan = await scanBytes(bytes, 4096, { maxInflatedBytes: 1 << 20 });
  t.equal(scan.frames.kind, 'none');
  t.match(scan.warnings, [{ attribute: 'DataSet', rule: /Inflates to more/ }]);
  t.equal(scan.header['00100010']?.vr, 'PN');
  const { code } = await outcome(bytes, 4096, { maxInflatedBytes: 100 });
  t.equal(code, 'missing-attribute', 'without identity in what was looked at it is refused');
});

test('nesting costs neither stack nor time', async (t) => {
  const depth = 20_000;
  const open = Buffer.concat([Buffer.from('4000750253510000ffffffff', 'hex'), Buffer.from('feff00e0ffffffff', 'hex')]);
  const close = Buffer.from('feff0de000000000feffdde000000000', 'hex');
  const identity = writePart10(IDENTITY);
  const pixels = writeDataset({ '7FE00010': ['OB', Buffer.alloc(4)] });
  const nested = (levels: number, end = close) =>
    Buffer.concat([identity, ...Array(levels).fill(open), ...Array(levels).fill(end), pixels]);
  const scan = await scanBytes(nested(depth), 1000);
  t.match(scan.warnings, [{ attribute: 'RequestAttributesSequence', rule: /Nested deeper/ }]);
  t.ok(JSON.stringify(scan.header).length < 10_000, 'the header is shallow enough for any reader');
  const [path, place] = Object.entries(scan.bulk)[0] ?? [];
  t.equal(path?.split('/').length, 2 * 64 + 1);
  t.equal(
    place?.length,
    (depth - 65) * (open.length + close.length) + 8 + 8 + 8,
    'what is not shown is there as bytes',
  );
  t.ok(scan.bulk['7FE00010'], 'what follows is read');
  t.ok((await outcome(Buffer.concat([identity, ...Array(depth).fill(open)]))).scan, 'never closed');
  const endless = Buffer.concat([identity, ...Array(100_001).fill(open)]);
  t.match(await outcome(endless, 5000), { code: 'malformed-dataset', rule: /nested/ }, 'but not without end');
});

test('limits of the header', async (t) => {
  const items = Array.from({ length: 500 }, () => ({ '00080100': ['SH', 'A'] as const }));
  const dataset: FixtureDataset = {
    ...IDENTITY,
    '00081140': ['SQ', items],
    '00204000': ['LT', 'long text '.repeat(100)],
    '00400275': ['SQ', items],
    '00400555': ['SQ', items],
  };
  const { header, bulk } = await scanBytes(writePart10(dataset), 64, { maxHeaderBytes: 500, maxElements: 300 });
  t.equal(header['00081140']?.Value?.length, 150, 'items and their elements');
  t.strictSame(header['00204000'], { vr: 'LT', BulkDataURI: 'bulk:/00204000' });
  for (const tag of ['00400275', '00400555']) {
    t.strictSame(header[tag], { vr: 'UN', BulkDataURI: `bulk:/${tag}` });
    t.equal(bulk[tag]?.length, 500 * 18);
  }
});

test('unknown VRs are read as PS3.5 §6.2.2 has it', async (t) => {
  const implicitItem = writeDataset({ '00080100': ['SH', 'CODE'] }, { implicit: true });
  const sequence = (body: Buffer) =>
    Buffer.concat([
      Buffer.from('feff00e0ffffffff', 'hex'),
      body,
      Buffer.from('feff0de000000000feffdde000000000', 'hex'),
    ]);
  const undefinedUN = Buffer.concat([Buffer.from('40007502554e0000ffffffff', 'hex'), sequence(implicitItem)]);
  const scan = await scanBytes(Buffer.concat([writePart10(IDENTITY), undefinedUN]), 5);
  t.strictSame(scan.header['00400275'], { vr: 'SQ', Value: [{ '00080100': { vr: 'SH', Value: ['CODE'] } }] });

  const header = await headerOf({
    '00100010': ['UN', Buffer.from('Doe^Jane')],
    '00280010': ['UN', Uint8Array.of(16, 0)],
    '00400275': ['UN', sequence(implicitItem)],
    '00091001': ['UN', Uint8Array.of(1, 2)],
  });
  t.strictSame(header['00100010'], { vr: 'PN', Value: [{ Alphabetic: 'Doe^Jane' }] });
  t.strictSame(header['00280010'], { vr: 'US', Value: [16] });
  t.match(header['00400275'], { vr: 'SQ', Value: [{ '00080100': { vr: 'SH', Value: ['CODE'] } }] });
  t.strictSame(header['00091001'], { vr: 'UN', InlineBinary: 'AQI=' });
});

test('what cannot be identified, or came in part, is refused and says why', async (t) => {
  const whole = makeCtSlice(small);
  const without = (tag: string) => makeCtSlice({ ...small, overrides: { [tag]: undefined } });
  const withUID = (value: string) => makeCtSlice({ ...small, overrides: { '00080018': ['UI', value] } });
  const cases: [name: string, bytes: Uint8Array, code: string, attribute?: string][] = [
    ['nothing', Buffer.alloc(0), 'not-dicom'],
    ['text', Buffer.from('<html>'.repeat(100)), 'not-dicom'],
    ['a bare data set', writeDataset(sliceDataset(small)), 'not-dicom'],
    ['the prefix only', whole.subarray(0, 132), 'truncated'],
    ['cut in group 0002', whole.subarray(0, 200), 'truncated'],
    ['cut in the pixels', whole.subarray(0, whole.length - 1), 'truncated', 'PixelData'],
    ['noise after the prefix', Buffer.concat([whole.subarray(0, 132), Buffer.alloc(500, 0xa5)]), 'malformed-dataset'],
    ['no study', without('0020000D'), 'missing-attribute', 'StudyInstanceUID'],
    ['no series', without('0020000E'), 'missing-attribute', 'SeriesInstanceUID'],
    ['no class', without('00080016'), 'missing-attribute', 'SOPClassUID'],
    ['no instance', without('00080018'), 'missing-attribute', 'SOPInstanceUID'],
    ['empty', withUID(''), 'missing-attribute', 'SOPInstanceUID'],
    ['letters', withUID('1.2.a'), 'invalid-attribute', 'SOPInstanceUID'],
    ['a path', withUID('../1'), 'invalid-attribute', 'SOPInstanceUID'],
    ['two values', withUID('1.2\\1.3'), 'invalid-attribute', 'SOPInstanceUID'],
    ['65 characters', withUID(`1.${'2'.repeat(63)}`), 'invalid-attribute', 'SOPInstanceUID'],
  ];
  for (const [name, bytes, code, attribute] of cases) {
    for (const size of [1, 1000]) t.match(await outcome(bytes, size), { code, ...(attribute && { attribute }) }, name);
  }
  for (let length = 0; length < whole.length; length += 13) {
    const { scan, code } = await outcome(whole.subarray(0, length));
    // Between two elements a cut does not show.
    const between = /^[A-Z]{2}$/.test(whole.toString('latin1', length + 4, length + 6));
    if (!between || !scan) t.match(code, /not-dicom|truncated|missing-attribute/, `cut to ${length}`);
  }
});

test('a bare data set is taken where that is asked for', async (t) => {
  for (const [options, transferSyntaxUID] of [
    [{}, EXPLICIT_LE],
    [{ implicit: true }, IMPLICIT_LE],
    [{ bigEndian: true }, EXPLICIT_BE],
  ] as const) {
    const { scan } = await outcome(writeDataset(sliceDataset(small), options), 100, { acceptWithoutPreamble: true });
    t.match(scan, { transferSyntaxUID, datasetOffset: 0 });
    t.match(scan?.warnings[0], { rule: /preamble/ });
  }
});

test('identity as far as it is known', async (t) => {
  const bytes = makeCtSlice({ ...small, study: 'known' });
  const scanner = new Scanner();
  t.strictSame(scanner.identity, {});
  scanner.write(bytes.subarray(0, 350));
  t.equal(scanner.identity.sopInstanceUID, uid('instance', 'known', 'CT', 1, 1), 'from group 0002');
  t.equal(scanner.identity.studyInstanceUID, undefined);
  t.equal(scanner.write(bytes.subarray(350, bytes.length - 10)), undefined, 'no promise');
  t.throws(() => scanner.end(), { code: 'truncated' });
  t.strictSame(scanner.identity, {
    sopClassUID: '1.2.840.10008.5.1.4.1.1.2',
    sopInstanceUID: uid('instance', 'known', 'CT', 1, 1),
    studyInstanceUID: uid('study', 'known'),
    transferSyntaxUID: EXPLICIT_LE,
  });
});

test('what is wrong but harmless is a warning', async (t) => {
  const cases: [name: string, bytes: Buffer, rule: RegExp][] = [
    ['zeros at the end', makeCtSlice({ ...small, trailing: Buffer.alloc(64) }), /not elements/],
    ['a line end', makeCtSlice({ ...small, trailing: Buffer.from('\r\n') }), /not elements/],
    ['group length missing', makeCtSlice({ ...small, meta: { '00020000': undefined } }), /Missing/],
    ['group length wrong', makeCtSlice({ ...small, meta: { '00020000': ['UL', 4] } }), /length of the group/],
    ['no transfer syntax', makeCtSlice({ ...small, meta: { '00020010': undefined } }), /Missing or empty/],
    ['an unknown one', makeCtSlice({ ...small, meta: { '00020010': ['UI', '1.2.3'] } }), /does not define/],
    ['another UID in group 0002', makeCtSlice({ ...small, meta: { '00020003': ['UI', '1.2.3'] } }), /Differs/],
    ['leading zeros', makeCtSlice({ ...small, overrides: { '0020000D': ['UI', '1.02.3'] } }), /leading zeros/],
    ['explicit as implicit', makeCtSlice({ ...small, meta: { '00020010': ['UI', IMPLICIT_LE] } }), /Explicit VR in/],
    ['implicit as explicit', makeCtSlice({ ...small, implicit: true }), /Implicit VR in/],
    ['little as big', makeCtSlice({ ...small, meta: { '00020010': ['UI', EXPLICIT_BE] } }), /byte order/],
    ['big as little', makeCtSlice({ ...small, bigEndian: true }), /byte order/],
    ['an odd length', makeCtSlice({ ...small, overrides: { '00104000': ['LT', Buffer.from('odd')] } }), /odd length/],
    ['a date', makeCtSlice({ ...small, overrides: { '00080020': ['DA', '20241399'] } }), /YYYYMMDD/],
    ['a character set', makeCtSlice({ ...small, overrides: { '00080005': ['CS', 'KOI8-R'] } }), /character set/],
    ['a VR', makeCtSlice({ ...small, overrides: { '00101030': ['ZZ', Buffer.from('71.5')] } }), /does not have/],
  ];
  for (const [name, bytes, rule] of cases) {
    const { scan } = await outcome(bytes, 100);
    t.match(scan?.warnings, [{ rule }], name);
    t.equal(scan?.warnings.length, 1, name);
    t.match(scan?.header['00281054'], { vr: 'LO', Value: ['HU'] }, `${name}: the rest is read`);
  }
});

test('the first of two counts, and order does not matter', async (t) => {
  const header = await headerOf({ '00281050': ['DS', '40'], '00100010': ['PN', 'Late^Name'] });
  t.match(header['00100010'], { Value: [{ Alphabetic: 'Late^Name' }] });
  t.strictSame(Object.keys(header), Object.keys(header).sort());
  const twice = writeDataset({ '00281050': ['DS', '40'] });
  const scan = await scanBytes(
    Buffer.concat([writePart10(IDENTITY), twice, writeDataset({ '00281050': ['DS', '99'] })]),
  );
  t.strictSame(scan.header['00281050']?.Value, [40]);
  t.match(scan.warnings, [{ attribute: 'WindowCenter', rule: /More than once/ }]);
});
