import fc from 'fast-check';
import { test } from 'tap';
import { ApiClient, type ApiOperation, type ApiRequest, type Parameter } from '../fixtures/api-client.ts';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { allBatches, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { multipartOf, stow } from '../fixtures/stow.ts';

/** What a client of the API has learnt beside the document: names of things that are there. */
const known = new Map<string, string>([
  ['studyInstanceUID', uid('study', 'fuzz')],
  ['seriesInstanceUID', uid('series', 'fuzz', 'CT', 1)],
  ['sopInstanceUID', uid('instance', 'fuzz', 'CT', 1, 1)],
  ['StudyInstanceUID', uid('study', 'fuzz')],
  ['studyUID', uid('study', 'fuzz')],
  ['seriesUID', uid('series', 'fuzz', 'CT', 1)],
  ['objectUID', uid('instance', 'fuzz', 'CT', 1, 1)],
  ['frames', '1'],
  ['path', '7FE00010'],
  ['version', '1'],
]);
/** Values that break one rule or another, or might. */
const BAD = [
  ...[
    '',
    '0',
    '-1',
    '1.5',
    '1e9',
    '99999999999999999999',
    'NaN',
    'null',
    'true',
    'abc',
    ' ',
    '*',
    '?',
    '\\',
    '%',
    '..',
  ],
  ...['1,2,', ',', '1..2', '.1', '1.', '00', "'", '"', '<script>', '{}', '[]', 'a=b&c', '#', ';', '\u0000', '\r\nX: y'],
  ...[
    'ÄÖ',
    '漢字',
    '\ud83d\ude00',
    '\u202e',
    'constructor',
    '__proto__',
    'toString',
    '2024-01-01',
    '20240101-',
    '1'.repeat(65),
  ],
  ...[
    '1'.repeat(5000),
    '7FE00010/1',
    '00080005,',
    'image/jpeg;q=2',
    'text/plain',
    'application/dicom;transfer-syntax=1.2',
    '0,0',
  ],
  ...['1,1,2', '256,256,-1,-1,0,0', '1e400,1', 'linear', '100000,100000', 'bytes=', 'utf-8'],
];
/** Segments that are no encoding of anything. */
const BROKEN_SEGMENTS = ['%', '%zz', '%c3%28', '%ff', '%00', '%2e%2e', '%2f', '..', '.', ';', '*'];
const ACCEPTS = ['*/*', '*', 'image/*;q=0.1', 'application/json', 'nonsense', 'a/b;c="', ',', ';q=1', 'x'.repeat(9000)];
const HEADERS: [name: string, values: string[]][] = [
  ['accept', ACCEPTS],
  ['accept', ['multipart/related; type="application/dicom"; transfer-syntax=*', 'application/dicom+json;q=0', 'é/é']],
  ['accept-encoding', ['gzip', 'br;q=0', 'identity;q=0', '*;q=0', ';;;', 'x'.repeat(5000)]],
  ['accept-charset', ['utf-8', 'iso-8859-1', '*;q=x', '']],
  ['range', ['bytes=0-1', 'bytes=9-1', 'bytes=-0', 'bytes=99999999999-', 'lines=1-2', 'bytes=1-2,4-5', 'bytes=a-b']],
  ['if-none-match', ['*', '"x"', 'W/"', ',']],
  ['if-modified-since', ['Thu, 01 Jan 1970 00:00:00 GMT', 'yesterday']],
  ['if-range', ['"x"', '']],
  ['origin', ['null', 'http://evil.example', 'x']],
  ['content-encoding', ['gzip', 'identity', 'x']],
  [
    'content-type',
    ['', 'text/plain', 'multipart/related', 'multipart/related; type="application/dicom"; boundary=', '/'],
  ],
  ['x-forwarded-host', ['evil.example']],
  ['expect', ['100-continue']],
];

let bridge: Bridge;
let client: ApiClient;

test('start', async () => {
  bridge = await startBridge({ env: { DAGPACS_ANCHOR_MAX_AGE_MS: '50' } });
  await stow(
    bridge.dicomWeb,
    [1, 2].map((instance) => makeSlice({ study: 'fuzz', instance, rows: 16, columns: 16 })),
  );
  await untilStage(bridge.url, [known.get('sopInstanceUID') as string], 'anchored');
  known.set('id', (await allBatches(bridge.url))[0]?.id as string);
  client = new ApiClient(bridge.url, (await (await fetch(`${bridge.url}/openapi.json`)).json()) as object);
});

function validValue({ name, schema, example }: Parameter): string {
  return String(known.get(name) ?? example ?? schema.examples?.[0] ?? schema.enum?.[0] ?? 'x');
}

/** A request with all that is required, as the document says it should be. */
function validRequest({ parameters, body, method }: ApiOperation): ApiRequest {
  const of = (place: Parameter['in']) => parameters.filter((each) => each.in === place && each.required);
  const [type] = Object.keys(body);
  return {
    path: Object.fromEntries(
      of('path').map((each) => [each.name, encodeURIComponent(validValue(each)).replaceAll('%2F', '/')]),
    ),
    query: of('query').map((each) => [each.name, validValue(each)]),
    headers: Object.fromEntries(of('header').map((each) => [each.name, validValue(each)])),
    ...(type !== undefined && bodyFor(type, body[type]?.example)),
    ...(type === undefined && method === 'POST' && { body: Buffer.alloc(0) }),
  };
}

function bodyFor(type: string, example: unknown): { body: Uint8Array; headers: Record<string, string> } {
  const file = makeSlice({ study: 'fuzz', instance: 1, rows: 16, columns: 16 });
  if (type.startsWith('multipart/related') && type.includes('application/dicom"')) {
    const { contentType, body } = multipartOf([file], 'fuzz-boundary');
    return { body, headers: { 'content-type': contentType } };
  }
  const text = typeof example === 'string' ? example : JSON.stringify(example ?? {});
  return { body: type === 'application/dicom' ? file : Buffer.from(text), headers: { 'content-type': type } };
}

interface Tried {
  status: number;
  wrong?: string;
}

/** Sends, and judges: no 5xx, an answer in time, and the one that the document allows. */
async function attempt(operation: ApiOperation, sent: ApiRequest): Promise<Tried> {
  const shown = () =>
    `${operation.method} ${operation.path} ${JSON.stringify({ ...sent, body: sent.body?.length }).slice(0, 600)}`;
  try {
    const answer = await client.send(operation, sent);
    const { status } = answer;
    if (status >= 500) return { status, wrong: `${status} ${answer.body.toString().slice(0, 300)}: ${shown()}` };
    // What is wrong before a route is found is not any operation's: headers that are too long, or a path that is another's.
    if (status === 431 || status === 414) return { status };
    if ((status === 404 || status === 405) && Object.keys(sent.path).length > 0) return { status };
    const wrong = client.problemWith(operation, answer);
    return { status, ...(wrong !== undefined && { wrong: `${wrong}: ${shown()}` }) };
  } catch (error) {
    return { status: 0, wrong: `${(error as Error).message}: ${shown()}` };
  }
}

/** Whether all that a path names is there. */
function isKnown({ parameters }: ApiOperation): boolean {
  return parameters.every(({ name, in: place }) => place !== 'path' || known.has(name) || name === 'asset');
}

/** DELETE last: it takes away what the others ask for. */
function inOrder(): ApiOperation[] {
  const rank = ({ method }: ApiOperation) => (method === 'DELETE' ? 1 : 0);
  return client.operations.toSorted((a, b) => rank(a) - rank(b));
}

test('what the document says works is answered as it says', async (t) => {
  for (const operation of inOrder().filter(({ method }) => method !== 'DELETE')) {
    const { status, wrong } = await attempt(operation, validRequest(operation));
    t.equal(wrong, undefined, `${operation.method} ${operation.path}`);
    const told = isKnown(operation);
    const supported = !['POST', 'PUT'].includes(operation.method) || 'application/dicom' in operation.body;
    if (told && supported) t.ok(status >= 200 && status < 300, `${operation.method} ${operation.path}: ${status}`);
  }
});

test('whoever accepts nothing of a resource is told what there is, and gets it', async (t) => {
  const read = client.operations.filter(({ method, path }) => method === 'GET' && !/^\/(health|docs\/)/.test(path));
  for (const operation of read) {
    const right = validRequest(operation);
    const refused = await client.send(operation, {
      ...right,
      headers: { accept: 'application/x-nothing, text/plain;q=0' },
    });
    t.equal(refused.status, 406, `${operation.path}: ${refused.status}`);
    const { available = [] } = JSON.parse(refused.body.toString()) as { available?: string[] };
    t.ok(available.length > 0, `${operation.path}: ${available.join(', ')}`);
    // What is asked for is not there, where nothing is known of its name.
    if (!isKnown(operation)) continue;
    for (const accept of available) {
      const { status, headers } = await client.send(operation, {
        ...right,
        headers: { accept: `text/x-other, ${accept};q=0.3` },
      });
      const [essence = '', inner] = [/^[^;]+/.exec(accept)?.[0], /type="([^"]+)"/.exec(accept)?.[1]];
      t.equal(status, 200, `${operation.path} as ${accept}`);
      t.ok(headers['content-type']?.startsWith(essence), `${headers['content-type']}`);
      if (inner) t.match(headers['content-type'], `type="${inner}"`);
    }
    if (!operation.parameters.some(({ name }) => name === 'accept')) continue;
    const [first = ''] = available;
    const asked = { ...right, query: [...right.query, ['accept', first], ['charset', 'utf-8']] as [string, string][] };
    const { status } = await client.send(operation, {
      ...asked,
      headers: { accept: 'application/x-nothing', 'accept-charset': 'utf-16' },
    });
    t.equal(status, 200, `${operation.path}?accept=${first}`);
  }
});

/** Every parameter, path segment, header and body malformed in turn, all else being right. */
function* malformed(operation: ApiOperation): Generator<ApiRequest> {
  const right = validRequest(operation);
  for (const [turn, { name, in: place }] of operation.parameters.entries()) {
    if (place === 'header') continue;
    // A third of them at each place, and another third at the next.
    for (const value of BAD.filter((_, i) => (i + turn + operation.id.length) % 3 === 0)) {
      if (place === 'path') yield { ...right, path: { ...right.path, [name]: encodeURIComponent(value) } };
      else yield { ...right, query: [...right.query.filter(([other]) => other !== name), [name, value]] };
    }
    if (place === 'query') yield { ...right, query: [...right.query, [name, '1'], [name, '2']] };
    else for (const segment of BROKEN_SEGMENTS) yield { ...right, path: { ...right.path, [name]: segment } };
  }
  for (const [name, value] of [
    ['nonsense', '1'],
    ['', ''],
    ['00100010[', 'x'],
    ['accept', 'application/xml'],
  ] as const)
    yield { ...right, query: [...right.query, [name, value]] };
  for (const [name, values] of HEADERS)
    for (const value of values.filter((_, i) => (i + operation.id.length) % 2 === 0))
      yield {
        ...right,
        headers: {
          ...right.headers,
          [name]: Buffer.from(value)
            .toString('latin1')
            .replace(/[\r\n\0]/g, ''),
        },
      };
  if (!right.body) return;
  for (const body of [Buffer.alloc(0), Buffer.from('--'), Buffer.alloc(70_000, 0x41), right.body.subarray(0, 200)])
    for (const type of [
      ...Object.keys(operation.body),
      'multipart/related; type="application/dicom"; boundary=fuzz-boundary',
    ])
      yield { ...right, body, headers: { ...right.headers, 'content-type': type } };
}

test('every parameter, header, path segment and body malformed in turn', async (t) => {
  const wrong: string[] = [];
  let count = 0;
  for (const operation of inOrder()) {
    // HEAD and OPTIONS have the parameters of GET: their own code is seen with a few.
    const all = [...malformed(operation)];
    const few = ['HEAD', 'OPTIONS'].includes(operation.method) ? all.filter((_, i) => i % 30 === 0) : all;
    for (let at = 0; at < few.length; at += 8) {
      const tried = await Promise.all(few.slice(at, at + 8).map((sent) => attempt(operation, sent)));
      count += tried.length;
      wrong.push(...tried.flatMap(({ wrong: words }) => words ?? []));
    }
  }
  t.strictSame(wrong.slice(0, 20), [], `${wrong.length} of ${count} requests`);
  t.ok(count > 2000, `${count} requests`);
});

test('anything at once, by chance', async (t) => {
  const safe = client.operations.filter(({ method }) => ['GET', 'POST'].includes(method));
  const text = fc.oneof(
    fc.constantFrom(...BAD),
    fc.string({ maxLength: 40 }),
    fc.string({ unit: 'binary', maxLength: 20 }),
  );
  const wellFormed = text.map((value) => value.toWellFormed());
  const anything = fc.constantFrom(...safe).chain((operation) => {
    const right = validRequest(operation);
    const names = operation.parameters.filter((each) => each.in === 'query').map(({ name }) => name);
    const name = fc.oneof(fc.constantFrom('limit', 'includefield', ...names), wellFormed);
    return fc.record({
      operation: fc.constant(operation),
      path: fc
        .constantFrom(...Object.keys(right.path), '')
        .chain((changed) =>
          wellFormed.map((value) =>
            changed === '' ? right.path : { ...right.path, [changed]: encodeURIComponent(value) },
          ),
        ),
      query: fc.array(fc.tuple(name, wellFormed), { maxLength: 4 }),
      accept: fc.option(fc.oneof(fc.constantFrom(...ACCEPTS), fc.string({ maxLength: 30 }))),
      body: fc.option(fc.uint8Array({ maxLength: 300 })),
    });
  });
  await fc.assert(
    fc.asyncProperty(anything, async ({ operation, path, query, accept, body }) => {
      const right = validRequest(operation);
      const headers = { ...right.headers, ...(accept !== null && { accept: accept.replace(/[^\x20-\x7e]/g, '') }) };
      const sent = {
        path,
        query: [...right.query, ...query] as [string, string][],
        headers,
        ...(right.body && { body: body ?? right.body }),
      };
      const { wrong } = await attempt(operation, sent);
      if (wrong !== undefined) throw new Error(wrong);
    }),
    { numRuns: 400, seed: 20_261_125, endOnFailure: true },
  );
  t.equal((await fetch(`${bridge.url}/health/ready`)).status, 200, 'it lives');
});

test('stop', async (t) => {
  client.close();
  const { stderr } = bridge.output();
  t.notMatch(stderr, known.get('sopInstanceUID') as string, 'no UID in the log');
  await bridge.stop();
});
