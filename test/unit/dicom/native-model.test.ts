import { test } from 'tap';
import type { DicomJson } from '../../../src/dicom/model.ts';
import { nativeModelOf } from '../../../src/dicom/native-model.ts';
import { readNativeModel } from '../../../src/dicom/read-native-model.ts';
import { corpusFiles, corpusPath, readCorpusFile, skipCorpus } from '../../fixtures/corpus.ts';
import { runTool } from '../../fixtures/dcmtk.ts';
import { outcome } from '../../fixtures/scanning.ts';
import { skipWithout } from '../../fixtures/tools.ts';

/** Text of every value by path: numbers as they are compared, empty values as nothing, bulk and binary ones by their kind. */
function flat(dataset: DicomJson, path = '', out: Record<string, string> = {}): Record<string, string> {
  for (const [tag, { vr, Value = [] }] of Object.entries(dataset)) {
    if (tag.endsWith('0000')) continue;
    const key = `${path}${tag}`;
    if (vr === 'SQ') {
      for (const [i, item] of Value.entries()) flat((item ?? {}) as DicomJson, `${key}[${i}].`, out);
      continue;
    }
    const texts = Value.map((value) => {
      if (vr === 'FL' || vr === 'FD') return Number(value).toPrecision(vr === 'FL' ? 6 : 14);
      if (['DS', 'IS', 'US', 'SS', 'UL', 'SL'].includes(vr) && value !== null) return String(Number(value));
      // Empty components at the end say nothing.
      if (vr === 'PN') return JSON.stringify(value ?? {}).replace(/\^+"/g, '"');
      return String(value ?? '').trim();
    });
    const text = texts.join('\\').replace(/(?:\\|\{(?:"\w+":"")?\})+$/, '');
    if (text !== '') out[key] = `${vr} ${text}`;
  }
  return out;
}

test('models are what DCMTK makes of the same files', { skip: skipCorpus || skipWithout('dcm2xml') }, async (t) => {
  const files = corpusFiles().filter(({ path }) => /^(charset|objects|multiframe|ct-series)\//.test(path));
  let compared = 0;
  for (const file of files) {
    const { scan } = await outcome(readCorpusFile(file));
    if (!scan) continue;
    const ours = readNativeModel(nativeModelOf(scan.header));
    t.strictSame(flat(ours), flat(scan.header), `${file.path} is read back`);
    // It converts an item by the character set of the whole.
    if (file.path.endsWith('item_overrides_charset.dcm')) continue;
    const { output, code } = await runTool('dcm2xml', ['-q', '-nat', '+U8', corpusPath(file)]);
    if (code !== 0 || !output.startsWith('<?xml')) continue;
    const theirs = flat(readNativeModel(Buffer.from(output, 'latin1').toString()));
    const own = flat(ours);
    // What either leaves out (group lengths, values that it calls too long or bulk data) is no difference in what is written.
    const different = Object.keys(own).filter((key) => theirs[key] !== undefined && !same(own[key], theirs[key]));
    t.strictSame(Object.fromEntries(different.map((key) => [key, [own[key], theirs[key]]])), {}, file.path);
    compared += Object.keys(own).filter((key) => theirs[key] !== undefined).length;
  }
  t.ok(compared > 4000, `${compared} values compared`);
});

/** DCMTK gives the second group as the third where that one is empty. */
function same(own = '', theirs = ''): boolean {
  return own === theirs || own === theirs.replace(/("Ideographic":("[^"]*")),"Phonetic":\2/g, '$1');
}

test('what is no model is refused with its rule', (t) => {
  const model = (content: string) => `<NativeDicomModel>${content}</NativeDicomModel>`;
  const attribute = (content: string, vr = 'LO', tag = '00100020') =>
    model(`<DicomAttribute tag="${tag}" vr="${vr}">${content}</DicomAttribute>`);
  const cases: [string, RegExp][] = [
    ['', /one root element/],
    ['<a/>', /NativeDicomModel/],
    ['<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel/>', /no document type/],
    [model('<DicomAttribute tag="00100020">&b;</DicomAttribute>'), /references/],
    [model('<DicomAttribute tag="00100020" tag="00100020"/>'), /stands once in a tag/],
    [model('<DicomAttribute'), /grammar/],
    [model('<!-- '), /closes what was opened/],
    ['<NativeDicomModel><a></NativeDicomModel>', /closed in their order/],
    ['<NativeDicomModel>', /every element is closed/],
    [`${'<a>'.repeat(20_000)}`, /at most 256 elements/],
    [model('<Value/>'), /hold DicomAttribute/],
    [model('<DicomAttribute tag="1002" vr="LO"/>'), /eight hexadecimal digits/],
    [model('<DicomAttribute tag="00100020" vr="LO"/><DicomAttribute tag="00100020" vr="LO"/>'), /once in an item/],
    [attribute('<Value number="1">A</Value>', 'XX'), /value representation/],
    [attribute('<Value number="0">A</Value>'), /numbered from 1/],
    [attribute('<Value number="2000000000">A</Value>'), /numbered from 1/],
    [attribute('<Other/>'), /it holds Value/],
    [attribute('<Value number="1">70000</Value>', 'US', '00280010'), /from 0 to 65535/],
    [attribute('<InlineBinary>#</InlineBinary>', 'OB', '00282000'), /Base64/],
    [attribute('<Value number="1">A\\B</Value>'), /backslash/],
  ];
  for (const [text, rule] of cases) {
    try {
      readNativeModel(text);
      t.fail(text.slice(0, 80));
    } catch (error) {
      const { code, subject } = error as { code?: string; subject?: { rule?: string } };
      t.equal(code, 'malformed-dataset', text.slice(0, 80));
      t.match(subject?.rule, rule, text.slice(0, 80));
    }
  }
  t.end();
});

test('private blocks are given by the creator where the tag has none', (t) => {
  const attribute = (tag: string, creator: string) =>
    `<DicomAttribute tag="${tag}" vr="LO" privateCreator="${creator}"><Value number="1">&lt;v&#233;&#x1F600;</Value></DicomAttribute>`;
  const read = readNativeModel(
    `<x:NativeDicomModel xmlns:x="a">${attribute('00110001', 'ONE')}${attribute('00110002', 'TWO')}${attribute('00110003', 'ONE')}</x:NativeDicomModel>`,
  );
  t.strictSame(read, {
    '00110010': { vr: 'LO', Value: ['ONE'] },
    '00110011': { vr: 'LO', Value: ['TWO'] },
    '00111001': { vr: 'LO', Value: ['<vé😀'] },
    '00111003': { vr: 'LO', Value: ['<vé😀'] },
    '00111102': { vr: 'LO', Value: ['<vé😀'] },
  });
  const back = nativeModelOf({ ...read, '00104000': { vr: 'LT', Value: ['a\r\nb\f"&<'] } });
  t.match(back, /tag="00111102" vr="LO" privateCreator="TWO"/);
  t.strictSame(readNativeModel(back)['00104000']?.Value, ['a\r\nb\ufffd"&<'], 'what XML cannot hold is replaced');
  t.end();
});
