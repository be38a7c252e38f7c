import type { Test } from 'tap';
import type { Match, Query, QueryLevel } from '../../../src/dicom/query.ts';
import type { Addition, Index } from '../../../src/ports/index.ts';
import { ask, CT, made, type OpenIndex, SR, single, values, wildcard } from '../../fixtures/additions.ts';

const patient = (name: object, id: string, date: string, time = '120000') => ({
  '00080020': ['DA', date] as [string, string],
  '00080030': ['TM', time] as [string, string],
  '00080050': ['SH', `ACC[${id}]`] as [string, string],
  '00100010': ['PN', { ...name }] as [string, { Alphabetic?: string }],
  '00100020': ['LO', id] as [string, string],
});

const mueller = patient({ Alphabetic: 'Müller^Jürgen^^' }, 'P1', '20240301', '0830');
const smith = patient({ Alphabetic: 'SMITH^JOHN PAUL' }, 'P2', '20240415');
const yamada = patient(
  { Alphabetic: 'Yamada^Tarou', Ideographic: '山田^太郎', Phonetic: 'やまだ^たろう' },
  'P3',
  '20230101',
);

/** Three studies: 1.1 (CT with two images), 1.2 (CT and SR), 1.3 (MR). */
function library(): Addition[] {
  const image = (n: number) =>
    ({ '00200013': ['IS', n], '00280010': ['US', 512], '00181030': ['LO', 'Head^Routine'] }) as Record<
      string,
      [string, number | string]
    >;
  const ct = { '00080060': ['CS', 'CT'], '00200011': ['IS', 1] } as Record<string, [string, string | number]>;
  const step = { '00400275': ['SQ', { '00400009': { vr: 'SH', Value: ['SPS9'] } }] } as Record<
    string,
    [string, object]
  >;
  return [
    made({ study: '1.1', series: '1.1.1', sop: '1.1.1.2', attributes: { ...mueller, ...ct, ...image(2) } }),
    made({ study: '1.1', series: '1.1.1', sop: '1.1.1.1', attributes: { ...mueller, ...ct, ...image(1) } }),
    made({ study: '1.2', series: '1.2.1', sop: '1.2.1.1', attributes: { ...smith, ...ct, ...image(1) } }),
    made({
      study: '1.2',
      series: '1.2.9',
      sop: '1.2.9.1',
      sopClass: SR,
      attributes: { ...smith, '00080060': ['CS', 'SR'] },
    }),
    made({
      study: '1.3',
      series: '1.3.1',
      sop: '1.3.1.1',
      attributes: { ...yamada, ...(step as Record<string, [string, never]>), '00080060': ['CS', 'MR'] },
    }),
  ];
}

const studies = (index: Index, ...matches: Match[]) => values(ask(index, { matches }), '0020000D');
const fuzzy = (index: Index, ...matches: Match[]) => values(ask(index, { matches, fuzzy: true }), '0020000D');

/** Rows, matching, order and paging (PS3.4 C.2.2.2, PS3.18 §10.6). */
export function querySuite(t: Test, open: OpenIndex): void {
  t.test('patients, and moments of date and time', async (t) => {
    const index = await open(t);
    await index.add(library());
    const again = { ...patient({ Alphabetic: 'SMITH^JANE' }, 'P2', '20240101', '0600'), '00100021': ['LO', 'OTHER'] };
    await index.add([
      made({ study: '1.4', series: '1.4.1', sop: '1.4.1.1', attributes: patient({}, 'P1', '20200101', '0700') }),
      made({ study: '1.5', series: '1.5.1', sop: '1.5.1.1', attributes: again as typeof mueller }),
      made({ study: '1.6', series: '1.6.1', sop: '1.6.1.1' }),
      made({ study: '1.7', series: '1.7.1', sop: '1.7.1.1' }),
    ]);
    const patients = (...matches: Match[]) => ask(index, { level: 'patient', matches });
    t.strictSame(values(patients(), '00100020'), ['P2', 'P1', 'P2', 'P3', undefined, undefined]);
    t.match(patients(single('00100020', 'P1')), [
      { '00201200': { Value: [2] }, '00201202': { Value: [2] }, '00201204': { Value: [3] } },
    ]);
    t.strictSame(values(patients(single('0020000D', '1.4')), '00100020'), ['P1'], 'by a study that is not the newest');
    t.strictSame(values(patients(single('00080060', 'SR')), '00100020'), ['P2']);
    t.notOk(patients()[0]?.['0020000D'], 'nothing of a study');

    const moment = (from?: string, to?: string): Match => {
      const ends = { ...(from && { from }), ...(to && { to }) };
      return { tag: '00080020', timeTag: '00080030', kind: 'moment', ...ends };
    };
    t.strictSame(studies(index, moment('20240301080000000000', '20240415110000999999')), ['1.1']);
    t.strictSame(studies(index, moment(undefined, '20200101070000000000')), ['1.4']);
    t.strictSame(studies(index, moment('20240301090000000000')), ['1.2']);
  });

  t.test('matching', async (t) => {
    const index = await open(t);
    await index.add(library());
    t.strictSame(studies(index), ['1.2', '1.1', '1.3'], 'the newest study first');

    t.strictSame(studies(index, single('00100020', 'P2')), ['1.2']);
    t.strictSame(studies(index, single('00100020', 'p2')), [], 'only names are matched regardless of case');
    t.strictSame(studies(index, wildcard('00100020', 'P?')), ['1.2', '1.1', '1.3']);
    t.strictSame(studies(index, wildcard('00080050', 'ACC[P1*')), ['1.1'], 'a bracket is no wildcard');
    t.strictSame(studies(index, single('0020000D', '1.3')), ['1.3']);
    t.strictSame(studies(index, { tag: '0020000D', kind: 'uid-list', values: ['1.1', '1.3', '1.7'] }), ['1.1', '1.3']);

    t.strictSame(studies(index, single('00100010', 'muller^jurgen')), ['1.1']);
    t.strictSame(studies(index, single('00100010', 'MÜLLER')), [], 'a single value is the whole name');
    t.strictSame(studies(index, wildcard('00100010', 'mu*')), ['1.1']);
    t.strictSame(studies(index, wildcard('00100010', '*john*')), ['1.2']);
    t.strictSame(studies(index, wildcard('00100010', '山田*')), ['1.3']);
    t.strictSame(studies(index, single('00100010', 'やまだ^たろう')), ['1.3']);
    t.strictSame(studies(index, wildcard('00100010', 'Yamada*=山田*')), ['1.3']);
    t.strictSame(studies(index, wildcard('00100010', 'Yamada*=鈴木*')), []);
    t.strictSame(fuzzy(index, single('00100010', 'paul smi')), ['1.2']);
    t.strictSame(fuzzy(index, single('00100010', 'jur mul')), ['1.1']);
    t.strictSame(fuzzy(index, wildcard('00100010', '*ohn*')), ['1.2'], 'fuzzy matching takes nothing away');
    t.strictSame(fuzzy(index, single('00100010', 'xaver')), []);

    const range = (tag: string, from?: string, to?: string): Match => ({
      tag,
      kind: 'range',
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
    });
    t.strictSame(studies(index, range('00080020', '20240301', '20240415')), ['1.2', '1.1'], 'both ends count');
    t.strictSame(studies(index, range('00080020', undefined, '20231231')), ['1.3']);
    t.strictSame(studies(index, range('00080020', '20240302')), ['1.2']);
    t.strictSame(
      studies(index, range('00080030', '08', '0830')),
      ['1.1'],
      'the end of a range is as long as its precision',
    );
    t.strictSame(studies(index, single('00080030', '083000')), ['1.1']);

    t.strictSame(studies(index, single('00080061', 'CT')), ['1.2', '1.1']);
    t.strictSame(studies(index, wildcard('00080061', 'S*')), ['1.2']);
    t.strictSame(studies(index, { tag: '00080062', kind: 'uid-list', values: [SR] }), ['1.2']);
    for (const match of [single('00100020', ''), wildcard('00081030', '*'), range('00080020')]) {
      t.equal(studies(index, match).length, 3, 'universal matching');
    }
  });

  t.test('keys of other levels, and keys without a column', async (t) => {
    const index = await open(t);
    await index.add(library());
    const instances = (...matches: Match[]) => values(ask(index, { level: 'instance', matches }), '00080018');
    t.strictSame(instances(), ['1.2.1.1', '1.2.9.1', '1.1.1.1', '1.1.1.2', '1.3.1.1']);
    t.strictSame(instances(single('00100020', 'P1')), ['1.1.1.1', '1.1.1.2']);
    t.strictSame(instances(single('00080060', 'SR')), ['1.2.9.1']);
    t.strictSame(instances(single('00200013', '2')), ['1.1.1.2']);
    t.strictSame(studies(index, single('00080060', 'MR')), ['1.3']);
    t.strictSame(studies(index, single('00080018', '1.1.1.2')), ['1.1']);
    t.strictSame(studies(index, single('00080060', 'CT'), single('00080016', SR)), [], 'one series has to answer both');
    t.strictSame(instances(wildcard('00181030', 'Head*')), ['1.2.1.1', '1.1.1.1', '1.1.1.2']);
    t.strictSame(instances(single('00280010', '512'), single('00100020', 'P1')), ['1.1.1.1', '1.1.1.2']);
    t.strictSame(instances(single('00400275.00400009', 'SPS9')), ['1.3.1.1']);
    const page = ask(index, { level: 'instance', matches: [single('00280010', '512')], limit: 1, offset: 1 });
    t.strictSame(values(page, '00080018'), ['1.1.1.1']);
    t.strictSame(values(ask(index, { level: 'series', matches: [single('00100020', 'P2')] }), '0020000E'), [
      '1.2.1',
      '1.2.9',
    ]);
  });

  t.test('paging', async (t) => {
    const index = await open(t);
    await index.add(library());
    const page = (limit: number, offset: number) => {
      const query: Query = { level: 'study', matches: [], include: [], fuzzy: false, limit, offset };
      const { rows, more } = index.query(query);
      return [[...rows].length, more];
    };
    t.strictSame(page(2, 0), [2, true]);
    t.strictSame(page(2, 2), [1, false]);
    t.strictSame(page(2, 9), [0, false]);
    t.strictSame(page(0, 0), [0, true]);
  });

  t.test('order', async (t) => {
    const index = await open(t);
    await index.add(library());
    const ordered = (level: QueryLevel, tag: string, ...order: string[]) => {
      const keys = order.map((key) => ({ tag: key.replace('-', ''), descending: key.startsWith('-') }));
      return values(ask(index, { level, order: keys }), tag);
    };
    t.strictSame(ordered('study', '0020000D', '00100010'), ['1.1', '1.2', '1.3'], 'by name: Müller, Smith, Yamada');
    t.strictSame(ordered('study', '0020000D', '-00100010'), ['1.3', '1.2', '1.1']);
    t.strictSame(ordered('study', '0020000D', '00080020'), ['1.3', '1.1', '1.2']);
    t.strictSame(
      ordered('study', '0020000D', '-00201208', '00080020'),
      ['1.1', '1.2', '1.3'],
      'the second key decides',
    );
    t.strictSame(ordered('instance', '00080018', '-00200013', '00100020').slice(0, 3), [
      '1.2.9.1',
      '1.3.1.1',
      '1.1.1.2',
    ]);
    for (const tag of ['00081080', '00080060']) {
      t.throws(() => ordered('study', '0020000D', tag), {
        code: 'invalid-parameter',
        subject: { attribute: 'orderby' },
      });
    }
  });

  t.test('empty values, several values, and items of sequences', async (t) => {
    const index = await open(t);
    const item = (id: string, procedure: string) => ({
      '00400009': { vr: 'SH', Value: [id] },
      '00401001': { vr: 'SH', Value: [procedure] },
    });
    const steps = { '00400275': ['SQ', item('A', '1'), item('B', '2')] } as never;
    await index.add([
      ...library(),
      made({ study: '1.4', series: '1.4.1', sop: '1.4.1.1' }),
      made({ study: '1.5', series: '1.5.1', sop: '1.5.1.1', attributes: steps }),
    ]);
    const empty = (tag: string): Match => ({ tag, kind: 'empty' });
    const any = (tag: string, ...of: Match[]): Match => ({ tag, kind: 'any', of });
    for (const tag of ['00100010', '00100020', '00080020', '00081030']) {
      const found = tag === '00081030' ? ['1.2', '1.1', '1.3', '1.5', '1.4'] : ['1.5', '1.4'];
      t.strictSame(studies(index, empty(tag)), found, `${tag} is empty`);
    }
    t.strictSame(studies(index, empty('00080061'), single('00200011', '1')), [], 'no modality, but a series number');
    t.strictSame(studies(index, empty('00200011')), ['1.2', '1.3', '1.5', '1.4']);
    t.strictSame(studies(index, empty('00181030')), ['1.2', '1.3', '1.5', '1.4'], 'of any series, from its header');
    const name = '00100010';
    t.strictSame(studies(index, any(name, wildcard(name, 'smi*'), single(name, '山田^太郎'))), ['1.2', '1.3']);
    t.strictSame(studies(index, any('00200013', single('', '2'), single('', '7'))), ['1.1']);
    t.strictSame(studies(index, any('00181030', single('', 'x'), wildcard('', 'head*'), wildcard('', 'Head*'))), [
      '1.2',
      '1.1',
    ]);
    const step = single('00400275.00400009', 'A');
    t.strictSame(studies(index, step, single('00400275.00401001', '1')), ['1.5']);
    t.strictSame(studies(index, step, single('00400275.00401001', '2')), [], 'of two items');
    t.strictSame(studies(index, empty('00400275.00400009')), ['1.2', '1.1', '1.4']);

    const attributes = { '00181030': ['LO', 'Kopf "Ü" 1 '], '00180050': ['DS', '2.50'] } as never;
    await index.add([made({ study: '1.6', series: '1.6.1', sop: '1.6.1.1', attributes })]);
    for (const match of [
      single('00181030', 'Kopf "Ü" 1'),
      wildcard('00181030', '*"Ü"*'),
      wildcard('00181030', 'K??f*1'),
      single('00180050', '2.5'),
    ]) {
      t.strictSame(studies(index, match), ['1.6'], 'whatever it is in JSON');
    }
  });

  t.test('rows', async (t) => {
    const index = await open(t);
    await index.add(library());
    const [study] = ask(index, { matches: [single('0020000D', '1.2')] });
    t.strictSame(study, {
      '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
      '00080020': { vr: 'DA', Value: ['20240415'] },
      '00080030': { vr: 'TM', Value: ['120000'] },
      '00080050': { vr: 'SH', Value: ['ACC[P2]'] },
      '00080056': { vr: 'CS', Value: ['ONLINE'] },
      '00080061': { vr: 'CS', Value: ['CT', 'SR'] },
      '00080062': { vr: 'UI', Value: [CT, SR] },
      '00080090': { vr: 'PN' },
      '00081190': { vr: 'UR', Value: ['retrieve:/studies/1.2'] },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: 'SMITH^JOHN PAUL' }] },
      '00100020': { vr: 'LO', Value: ['P2'] },
      '00100030': { vr: 'DA' },
      '00100040': { vr: 'CS' },
      '0020000D': { vr: 'UI', Value: ['1.2'] },
      '00200010': { vr: 'SH' },
      '00201206': { vr: 'IS', Value: [2] },
      '00201208': { vr: 'IS', Value: [2] },
    });
    const inStudy = { studyInstanceUID: '1.1' };
    t.strictSame(ask(index, { level: 'series', ...inStudy }), [
      {
        '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
        '00080060': { vr: 'CS', Value: ['CT'] },
        '00081190': { vr: 'UR', Value: ['retrieve:/studies/1.1/series/1.1.1'] },
        '0020000D': { vr: 'UI', Value: ['1.1'] },
        '0020000E': { vr: 'UI', Value: ['1.1.1'] },
        '00200011': { vr: 'IS', Value: [1] },
        '00201209': { vr: 'IS', Value: [2] },
        '00400244': { vr: 'DA' },
        '00400245': { vr: 'TM' },
      },
    ]);
    const [instance] = ask(index, { level: 'instance', ...inStudy, seriesInstanceUID: '1.1.1' });
    t.strictSame(instance, {
      '00080005': { vr: 'CS', Value: ['ISO_IR 192'] },
      '00080016': { vr: 'UI', Value: [CT] },
      '00080018': { vr: 'UI', Value: ['1.1.1.1'] },
      '00080056': { vr: 'CS', Value: ['ONLINE'] },
      '00081190': { vr: 'UR', Value: ['retrieve:/studies/1.1/series/1.1.1/instances/1.1.1.1'] },
      '00083002': { vr: 'UI', Value: ['1.2.840.10008.1.2.1'] },
      '0020000D': { vr: 'UI', Value: ['1.1'] },
      '0020000E': { vr: 'UI', Value: ['1.1.1'] },
      '00200013': { vr: 'IS', Value: [1] },
      '00280010': { vr: 'US', Value: [512] },
    });
    const [whole] = ask(index, { level: 'instance', matches: [single('00080018', '1.1.1.1')] });
    t.strictSame(values([whole ?? {}], '00100020'), ['P1'], 'without the study in the path its attributes are there');
    t.strictSame(
      [whole?.['00080060']?.Value, whole?.['00201208']?.Value, whole?.['00201209']?.Value],
      [['CT'], [2], [2]],
    );
    t.strictSame(whole?.['00081190'], instance?.['00081190'], 'but the URL is the instance’s own');

    t.strictSame(
      ask(index, { include: ['00080060', '00181030'], matches: [single('0020000D', '1.2')] }),
      [study],
      'not a study’s',
    );
    const [more] = ask(index, {
      level: 'series',
      ...inStudy,
      include: ['00100020', '00201206', '00181030', '00181111'],
    });
    t.strictSame(
      ['00100020', '00201206', '00181030', '00181111'].map((tag) => more?.[tag]?.Value),
      [['P1'], [1], ['Head^Routine'], undefined],
    );
    t.notOk(more?.['00100010'], 'nothing that was not asked for');
    const [every] = ask(index, { level: 'instance', ...inStudy, seriesInstanceUID: '1.1.1', include: 'all' });
    t.match(every, { '00181030': { Value: ['Head^Routine'] }, '00100020': { Value: ['P1'] }, ...instance });
    t.notOk(every?.['7FE00010'], 'pixels stay where they are');
    const [all] = ask(index, { level: 'study', include: 'all', matches: [single('0020000D', '1.1')] });
    t.notOk(all?.['00181030']);
  });

  t.test('the offset from UTC is said at every level', async (t) => {
    const index = await open(t);
    const attributes = { '00080201': ['SH', '+0100'], '00200013': ['IS', 1], '00280010': ['US', 5] } as never;
    await index.add([made({ study: '1.1', series: '1.1.1', sop: '1.1.1.1', attributes })]);
    const scope = { studyInstanceUID: '1.1', seriesInstanceUID: '1.1.1' };
    for (const query of [{}, { level: 'series', studyInstanceUID: '1.1' }, { level: 'instance', ...scope }] as const) {
      const [row] = ask(index, query);
      t.strictSame(row?.['00080201'], { vr: 'SH', Value: ['+0100'] });
    }
    t.strictSame(values(ask(index, { level: 'instance', ...scope }), '00280010'), [5]);
  });

  t.test('a later instance corrects what its study is called', async (t) => {
    const index = await open(t);
    await index.add([made({ study: '1.1', series: '1.1.1', sop: '1.1.1.1', attributes: smith })]);
    await index.add([made({ study: '1.1', series: '1.1.1', sop: '1.1.1.2', attributes: { ...smith, ...yamada } })]);
    t.strictSame(studies(index, wildcard('00100010', 'smith*')), []);
    t.strictSame(studies(index, wildcard('00100010', 'yamada*')), ['1.1']);
    t.strictSame(values(ask(index, {}), '00100020'), ['P3']);
  });

  t.test('a key that would read too many headers is refused', async (t) => {
    const index = await open(t);
    const attributes = smith;
    const many = Array.from({ length: 10_001 }, (_, n) =>
      made({ study: '1.1', series: '1.1.1', sop: `1.1.1.${n}`, attributes }),
    );
    await index.add(many);
    const query = { level: 'instance', include: [], limit: 1, offset: 0, fuzzy: false } as const;
    t.throws(() => index.query({ ...query, include: [], matches: [single('00181030', 'Head')] }), {
      code: 'invalid-parameter',
      subject: { attribute: 'ProtocolName', tag: '00181030' },
    });
    const both = [single('00181030', 'Head'), single('00080018', '1.1.1.7')];
    t.strictSame([...index.query({ ...query, include: [], matches: both }).rows], []);
  });
}
