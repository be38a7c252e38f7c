import { test } from 'tap';
import { parseQueryParameters } from '../../../src/dicom/query-parameters.ts';

const SEARCH = { level: 'study', limit: 10, offset: 0, fuzzy: false } as const;

function parse(url: string, includefield: string[] = [], orderby: string[] = []) {
  const search = new URLSearchParams(url);
  const names = [...new Set(search.keys())];
  return parseQueryParameters(
    SEARCH,
    names.map((name) => [name, search.getAll(name)] as const),
    { includefield, orderby },
  );
}

const anyOf = (tag: string, ...values: string[]) => {
  return { tag, kind: 'any', of: values.map((value) => ({ tag, kind: 'single', value })) };
};

test('every kind of matching', (t) => {
  const cases: [string, object | undefined][] = [
    ['PatientID=4711', { tag: '00100020', kind: 'single', value: '4711' }],
    ['00100020=47%5B11', { tag: '00100020', kind: 'single', value: '47[11' }],
    ['00080050=*a?', { tag: '00080050', kind: 'wildcard', pattern: '*a?' }],
    ['PatientName=D%C3%B6e*', { tag: '00100010', kind: 'wildcard', pattern: 'Döe*' }],
    ['PatientName=*', undefined],
    ['PatientName=', undefined],
    ['StudyDate=', undefined],
    ['StudyDate=20240229', { tag: '00080020', kind: 'single', value: '20240229' }],
    ['StudyDate=20240101-20241231', { tag: '00080020', kind: 'range', from: '20240101', to: '20241231' }],
    ['StudyDate=20240101-', { tag: '00080020', kind: 'range', from: '20240101' }],
    ['StudyDate=-20241231', { tag: '00080020', kind: 'range', to: '20241231' }],
    ['StudyTime=0930-101530.5', { tag: '00080030', kind: 'range', from: '0930', to: '101530.5' }],
    ['AcquisitionDateTime=20240101-20240102', { tag: '0008002A', kind: 'range', from: '20240101', to: '20240102' }],
    ['AcquisitionDateTime=20240101120000-0500', { tag: '0008002A', kind: 'single', value: '20240101120000-0500' }],
    ['AcquisitionDateTime=2023-2024', { tag: '0008002A', kind: 'range', from: '2023', to: '2024' }],
    ['StudyInstanceUID=1.2', { tag: '0020000D', kind: 'single', value: '1.2' }],
    ['StudyInstanceUID=1.2,1.3', { tag: '0020000D', kind: 'uid-list', values: ['1.2', '1.3'] }],
    ['StudyInstanceUID=1.2%5C1.3', { tag: '0020000D', kind: 'uid-list', values: ['1.2', '1.3'] }],
    ['StudyInstanceUID=1.2&StudyInstanceUID=1.3', { tag: '0020000D', kind: 'uid-list', values: ['1.2', '1.3'] }],
    ['ModalitiesInStudy=CT,MR', { tag: '00080061', kind: 'uid-list', values: ['CT', 'MR'] }],
    ['Modality=M*', { tag: '00080060', kind: 'wildcard', pattern: 'M*' }],
    ['NumberOfFrames=10', { tag: '00280008', kind: 'single', value: '10' }],
    [
      'RequestAttributesSequence.ScheduledProcedureStepID=A1',
      { tag: '00400275.00400009', kind: 'single', value: 'A1' },
    ],
    ['00400275.00400009=A1', { tag: '00400275.00400009', kind: 'single', value: 'A1' }],
    ['PatientID=%22%22', { tag: '00100020', kind: 'empty' }],
    ['ReferencedStudySequence=%22%22', { tag: '00081110', kind: 'empty' }],
    [
      'PatientID=A&PatientID=B*',
      {
        tag: '00100020',
        kind: 'any',
        of: [
          { tag: '00100020', kind: 'single', value: 'A' },
          { tag: '00100020', kind: 'wildcard', pattern: 'B*' },
        ],
      },
    ],
    ['PatientID=A,B', { tag: '00100020', kind: 'single', value: 'A,B' }],
    ['InstanceNumber=1,2', anyOf('00200013', '1', '2')],
    ['PatientID=A%5C*', undefined],
    ['StudyDescription=a%5Cb&StudyDescription=', anyOf('00081030', 'a', 'b')],
    ['00091010=private', { tag: '00091010', kind: 'single', value: 'private' }],
  ];
  for (const [url, match] of cases) t.strictSame(parse(url).matches, match ? [match] : [], url);
  t.end();
});

test('a range of dates and of times is one of moments', (t) => {
  t.strictSame(parse('StudyTime=10-&StudyDate=20240101-20240103').matches, [
    {
      tag: '00080020',
      timeTag: '00080030',
      kind: 'moment',
      from: '20240101100000000000',
      to: '20240103235959999999',
    },
  ]);
  t.equal(parse('StudyTime=10-12&StudyDate=20240101').matches.length, 2, 'on one day the hours say it');
  t.equal(parse('StudyTime=-12&StudyDate=20240101-').matches.length, 2, 'the last day is open');
  t.end();
});

test('order', (t) => {
  t.strictSame(parse('', [], ['-StudyDate,00100010', 'PatientID']).order, [
    { tag: '00080020', descending: true },
    { tag: '00100010', descending: false },
    { tag: '00100020', descending: false },
  ]);
  t.throws(() => parse('', [], ['Nonsense']), { code: 'invalid-parameter', subject: { attribute: 'orderby' } });
  t.end();
});

test('what is given back: fields asked for and fields matched', (t) => {
  t.strictSame(parse('PatientID=1&AccessionNumber=', ['00081030,StudyTime', 'PatientID']).include, [
    '00100020',
    '00080050',
    '00081030',
    '00080030',
  ]);
  t.strictSame(parse('RequestAttributesSequence.ScheduledProcedureStepID=A1').include, ['00400275']);
  t.equal(parse('PatientID=1', ['00081030', 'all']).include, 'all');
  t.strictSame(parse(''), { ...SEARCH, matches: [], include: [] });
  t.end();
});

test('what breaks a rule is refused with its name', (t) => {
  const cases: [string, string, RegExp][] = [
    ['Foo=1', 'Foo', /keyword or tag/],
    ['patientid=1', 'patientid', /keyword or tag/],
    ['0010002=1', '0010002', /keyword or tag/],
    ['PatientID.Foo=1', 'PatientID.Foo', /keyword or tag/],
    ['StudyDate=20241301', 'StudyDate', /date/],
    ['StudyDate=-', 'StudyDate', /date/],
    ['StudyDate=2024*', 'StudyDate', /date/],
    ['StudyDate=20240101-20240201-20240301', 'StudyDate', /date/],
    ['StudyTime=2500', 'StudyTime', /time/],
    ['StudyInstanceUID=1.2,x', 'StudyInstanceUID', /digits and dots/],
    [`StudyInstanceUID=${'1'.repeat(65)}`, 'StudyInstanceUID', /64/],
    ['StudyInstanceUID=1.*', 'StudyInstanceUID', /digits and dots/],
    ['InstanceNumber=one', 'InstanceNumber', /number/],
    ['RequestAttributesSequence=1', 'RequestAttributesSequence', /no value to match/],
    ['PatientID=1&00100020=2', '00100020', /one name/],
    ['PatientName.PatientID=1', 'PatientName.PatientID', /keyword or tag/],
  ];
  for (const [url, attribute, rule] of cases) {
    t.throws(() => parse(url), { code: 'invalid-parameter', subject: { attribute, rule } }, url);
  }
  t.throws(() => parse('', ['Foo']), { code: 'invalid-parameter', subject: { attribute: 'includefield' } });
  t.end();
});
