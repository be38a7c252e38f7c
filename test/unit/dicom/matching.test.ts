import { test } from 'tap';
import {
  dateTimeKey,
  fold,
  matchesDataset,
  matchesElement,
  matchesWildcard,
  nameGroups,
  timeKey,
} from '../../../src/dicom/matching.ts';
import type { DicomValue } from '../../../src/dicom/model.ts';
import type { Match } from '../../../src/dicom/query.ts';

const tag = '00100010';
const single = (value: string): Match => ({ tag, kind: 'single', value });
const wildcard = (pattern: string): Match => ({ tag, kind: 'wildcard', pattern });
const range = (from: string, to: string): Match => ({ tag, kind: 'range', from, to });
const match = (vr: string, values: DicomValue[], rule: Match, fuzzy = false) =>
  matchesElement({ vr, Value: values }, rule, fuzzy);

test('folding', async (t) => {
  t.equal(fold('ÄNGSTRÖM Łódź'), 'angstrom łodz');
  t.equal(fold('Ａｂｃ'), 'abc', 'full-width letters are the same letters');
  t.equal(fold('が 김'), 'が 김', 'a voicing mark makes another sound');
  t.strictSame(nameGroups('Smith ^ John^^=史密斯^^'), ['smith^john', '史密斯']);
  t.strictSame(nameGroups({ Alphabetic: '', Phonetic: 'やまだ^' }), ['やまだ']);
});

test('wildcards', async (t) => {
  for (const [pattern, text, expected] of [
    ['SM?TH*', 'SMITH^JOHN', true],
    ['SM?TH*', 'SMTH', false],
    ['*a*b*c', 'xaxbxc', true],
    ['*a*b*c', 'xaxcxb', false],
    ['?', '𠮷', true],
    ['?', '', false],
    ['', '', true],
    ['a[b]*', 'a[b]c', true],
    ['a.c', 'abc', false],
    ['*ab', 'aab', true],
  ] as const) {
    t.equal(matchesWildcard(pattern, text), expected, `${pattern} and ${text}`);
  }
  t.notOk(matchesWildcard(`${'*a'.repeat(200)}*b`, 'a'.repeat(5000)), 'and it ends');
});

test('times', async (t) => {
  t.equal(timeKey('1030'), '103000000000');
  t.equal(timeKey('1030', 'to'), '103059999999');
  t.equal(timeKey('10:30:15.5'), '103015500000');
  t.equal(timeKey('103015.5', 'to'), '103015599999');
  t.equal(timeKey(''), '');
  t.equal(dateTimeKey('202402', 'to'), '20240229235959999999', 'a leap year');
  t.equal(dateTimeKey('20240101003000+0100'), '20231231233000000000');
  t.equal(dateTimeKey('not a time'), '');
});

test('one element', async (t) => {
  t.ok(match('PN', [{ Alphabetic: 'Müller^Jürgen' }], single('MULLER^JURGEN')));
  t.notOk(match('PN', [{ Alphabetic: 'Müller^Jürgen' }], single('jur mul')));
  t.ok(match('PN', [{ Alphabetic: 'Müller^Jürgen' }], single('jur mul'), true));
  t.ok(match('LO', ['one', 'two '], single('two')), 'any of several values');
  t.notOk(match('LO', ['Two'], single('two')));
  t.ok(match('LO', ['Head^Routine'], wildcard('Head*')));
  t.ok(match('US', [512], single('512')));
  t.ok(match('DS', ['1.50'], single('1.5')));
  t.ok(match('DA', ['2024.01.31'], range('20240101', '20240131')));
  t.ok(match('TM', ['103059.5'], range('09', '1030')));
  t.notOk(match('TM', ['1031'], range('09', '1030')));
  t.ok(match('DT', ['20240101003000+0100'], range('2023', '2023')));
  t.ok(match('UI', ['1.2'], { tag, kind: 'uid-list', values: ['1.3', '1.2'] }));
  t.notOk(match('LO', [''], single('x')));
  t.ok(matchesElement(undefined, single(''), false), 'universal matching takes what is absent too');
  t.notOk(matchesElement(undefined, wildcard('?*'), false));
});

test('inside sequences', async (t) => {
  const item = (id: string) => ({ '00400009': { vr: 'SH', Value: [id] } });
  const dataset = { '00400275': { vr: 'SQ', Value: [item('A'), item('B')] } };
  const id = (value: string) => ({ tag: '00400275.00400009', kind: 'single', value }) as const;
  t.ok(matchesDataset(dataset, [id('B')], false));
  t.notOk(matchesDataset(dataset, [id('C')], false));
  t.notOk(matchesDataset({}, [id('C')], false));
  t.notOk(matchesDataset(dataset, [id('A'), id('B')], false), 'one item has to answer all that is asked of a sequence');
  const description = { tag: '00400275.00400007', kind: 'empty' } as const;
  t.ok(matchesDataset(dataset, [id('A'), description], false));
  t.ok(matchesDataset({}, [description], false), 'what is in no item is empty');
  t.notOk(matchesDataset(dataset, [{ ...id('A'), kind: 'empty' }], false));
});

test('empty values, and one of several', async (t) => {
  const empty = { tag, kind: 'empty' } as const;
  t.ok(match('LO', [], empty));
  t.ok(matchesElement(undefined, empty, false));
  t.notOk(match('LO', ['x'], empty));
  t.notOk(matchesElement({ vr: 'OB', InlineBinary: 'AA==' }, empty, false));
  const any = { tag, kind: 'any', of: [single('CHEST'), wildcard('H*'), empty] } as const;
  t.strictSame(
    [['HEAD'], ['CHEST'], ['ARM'], []].map((values) => match('CS', values, { ...any, of: [...any.of] })),
    [true, true, false, true],
  );
});
