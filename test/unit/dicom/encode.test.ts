import { test } from 'tap';
import { characterEncoder } from '../../../src/dicom/charset-encoder.ts';
import { readDataset } from '../../../src/dicom/dataset.ts';
import { encodeDataset } from '../../../src/dicom/encode.ts';
import { RowEncoder } from '../../../src/dicom/encode-rows.ts';
import type { DicomJson } from '../../../src/dicom/model.ts';

const SYNTAXES = [
  ['1.2.840.10008.1.2', { implicit: true, bigEndian: false }],
  ['1.2.840.10008.1.2.1', { implicit: false, bigEndian: false }],
  ['1.2.840.10008.1.2.2', { implicit: false, bigEndian: true }],
] as const;

const dataset: DicomJson = {
  '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
  '00080018': { vr: 'UI', Value: ['1.2.3'] },
  '00080020': { vr: 'DA' },
  '00080061': { vr: 'CS', Value: ['CT', 'SR'] },
  '00081199': { vr: 'SQ', Value: [{ '00081150': { vr: 'UI', Value: ['1.2'] } }, {}] },
  '00100010': { vr: 'PN', Value: [{ Alphabetic: 'A^B', Phonetic: 'c' }] },
  '00101030': { vr: 'DS', Value: [71.5] },
  '00189074': { vr: 'DT', Value: ['20240101120000.5+0100'] },
  '00200013': { vr: 'IS', Value: [-3] },
  '00209165': { vr: 'AT', Value: ['00200013', '7FE00010'] },
  '00280010': { vr: 'US', Value: [512] },
  '00280106': { vr: 'US', Value: [65535] },
  '00189073': { vr: 'FD', Value: [0.1] },
  '7FE00010': { vr: 'OW', InlineBinary: Buffer.of(1, 2, 3, 4).toString('base64') },
};

test('what is written is read back, in every native transfer syntax', (t) => {
  for (const [uid, encoding] of SYNTAXES) {
    const { dataset: back } = readDataset(encodeDataset(dataset, encoding), uid);
    const expected = Object.fromEntries(Object.entries(dataset).sort(([a], [b]) => (a < b ? -1 : 1)));
    // Pixel Data stays where it is.
    delete expected['7FE00010'];
    delete back['7FE00010'];
    t.strictSame(JSON.parse(JSON.stringify(back)), expected, uid);
  }
  t.end();
});

test('a decimal string has at most 16 characters', (t) => {
  const written = encodeDataset({ '00101030': { vr: 'DS', Value: [1 / 3, -1 / 3e10] } }, SYNTAXES[0][1]);
  const { dataset: back } = readDataset(written, SYNTAXES[0][0]);
  t.strictSame(back['00101030']?.Value, [0.33333333333333, -3.333333333e-11]);
  t.end();
});

test('every character set that can be named is written as it is read', (t) => {
  const cases: [term: string, text: string][] = [
    ['ISO_IR 100', 'Buc^Jérôme'],
    ['ISO_IR 101', 'Żółć'],
    ['ISO_IR 126', 'Διονυσιος'],
    ['ISO_IR 127', 'قباني^لنزار'],
    ['ISO_IR 138', 'שרון^דבורה'],
    ['ISO_IR 144', 'Люкceмбypг'],
    ['ISO_IR 166', 'สมชาย'],
    ['ISO_IR 13', 'ﾔﾏﾀﾞ^ﾀﾛｳ'],
    ['\\ISO 2022 IR 87', 'Yamada^Tarou=山田^太郎=やまだ^たろう'],
    ['ISO 2022 IR 13\\ISO 2022 IR 87', 'ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう'],
    ['\\ISO 2022 IR 149', 'Hong^Gildong=洪^吉洞=홍^길동'],
    ['\\ISO 2022 IR 58', 'Zhang^XiaoDong=张^小东'],
    ['ISO 2022 IR 100\\ISO 2022 IR 126', 'Jérôme^Διονυσιος'],
    ['GB18030', 'Wang^XiaoDong=王^小东'],
    ['GBK', '王^小东'],
    ['ISO_IR 192', '王^小东 ü 😀'],
  ];
  const element = (Value: string[]) => ({ '00100020': { vr: 'LO', Value } });
  for (const [term, text] of cases) {
    const { dataset: back, charset } = readDataset(
      encodeDataset(element([text, text]), SYNTAXES[0][1], term),
      SYNTAXES[0][0],
    );
    t.strictSame([charset, back['00100020']?.Value], [term, [text, text]], term);
  }
  t.equal(characterEncoder('ISO_IR 100')?.encode('山'), undefined);
  for (const unknown of ['ISO_IR 999', 'KOI8', 'ISO_IR 100\\WHAT']) t.equal(characterEncoder(unknown), undefined);
  // The standard's own example (PS3.5 H.3.1).
  t.equal(
    characterEncoder('\\ISO 2022 IR 87')?.encode('山田^太郎')?.toString('latin1'),
    '\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B',
  );
  t.end();
});

test('a row is written as the data set that it is the JSON text of', (t) => {
  const texts = [
    'A',
    'AB',
    'A"B',
    'A\\B',
    'tab\tB',
    'Jérôme',
    '山田',
    '',
    'x'.repeat(4097),
    'y'.repeat(70_000),
    '=',
    'A==',
    '{}',
    '"]}',
  ];
  const names = ['A^B', 'A^B=', '=', 'Jérôme', 'A"', ''];
  const row = (element: DicomJson[string]): DicomJson => ({
    '00080061': { vr: 'CS', Value: ['CT'] },
    '00100020': element,
    '00200010': { vr: 'SH', Value: ['\n"00100020":{"vr":"LO"}'] },
  });
  const rows: DicomJson[] = [
    ...texts.map((text) => row({ vr: 'LO', Value: [text] })),
    ...texts.map((text) => row({ vr: 'UI', Value: [text, text] })),
    ...names.map((Alphabetic) => row({ vr: 'PN', Value: [{ Alphabetic }] })),
    row({ vr: 'PN', Value: [{ Ideographic: 'A' }, null] }),
    row({ vr: 'PN', Value: ['A=B'] }),
    ...['DS', 'IS', 'DA', 'UC', 'UN', 'SQ', 'US', 'AT'].map((vr) => row({ vr })),
    row({ vr: 'IS', Value: [12] }),
    row({ vr: 'US', Value: [7] }),
    row({ vr: 'AT', Value: ['00200013'] }),
    row({ vr: 'OB', InlineBinary: 'AQID' }),
    { '00100020': { vr: 'LO', Value: ['the first'] } },
    { '00200010': { vr: 'SH', Value: ['other'] }, '00100020': { vr: 'LO', Value: ['out of order'] } },
    {},
  ];
  const lines = (dataset: DicomJson) => {
    const members = Object.entries(dataset).map(([tag, element]) => `"${tag}":${JSON.stringify(element)}`);
    return `{${members.join(',\n')}}`;
  };
  const fixed: DicomJson = { '00080052': { vr: 'CS', Value: ['STUDY'] } };
  for (const [uid, encoding] of SYNTAXES) {
    for (const vr of ['LO', 'PN', 'UI', 'SQ']) {
      const keys: DicomJson = {
        '00080020': { vr: 'DA', Value: ['2024'] },
        '00100020': { vr },
        '00200010': { vr: 'SH' },
      };
      for (const charset of ['', 'ISO_IR 100', '\\ISO 2022 IR 87', 'WHAT']) {
        const encoder = new RowEncoder(keys, fixed, encoding, charset);
        const wrong = rows.filter((each) => {
          const absent = Object.entries(keys).map(([tag, key]) => [tag, each[tag] ?? { vr: key.vr }]);
          const expected = encodeDataset({ ...fixed, ...Object.fromEntries(absent) }, encoding, charset);
          return !encoder.encode(lines(each)).equals(expected);
        });
        t.strictSame(wrong, [], `${uid} ${vr} ${charset}`);
      }
    }
  }
  const sequence = {
    vr: 'SQ',
    Value: [{ '00400007': { vr: 'LO', Value: ['kept'] }, '00400009': { vr: 'SH', Value: ['not'] } }],
  };
  const asked = { '00400275': { vr: 'SQ', Value: [{ '00400007': { vr: 'LO' }, '00400008': { vr: 'SQ' } }] } };
  t.strictSame(
    new RowEncoder(asked, {}, SYNTAXES[1][1]).encode(lines({ '00400275': sequence })),
    encodeDataset(
      { '00400275': { vr: 'SQ', Value: [{ '00400007': { vr: 'LO', Value: ['kept'] }, '00400008': { vr: 'SQ' } }] } },
      SYNTAXES[1][1],
    ),
  );
  t.end();
});
