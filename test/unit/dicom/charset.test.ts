import { test } from 'tap';
import { specificCharacterSet } from '../../../src/dicom/charset.ts';
import type { DicomJson, PersonName } from '../../../src/dicom/model.ts';
import { corpusFiles, readCorpusFile, skipCorpus } from '../../fixtures/corpus.ts';
import { outcome } from '../../fixtures/scanning.ts';

function nameOf(header: DicomJson): string {
  const { Alphabetic = '', Ideographic = '', Phonetic = '' } = (header['00100010']?.Value?.[0] ?? {}) as PersonName;
  return [Alphabetic, Ideographic, Phonetic].join('=').replace(/=+$/, '');
}

test('the character set samples, as their expectations have them', { skip: skipCorpus }, async (t) => {
  const expected = JSON.parse(readCorpusFile('charset/charset_expected.json').toString());
  // David Clunie's samples: the examples of PS3.5 Annexes H, I, J and K.
  const names: Record<string, string> = {
    'chrArab.dcm': 'قباني^لنزار',
    'chrFren.dcm': 'Buc^Jérôme',
    'chrFrenMulti.dcm': 'Buc^Jérôme',
    'chrGerm.dcm': 'Äneas^Rüdiger',
    'chrGreek.dcm': 'Διονυσιος',
    'chrH31.dcm': 'Yamada^Tarou=山田^太郎=やまだ^たろう',
    'chrH32.dcm': 'ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう',
    'chrHbrw.dcm': 'שרון^דבורה',
    'chrI2.dcm': 'Hong^Gildong=洪^吉洞=홍^길동',
    'chrJapMulti.dcm': 'やまだ^たろう',
    'chrJapMultiExplicitIR6.dcm': 'やまだ^たろう',
    'chrKoreanMulti.dcm': '김희중',
    'chrRuss.dcm': 'Люкceмбypг',
    'chrX1.dcm': 'Wang^XiaoDong=王^小東',
    'chrX2.dcm': 'Wang^XiaoDong=王^小东',
  };
  for (const file of corpusFiles('charset/')) {
    const name = file.path.slice('charset/'.length);
    const { scan } = await outcome(readCorpusFile(file), 50);
    const want = expected[name];
    if (!scan) continue;
    t.equal(nameOf(scan.header), want?.PatientName ?? names[name], name);
    if (scan.header['00080005']) t.strictSame(scan.header['00080005'].Value, ['ISO_IR 192'], 'JSON text is UTF-8');
    const note: string | undefined = want?.StudyDescription_or_note;
    if (name === 'syn_item_overrides_charset.dcm') {
      const meanings = scan.header['00081032']?.Value?.map((item) => (item as DicomJson)['00080104']?.Value?.[0]);
      t.strictSame(meanings, ['胸', 'Épaule'], name);
    } else if (note) t.equal(scan.header['00081030']?.Value?.[0], note, name);
  }
});

test('0x5C inside a character is no delimiter', (t) => {
  const gbk = specificCharacterSet('GBK').decode(Buffer.from('d55c5c41', 'hex'), false);
  t.equal(gbk, `${new TextDecoder('gbk').decode(Buffer.from('d55c', 'hex'))}\\A`);
  const jis = specificCharacterSet('\\ISO 2022 IR 87').decode(
    Buffer.from('1b244230 5c1b2842 5c41'.replace(/ /g, ''), 'hex'),
    false,
  );
  t.equal(jis, `${new TextDecoder('euc-jp').decode(Buffer.from('b0dc', 'hex'))}\\A`);
  t.end();
});

test('Specific Character Set as it is written', (t) => {
  const umlaut = Buffer.from('fc', 'hex');
  for (const term of ['ISO_IR 100', 'ISO IR 100', 'ISO-IR 100', 'ISO 2022 IR 100', 'iso_ir 100 '])
    t.equal(specificCharacterSet(term).decode(umlaut, false), 'ü', term);
  for (const term of ['ISO_IR 192', 'UTF-8', 'ISO 2022 IR 192'])
    t.equal(specificCharacterSet(term).decode(Buffer.from('ü'), false), 'ü', term);
  t.equal(specificCharacterSet('ISO_IR 6').decode(umlaut, false), 'ü', 'bytes beyond ASCII are taken as Latin-1');
  t.equal(specificCharacterSet('').decode(Buffer.from('日本'), false), '日本', 'or as UTF-8');
  t.match(specificCharacterSet('KOI8-R'), { unknown: true });
  t.equal(
    specificCharacterSet('\\ISO 2022 IR 159').decode(Buffer.from('1b2428443021', 'hex'), false),
    '丂',
    'JIS X 0212',
  );
  t.equal(
    specificCharacterSet('ISO_IR 100').decode(Buffer.from('804180', 'hex'), false),
    '\x80A\x80',
    'not windows-1252',
  );
  // The set of value 1 is back after a delimiter of a person name.
  const greek = Buffer.from('1b2d46e15ee4', 'hex');
  t.equal(specificCharacterSet('ISO 2022 IR 100\\ISO 2022 IR 126').decode(greek, true), 'α^ä');
  t.end();
});
