import { type IncomingMessage, request } from 'node:http';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { test } from 'tap';
import { startMemoryBridge } from './memory-bridge.ts';

test('searches reach the index with their level, scope and rules', async (t) => {
  const bridge = await startMemoryBridge({ http: { maxResults: 500 } });
  t.teardown(() => bridge.close());
  const cases: [string, object][] = [
    ['/studies', { level: 'study', matches: [], include: [], limit: 500, offset: 0, fuzzy: false }],
    [
      '/studies?limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060&PatientName=*Doe*&00100020=*1*',
      {
        level: 'study',
        limit: 101,
        offset: 0,
        fuzzy: true,
        matches: [
          { tag: '00100010', kind: 'wildcard', pattern: '*Doe*' },
          { tag: '00100020', kind: 'wildcard', pattern: '*1*' },
        ],
        include: ['00100010', '00100020', '00081030', '00080060'],
      },
    ],
    [
      '/patients?PatientName=doe&orderby=-PatientName,PatientID',
      {
        level: 'patient',
        matches: [{ tag: '00100010', kind: 'single', value: 'doe' }],
        order: [
          { tag: '00100010', descending: true },
          { tag: '00100020', descending: false },
        ],
      },
    ],
    ['/series?limit=9999', { level: 'series', limit: 500 }],
    ['/instances?offset=7&includefield=all', { level: 'instance', offset: 7, include: 'all' }],
    [
      '/studies/1.2/series?includefield=00080021&includefield=SeriesTime',
      { level: 'series', studyInstanceUID: '1.2', include: ['00080021', '00080031'] },
    ],
    ['/studies/1.2/instances', { level: 'instance', studyInstanceUID: '1.2' }],
    [
      '/studies/1.2/series/1.3/instances?SOPInstanceUID=1.4,1.5',
      {
        level: 'instance',
        studyInstanceUID: '1.2',
        seriesInstanceUID: '1.3',
        matches: [{ tag: '00080018', kind: 'uid-list', values: ['1.4', '1.5'] }],
      },
    ],
  ];
  for (const [path, query] of cases) {
    const response = await fetch(`${bridge.dicomWeb}${path}`);
    t.equal(response.status, 200, path);
    t.equal(response.headers.get('content-type'), 'application/dicom+json');
    t.strictSame(await response.json(), [], 'no match is an empty array');
    t.match(bridge.queries.pop(), query, path);
  }
});

test('rows come out with absolute URLs, and a cut answer says so', async (t) => {
  const name = '"Value":["retrieve:/x"] PREFIX';
  const row = (uid: string) =>
    JSON.stringify({
      '00081190': { vr: 'UR', Value: [`retrieve:/studies/${uid}`] },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: name }] },
    });
  const bridge = await startMemoryBridge({ rows: [row('1.2'), row('1.3')], more: true });
  t.teardown(() => bridge.close());
  const response = await fetch(`${bridge.dicomWeb}/studies?limit=2`, { headers: { accept: 'application/json' } });
  t.equal(response.headers.get('warning'), '299 dagpacs "There are additional results that can be requested"');
  t.strictSame(
    await response.json(),
    ['1.2', '1.3'].map((uid) => ({
      '00081190': { vr: 'UR', Value: [`${bridge.dicomWeb}/studies/${uid}`] },
      '00100010': { vr: 'PN', Value: [{ Alphabetic: name }] },
    })),
  );
});

test('a long answer is streamed as it is read', async (t) => {
  let read = 0;
  const row = JSON.stringify({
    '00081190': { vr: 'UR', Value: ['retrieve:/studies/1.2'] },
    '00081030': { vr: 'LO', Value: ['x'.repeat(1000)] },
  });
  function* rows(count: number) {
    for (read = 0; read < count; read++) yield row;
  }
  const bridge = await startMemoryBridge({
    modules: { index: { query: ({ limit }) => ({ rows: rows(limit), more: false }) } },
  });
  t.teardown(() => bridge.close());
  const get = (limit: number, coding: string) =>
    fetch(`${bridge.dicomWeb}/instances?limit=${limit}`, { headers: { 'accept-encoding': coding } });
  const long = await get(5000, 'identity');
  t.equal(long.headers.get('transfer-encoding'), 'chunked');
  t.ok(read < 5000, `${read} rows are read before the first byte leaves`);
  const answer = (await long.json()) as object[];
  t.equal(answer.length, 5000);
  t.strictSame(answer[4999], JSON.parse(row.replace('retrieve:', bridge.dicomWeb)));
  for (const [coding, decode] of [
    ['gzip', gunzipSync],
    ['zstd', zstdDecompressSync],
  ] as const) {
    for (const limit of [20, 5000]) {
      const url = new URL(`${bridge.dicomWeb}/instances?limit=${limit}`);
      const coded = await new Promise<IncomingMessage>((resolve, reject) => {
        request(url, { headers: { 'accept-encoding': `${coding}, br;q=0.1` } }, resolve)
          .on('error', reject)
          .end();
      });
      t.match(coded.headers, { 'content-encoding': coding, vary: /Accept-Encoding/ });
      const bytes = Buffer.concat((await coded.toArray()) as Buffer[]);
      t.ok(bytes.length < 20 * limit);
      t.equal((JSON.parse(decode(bytes).toString()) as object[]).length, limit);
    }
  }
  const short = await get(5, 'gzip');
  t.equal(short.headers.get('content-encoding'), null, 'a packet is none too many');
  t.ok(Number(short.headers.get('content-length')) > 5000);
  t.equal(((await short.json()) as object[]).length, 5);
  const head = await fetch(`${bridge.dicomWeb}/instances?limit=5000`, { method: 'HEAD' });
  t.equal(head.status, 200);
});

test('what breaks a rule is 400 with its name', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  for (const [path, attribute] of [
    ['/studies?limit=0', 'limit'],
    ['/studies?limit=x', 'limit'],
    ['/studies?limit=1&limit=2', 'limit'],
    ['/studies?offset=-1', 'offset'],
    ['/studies?fuzzymatching=maybe', 'fuzzymatching'],
    ['/studies?includefield=Nonsense', 'includefield'],
    ['/studies?includefield=PatientName.PatientID', 'includefield'],
    ['/studies?orderby=Nonsense', 'orderby'],
    ['/studies?orderby=--PatientID', 'orderby'],
    ['/studies?emptyvaluematching=1', 'emptyvaluematching'],
    ['/studies?multiplevaluematching=', 'multiplevaluematching'],
    ['/patients?limit=1.5', 'limit'],
    ['/studies?Nonsense=1', 'Nonsense'],
    ['/studies?StudyDate=yesterday', 'StudyDate'],
    ['/studies?__proto__=1', '__proto__'],
    ['/studies/1.2x/series', 'studyInstanceUID'],
    [`/studies/${'1'.repeat(65)}/series`, 'studyInstanceUID'],
    ['/studies/1.2/series/%2e%2e%2f/instances', 'seriesInstanceUID'],
  ] as const) {
    const response = await fetch(`${bridge.dicomWeb}${path}`);
    t.equal(response.status, 400, path);
    t.equal(response.headers.get('content-type'), 'application/problem+json; charset=utf-8');
    t.match(await response.json(), { type: 'urn:dagpacs:error:invalid-parameter', attribute, rule: String }, path);
  }
  t.equal(bridge.queries.length, 0);
  t.equal((await fetch(`${bridge.dicomWeb}/studies`, { headers: { accept: 'application/dicom+xml' } })).status, 406);
});
