import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { test } from 'tap';
import type { Serve } from '../../../src/flows/serve/served.ts';
import { parseMultipart, stow } from '../../fixtures/stow.ts';
import { instance, type MemoryBridge, type Stored, startMemoryBridge } from './memory-bridge.ts';

const JPEG = '1.2.840.10008.1.2.4.50';
const NATIVE = '1.2.840.10008.1.2.1';
const PATH = '/studies/1.2/series/1.2.3/instances/1.2.3.0';

function hold(bridge: MemoryBridge, count: number, size = 10, options: { syntax?: string; fate?: string } = {}): void {
  for (let i = 0; i < count; i++) {
    const uids = { studyInstanceUID: '1.2', seriesInstanceUID: '1.2.3', sopInstanceUID: `1.2.3.${i}` };
    const bytes = instance({ sop: uids.sopInstanceUID, ...options }, Buffer.alloc(size, i));
    bridge.stored.push({ ...uids, transferSyntaxUID: options.syntax ?? NATIVE, from: 'test', bytes } satisfies Stored);
  }
}

async function get(url: string, accept?: string, more: Record<string, string> = {}) {
  const response = await fetch(url, { headers: { ...(accept !== undefined && { accept }), ...more } });
  const body = Buffer.from(await response.arrayBuffer());
  const type = response.headers.get('content-type') ?? '';
  return { status: response.status, headers: response.headers, type, body, text: body.toString() };
}

test('studies, series and instances as multipart/related', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  hold(bridge, 5, 100_000);
  for (const path of ['/studies/1.2', '/studies/1.2/series/1.2.3']) {
    for (const accept of [undefined, '*/*', 'multipart/related; type="application/dicom"; transfer-syntax=*']) {
      const answer = await get(`${bridge.dicomWeb}${path}`, accept);
      t.equal(answer.status, 200, `${path} ${accept}`);
      t.match(answer.type, /^multipart\/related; type="application\/dicom"; boundary=[0-9a-f]{36}$/);
      t.equal(Number(answer.headers.get('content-length')), answer.body.length);
      const parts = parseMultipart(answer.type, answer.body);
      t.strictSame(
        parts.map(({ headers, body }) => [headers, body.length]),
        bridge.stored.map(({ sopInstanceUID, bytes }) => [
          {
            'content-type': `application/dicom; transfer-syntax=${NATIVE}`,
            'content-length': String(bytes.length),
            'content-location': `${bridge.dicomWeb}/studies/1.2/series/1.2.3/instances/${sopInstanceUID}`,
          },
          bytes.length,
        ]),
      );
      t.ok(parts.every(({ body }, i) => bridge.stored[i]?.bytes.equals(body)));
    }
  }
  const first = await get(`${bridge.dicomWeb}/studies/1.2`);
  const second = await get(`${bridge.dicomWeb}/studies/1.2`);
  t.not(first.type, second.type, 'a boundary of its own for each answer');
});

test('one instance as a part, as the body, and a range of it', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  hold(bridge, 1, 200_000);
  const file = bridge.stored[0]?.bytes ?? Buffer.alloc(0);
  const multipart = await get(`${bridge.dicomWeb}${PATH}`);
  t.ok(parseMultipart(multipart.type, multipart.body)[0]?.body.equals(file));
  const single = await get(`${bridge.dicomWeb}${PATH}`, 'application/dicom; transfer-syntax=*');
  t.equal(single.type, `application/dicom; transfer-syntax=${NATIVE}`);
  t.ok(single.body.equals(file));
  for (const [header, start, end] of [
    ['bytes=0-99', 0, 100],
    ['bytes=70000-', 70_000, file.length],
    ['bytes=-5', file.length - 5, file.length],
    ['bytes=5-99999999', 5, file.length],
  ] as const) {
    const part = await get(`${bridge.dicomWeb}${PATH}`, 'application/dicom', { range: header });
    t.equal(part.status, 206);
    t.equal(part.headers.get('content-range'), `bytes ${start}-${end - 1}/${file.length}`);
    t.ok(part.body.equals(file.subarray(start, end)), header);
  }
  for (const header of ['bytes=9-1', 'items=0-1', 'bytes=0-1,3-4', 'bytes=-']) {
    t.equal((await get(`${bridge.dicomWeb}${PATH}`, 'application/dicom', { range: header })).status, 200, header);
  }
  const beyond = await get(`${bridge.dicomWeb}${PATH}`, 'application/dicom', { range: 'bytes=9999999-' });
  t.strictSame([beyond.status, beyond.headers.get('content-range')], [416, `bytes */${file.length}`]);
  const version = await get(`${bridge.url}/custody/instances/1.2.3.0/versions/1`);
  t.equal(version.status, 200);
  t.ok(version.body.equals(file));
  t.equal((await get(`${bridge.url}/custody/instances/1.2.3.0/versions/2`)).status, 404);
});

test('what cannot be given is 406 with what can', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  hold(bridge, 1);
  hold(bridge, 1, 10, { syntax: JPEG });
  const available = [NATIVE, JPEG].map(
    (syntax) => `multipart/related; type="application/dicom"; transfer-syntax=${syntax}`,
  );
  for (const accept of [
    'application/dicom',
    'text/html',
    `multipart/related; type="application/dicom"; transfer-syntax=${JPEG}`,
  ]) {
    const answer = await get(`${bridge.dicomWeb}/studies/1.2`, accept);
    t.equal(answer.status, 406, accept);
    t.match(JSON.parse(answer.text), { type: 'urn:dagpacs:error:not-acceptable', available });
  }
  const both = await get(`${bridge.dicomWeb}/studies/1.2`, available.join(', '));
  t.equal(parseMultipart(both.type, both.body).length, 2);
  const broken = await get(`${bridge.dicomWeb}/studies/1.2`, 'nonsense');
  t.strictSame([broken.status, JSON.parse(broken.text).attribute], [400, 'Accept']);
  const parameter = await get(`${bridge.dicomWeb}${PATH}/metadata?accept=application/dicom+json`, 'text/html');
  t.equal(parameter.type, 'application/dicom+json');
});

test('frames, native and compressed, and bulk data', async (t) => {
  const OHIF = 'multipart/related; type=application/octet-stream; transfer-syntax=*';
  for (const [syntax, image] of [
    [NATIVE, undefined],
    [JPEG, 'image/jpeg'],
  ] as const) {
    const bridge = await startMemoryBridge({ part: { bytes: Buffer.from('frame '), transferSyntaxUID: syntax } });
    t.teardown(() => bridge.close());
    hold(bridge, 1);
    const frames = await get(`${bridge.dicomWeb}${PATH}/frames/3,1`, OHIF);
    t.match(frames.type, 'multipart/related; type="application/octet-stream"; boundary=');
    t.strictSame(
      parseMultipart(frames.type, frames.body).map(({ headers, body }) => [
        headers['content-type'],
        headers['content-location'],
        body.toString(),
      ]),
      [3, 1].map((n) => [
        `application/octet-stream; transfer-syntax=${syntax}`,
        `${bridge.dicomWeb}${PATH}/frames/${n}`,
        `frame ${n}`,
      ]),
    );
    const one = await get(`${bridge.dicomWeb}${PATH}/frames/1`, 'application/octet-stream');
    t.strictSame([one.status, one.text], [200, 'frame 1']);
    t.equal((await get(`${bridge.dicomWeb}${PATH}/frames/1,2`, 'application/octet-stream')).status, 406);
    const typed = await get(
      `${bridge.dicomWeb}${PATH}/frames/2`,
      'multipart/related; type="image/*", image/jpeg;q=0.1',
    );
    t.equal(typed.status, image ? 200 : 406);
    if (image) t.match(typed.type, `multipart/related; type="${image}"`);
    const bulk = await get(`${bridge.dicomWeb}${PATH}/bulkdata/00400275/1/00091010`, 'application/octet-stream');
    t.strictSame([bulk.status, bulk.text], [200, 'value of 00400275/1/00091010']);
    const asPart = await get(
      `${bridge.dicomWeb}${PATH}/bulkdata/7FE00010`,
      'multipart/related; type="application/octet-stream"',
    );
    t.equal(parseMultipart(asPart.type, asPart.body)[0]?.body.toString(), 'value of 7FE00010');
    for (const [path, attribute] of [
      ['frames/0', 'frames'],
      ['frames/1,x', 'frames'],
      ['frames/4', 'frames'],
      ['bulkdata/../../x', 'path'],
      ['bulkdata/..%2F..%2Fetc', 'path'],
      ['bulkdata/7FE00010/0/00091010', 'path'],
    ] as const) {
      const answer = await get(`${bridge.dicomWeb}${PATH}/${path}`.replace('/../../', '/%2e%2e%2f%2e%2e%2f'));
      t.strictSame([answer.status, JSON.parse(answer.text).attribute], [400, attribute], path);
    }
  }
});

test('metadata, compressed where the client takes it, with absolute URLs', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  hold(bridge, 2);
  for (const path of ['/studies/1.2', '/studies/1.2/series/1.2.3', PATH]) {
    for (const [encoding, coding] of [
      ['gzip, deflate', 'gzip'],
      ['identity', null],
      ['gzip;q=0', null],
      ['br', 'br'],
      ['br;q=0.5, zstd;q=0, *;q=0.7', 'gzip'],
      ['gzip, zstd', 'zstd'],
    ] as const) {
      const answer = await get(`${bridge.dicomWeb}${path}/metadata`, 'application/dicom+json', {
        'accept-encoding': encoding,
      });
      t.equal(answer.status, 200);
      t.equal(answer.headers.get('content-encoding'), coding);
      t.match(answer.headers.get('vary'), /Accept-Encoding/);
      t.match(JSON.parse(answer.text), [{ '00081190': { Value: [`${bridge.dicomWeb}/1.2.3.0`] } }]);
    }
  }
  t.equal((await get(`${bridge.dicomWeb}/studies/1.2/metadata`, 'application/json')).type, 'application/json');
  t.equal((await get(`${bridge.dicomWeb}/studies/1.2/metadata`, 'application/dicom+xml')).status, 406);
  t.equal((await get(`${bridge.dicomWeb}/studies/9/metadata`)).status, 404);
});

test('an error before the first byte has its status, one after it cuts the connection', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  hold(bridge, 1, 1_000_000);
  hold(bridge, 1, 1_000_000, { fate: 'damaged' });
  await t.rejects(get(`${bridge.dicomWeb}/studies/1.2`), 'the whole is not there, and that can be seen');
  t.match(bridge.events, [{ event: 'http-answer-cut', fields: { code: 'block-damaged' } }]);
  t.notMatch(JSON.stringify(bridge.events), /1\.2\.3/, 'no UIDs in the log');
  t.equal((await get(`${bridge.dicomWeb}/studies/7`)).status, 404);
  const failing = await startMemoryBridge({
    modules: {
      serve: {
        ...({} as Serve),
        instances: (): never => {
          throw new Error('patient DOE^JANE, study 1.2.3');
        },
      },
    },
  });
  t.teardown(() => failing.close());
  const answer = await get(`${failing.dicomWeb}/studies/1.2`);
  t.strictSame(JSON.parse(answer.text), { type: 'about:blank', title: 'Internal Server Error', status: 500 });
  t.match(failing.events, [
    {
      event: 'http-request-failed',
      fields: { code: 'unexpected', method: 'GET', route: '/dicom-web/studies/:studyInstanceUID' },
    },
  ]);
  t.notMatch(JSON.stringify(failing.events), /DOE|1\.2/);
});

test('a client that goes away stops the reading; one that does not read is waited for', async (t) => {
  const bridge = await startMemoryBridge({ http: { idleTimeoutMs: 300 } });
  t.teardown(() => bridge.close());
  hold(bridge, 100, 1_000_000);
  const total = bridge.stored.reduce((sum, { bytes }) => sum + bytes.length, 0);
  for (const leave of [true, false]) {
    bridge.sent.bytes = 0;
    bridge.sent.left = 0;
    const request = httpRequest(`${bridge.dicomWeb}/studies/1.2`).end();
    request.on('error', () => {});
    const [response] = await once(request, 'response');
    response.on('error', () => {});
    await once(response, 'readable');
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.ok(bridge.sent.bytes < total / 2, `backpressure: ${bridge.sent.bytes} of ${total}`);
    if (leave) request.destroy();
    while (bridge.sent.left === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    t.ok(bridge.sent.bytes < total / 2);
    request.destroy();
  }
});

test('HEAD tells what GET would, and reads nothing', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  hold(bridge, 2, 100);
  for (const path of ['/studies/1.2', '/studies', `${PATH}/metadata`, `${PATH}/frames/1`]) {
    const get = await fetch(`${bridge.dicomWeb}${path}`, { headers: { 'accept-encoding': 'identity' } });
    await get.arrayBuffer();
    bridge.sent.bytes = 0;
    const head = await fetch(`${bridge.dicomWeb}${path}`, {
      method: 'HEAD',
      headers: { 'accept-encoding': 'identity' },
    });
    t.equal(head.status, 200);
    t.equal(await head.text(), '');
    t.equal(head.headers.get('content-length'), get.headers.get('content-length'), path);
    t.equal(bridge.sent.bytes, 0);
  }
  t.equal((await fetch(`${bridge.dicomWeb}/studies/9`, { method: 'HEAD' })).status, 404);
});

test('what a client has is not sent again', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  await stow(bridge.dicomWeb, [instance({}), instance({ sop: '1.2.3.5' })]);
  const at = '/studies/1.2/series/1.2.3/instances/1.2.3.4';
  const get = (path: string, headers: Record<string, string> = {}) => fetch(`${bridge.dicomWeb}${path}`, { headers });
  const single = 'application/dicom; transfer-syntax=*';
  const cases: [path: string, accept: string, strong: boolean, dated: boolean][] = [
    ['/studies/1.2', 'multipart/related; type="application/dicom"', false, true],
    ['/studies/1.2', 'application/zip', false, true],
    [at, single, true, true],
    [`${at}/frames/1`, 'application/octet-stream', true, true],
    [`${at}/frames/1,2`, 'multipart/related; type="application/octet-stream"', false, true],
    [`${at}/bulkdata/7FE00010`, 'application/octet-stream', true, true],
    [`${at}/metadata`, 'application/dicom+json', false, false],
    ['/studies/1.2/metadata', 'multipart/related; type="application/dicom+xml"', false, false],
    ['/../custody/instances/1.2.3.4/versions/1', '*/*', true, true],
  ];
  const tags = new Set<string>();
  for (const [path, accept, strong, dated] of cases) {
    const first = await get(path, { accept });
    t.equal(first.status, 200, path);
    await first.arrayBuffer();
    const etag = first.headers.get('etag') ?? '';
    t.match(etag, strong ? /^"[\w-]{43}"$/ : /^W\/"[\w-]{43}"$/, path);
    tags.add(etag);
    const modified = first.headers.get('last-modified');
    t.equal(modified, dated ? 'Mon, 01 Jan 2024 00:00:00 GMT' : null);
    for (const condition of [etag, `"other", ${etag}`, '*', etag.replace('W/', '')]) {
      const again = await get(path, { accept, 'if-none-match': condition });
      t.strictSame(
        [again.status, again.headers.get('etag'), await again.text()],
        [304, etag, ''],
        `${path} ${condition}`,
      );
    }
    const other = await get(path, { accept, 'if-none-match': '"other"', 'if-modified-since': modified ?? '' });
    t.equal(other.status, 200, 'If-None-Match counts first');
    await other.arrayBuffer();
    if (!dated) continue;
    const since = await get(path, { accept, 'if-modified-since': 'Mon, 01 Jan 2024 00:00:00 GMT' });
    t.equal(since.status, 304);
    const before = await get(path, { accept, 'if-modified-since': 'Sun, 31 Dec 2023 23:59:59 GMT' });
    t.equal(before.status, 200);
    await before.arrayBuffer();
    const nonsense = await get(path, { accept, 'if-modified-since': 'yesterday' });
    t.equal(nonsense.status, 200);
    const head = await fetch(`${bridge.dicomWeb}${path}`, {
      method: 'HEAD',
      headers: { accept, 'if-none-match': etag },
    });
    t.equal(head.status, 304);
  }
  t.equal(tags.size, cases.length, 'each has a tag of its own');

  const { headers } = await get(at, { accept: single });
  const ranged = (condition: string) => get(at, { accept: single, range: 'bytes=0-3', 'if-range': condition });
  t.equal((await ranged(headers.get('etag') ?? '')).status, 206);
  t.equal((await ranged(headers.get('last-modified') ?? '')).status, 206);
  t.equal((await ranged('"other"')).status, 200);
  t.equal((await ranged(`W/${headers.get('etag')}`)).status, 200, 'a weak tag names no bytes');
  t.equal((await ranged('Sun, 31 Dec 2023 23:59:59 GMT')).status, 200);
});
