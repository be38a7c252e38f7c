import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'tap';
import { openApiDocument, operations } from '../../../src/edges/http/openapi.ts';
import { httpDefaults } from '../../../src/edges/http/options.ts';
import { startHttp } from '../../../src/edges/http/server.ts';
import type { CustodyStatus } from '../../../src/flows/serve/custody.ts';
import { stow } from '../../fixtures/stow.ts';
import { instance, startMemoryBridge } from './memory-bridge.ts';

/** Sends bytes and reads until the server closes, or `until` is found. */
async function raw(port: number, text: string, until?: RegExp): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    answer += chunk;
    if (until?.test(answer)) socket.destroy();
  });
  socket.on('error', () => {});
  socket.write(text);
  await once(socket, 'close');
  return answer;
}

test('the committed OpenAPI document is the one that the schemas make, and every operation has its route', async (t) => {
  const committed = await readFile(join(import.meta.dirname, '../../../openapi/openapi.json'), 'utf8');
  t.equal(committed, `${JSON.stringify(openApiDocument(), null, 2)}\n`, 'npm run openapi brings it up to date');
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  t.strictSame(await (await fetch(`${bridge.url}/openapi.json`)).json(), openApiDocument());
  const ids = new Set(operations.map(({ id }) => id));
  t.equal(ids.size, operations.length, 'each has a name of its own');
  for (const { path, method } of operations) {
    // Values that break every rule of a parameter: a route answers 400 or 200 or 415, no route 404 or 405.
    const url = `${bridge.url}${path.replace(/\{[^}]+\}/g, 'x')}`;
    const response = await fetch(url, { method });
    t.notMatch([404, 405], [response.status], `${method} ${path}: ${response.status}`);
    const other = await fetch(url, { method: 'PUT' });
    t.equal(other.status, 405);
    t.match(other.headers.get('allow'), method);
  }
});

test('health, root and custody', async (t) => {
  let isReady = false;
  const bridge = await startMemoryBridge({ modules: { ready: () => isReady } });
  t.teardown(() => bridge.close());
  const json = async (path: string) => {
    const response = await fetch(`${bridge.url}${path}`);
    return [response.status, await response.json()];
  };
  t.strictSame(await json('/health/live'), [200, { status: 'live' }]);
  t.strictSame(await json('/health/ready'), [503, { status: 'not-ready' }]);
  isReady = true;
  t.strictSame(await json('/health/ready'), [200, { status: 'ready' }]);
  t.match(await json('/'), [200, { name: 'DagPACS', dicomweb: bridge.dicomWeb }]);
  await stow(bridge.dicomWeb, [instance({})]);
  t.match(await json('/custody/status'), [
    200,
    { stages: { stored: 1 }, swarm: { state: 'off' } } satisfies Partial<CustodyStatus> | object,
  ]);
  t.match(await json('/custody/instances/1.2.3.4'), [200, { studyInstanceUID: '1.2', versions: [] }]);
  t.match(await json('/custody/instances/9'), [404, { type: 'urn:dagpacs:error:not-found', status: 404 }]);
  t.match(await json('/custody/instances/abc'), [400, { attribute: 'sopInstanceUID' }]);
  t.match(await json('/custody/instances/1.2.3.4/versions/0'), [400, { attribute: 'version' }]);
  t.match(await json('/custody/batches?limit=1'), [200, [{ sequence: 0 }]]);
  t.strictSame(await json('/custody/batches?before=0'), [200, []]);
  t.match(await json('/custody/batches?limit=0'), [400, { attribute: 'limit' }]);
  t.match(await json(`/custody/batches/0x${'ab'.repeat(32)}`), [200, { count: 1 }]);
  t.match(await json(`/custody/batches/0x${'00'.repeat(32)}`), [404, {}]);
  t.match(await json('/custody/batches/1'), [400, { attribute: 'id' }]);
  t.match(await json('/nowhere'), [404, { title: 'Not Found' }]);
});

test('URLs in answers are the ones that the client sees', async (t) => {
  const rows = ['{"00081190":{"vr":"UR","Value":["retrieve:/studies/1"]}}'];
  const urlFor = async (http: object, headers: Record<string, string>) => {
    const bridge = await startMemoryBridge({ http, rows });
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const answer = await raw(
      bridge.address.port,
      `GET /dicom-web/studies HTTP/1.1\r\nConnection: close\r\n${lines.join('')}\r\n`,
    );
    await bridge.close();
    return /retrieve|http:\/\/[^"]*|https:\/\/[^"]*|"attribute":"[^"]*"/
      .exec(answer)?.[0]
      .replace('/dicom-web/studies/1', '');
  };
  const proxy = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'pacs.example', 'X-Forwarded-Prefix': '/bridge/' };
  t.equal(await urlFor({}, { Host: 'localhost:99' }), 'http://localhost:99');
  t.equal(await urlFor({}, { Host: '[::1]:99' }), 'http://[::1]:99');
  t.match(
    await urlFor({}, { Host: '127.0.0.1' }),
    /^http:\/\/127\.0\.0\.1:\d+$/,
    'the port that a client has left out',
  );
  t.equal(await urlFor({}, { Host: 'localhost', Via: '1.1 x' }), 'http://localhost', 'a proxy may have another');
  t.equal(await urlFor({}, { Host: 'h', ...proxy }), 'http://h', 'a proxy is not believed by itself');
  t.equal(await urlFor({ trustProxy: true }, { Host: 'h', ...proxy }), 'https://pacs.example/bridge');
  t.equal(
    await urlFor(
      { trustProxy: true },
      { Host: 'h', Forwarded: 'for=1.2.3.4;proto=https;host="a.example:8443", for=x' },
    ),
    'https://a.example:8443',
  );
  t.equal(await urlFor({ trustProxy: true }, { Host: 'h', 'X-Forwarded-Host': 'first, second' }), 'http://first');
  t.equal(
    await urlFor({ publicUrl: 'https://pacs.example/bridge/' }, { Host: 'h', ...proxy }),
    'https://pacs.example/bridge',
  );
  t.equal(await urlFor({}, { Host: 'a"b' }), '"attribute":"Host"');
  t.equal(
    await urlFor({ trustProxy: true }, { Host: 'h', 'X-Forwarded-Prefix': '//evil.example/<' }),
    '"attribute":"X-Forwarded-Prefix"',
  );
  t.equal(
    await urlFor({ trustProxy: true }, { Host: 'h', 'X-Forwarded-Proto': 'ftp' }),
    '"attribute":"X-Forwarded-Proto"',
  );
});

test('pages of other origins do what they may', async (t) => {
  const bridge = await startMemoryBridge({ http: { corsOrigins: ['https://viewer.example'] } });
  t.teardown(() => bridge.close());
  const at = `${bridge.dicomWeb}/studies`;
  const ask = (origin: string, method: string, headers = {}) => fetch(at, { method, headers: { origin, ...headers } });
  const preflight = await ask('https://viewer.example', 'OPTIONS', {
    'access-control-request-method': 'GET',
    'access-control-request-headers': 'authorization',
  });
  t.equal(preflight.status, 204);
  t.equal(preflight.headers.get('access-control-allow-origin'), 'https://viewer.example');
  t.equal(preflight.headers.get('access-control-allow-headers'), 'authorization');
  const read = await ask('https://viewer.example', 'GET');
  t.equal(read.headers.get('access-control-allow-origin'), 'https://viewer.example');
  t.match(read.headers.get('vary'), /Origin/);
  t.equal(read.headers.get('x-content-type-options'), 'nosniff');
  t.equal(read.headers.get('cache-control'), 'private, no-cache');
  const other = await ask('https://evil.example', 'GET');
  t.equal(other.headers.get('access-control-allow-origin'), null);
  t.equal((await ask('https://evil.example', 'OPTIONS')).headers.get('access-control-allow-origin'), null);
  const form = new FormData();
  form.set('file', new Blob([new Uint8Array(instance({}))]), 'a.dcm');
  const send = (origin: string) => fetch(at, { method: 'POST', headers: { origin }, body: form });
  t.equal((await send('https://evil.example')).status, 403);
  t.equal((await send('null')).status, 403);
  t.equal(bridge.stored.length, 0);
  t.equal((await send('https://viewer.example')).status, 200);
  t.equal((await send(bridge.url)).status, 200);
  const open = await startMemoryBridge({ http: { corsOrigins: ['*'] } });
  t.teardown(() => open.close());
  const anyone = await fetch(`${open.dicomWeb}/studies`, { headers: { origin: 'https://x.example' } });
  t.equal(anyone.headers.get('access-control-allow-origin'), '*');
});

test('what is no HTTP, too large or too slow is ended', async (t) => {
  const bridge = await startMemoryBridge({ http: { headersTimeoutMs: 200, idleTimeoutMs: 2000 } });
  t.teardown(() => bridge.close());
  const { port } = bridge.address;
  t.match(await raw(port, 'HELLO\r\n\r\n'), /^HTTP\/1\.1 400 .*application\/problem\+json/s);
  t.match(await raw(port, `GET /${'x'.repeat(40_000)} HTTP/1.1\r\nHost: x\r\n\r\n`), /^HTTP\/1\.1 431 /);
  t.match(await raw(port, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
  t.match(
    await raw(port, 'GET /dicom-web/%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1\.1 400 .*problem\+json/s,
  );
  t.match(
    await raw(port, `GET /dicom-web/studies/${'1'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
    /^HTTP\/1\.1 400 .*studyInstanceUID/s,
  );
  const trickling = connect(port, '127.0.0.1', () => trickling.write('GET / HTTP/1.1\r\nHost: x\r\nX-Long: '));
  const timer = setInterval(() => trickling.write('x'), 50);
  const answer = (await trickling.toArray()).join('');
  clearInterval(timer);
  t.match(answer, /^HTTP\/1\.1 408 /, 'a header that comes byte by byte');
  const idle = await startMemoryBridge({ http: { idleTimeoutMs: 100 } });
  t.teardown(() => idle.close());
  const slow =
    'POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\nContent-Length: 999\r\n\r\nINST';
  t.notMatch(await raw(idle.address.port, slow), / 200 /, 'a body that stops coming');
  t.equal(idle.stored.length, 0);
});

test('what the parser lets pass and no rule does is named: names, encodings, methods', async (t) => {
  const bridge = await startMemoryBridge({ http: { publicUrl: 'https://pacs.example/x' } });
  t.teardown(() => bridge.close());
  const ask = (line: string, headers: string, body = '') =>
    raw(bridge.address.port, `${line} HTTP/1.1\r\n${headers}Connection: close\r\n\r\n${body}`);
  const own = 'Host: localhost:80\r\n';
  for (const host of ['127.0.0.1:1', '[::1]', 'localhost', 'a.localhost:80', 'pacs', 'pacs.example'])
    t.match(await ask('GET /health/live', `Host: ${host}\r\n`), / 200 /, host);
  // A page whose name is made to point here after it was loaded (DNS rebinding).
  t.match(await ask('GET /dicom-web/studies', 'Host: evil.example\r\n'), / 421 .*DAGPACS_PUBLIC_URL/s);
  t.match(await ask('GET /dicom-web/studies', 'Host: 127.0.0.1.evil.example\r\n'), / 421 /);
  const proxied = await startMemoryBridge({ http: { trustProxy: true } });
  t.teardown(() => proxied.close());
  t.match(
    await raw(proxied.address.port, 'GET /health/live HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\n\r\n'),
    / 200 /,
  );
  t.match(await ask('GET /health/live', ''), / 400 .*"attribute":"Host"/s);
  t.match(await ask('GET /health/live', `${own}${own}`), / 400 .*"attribute":"Host"/s);
  t.match(await ask('GET /dicom-web/studies?limit=1&PatientName=%ff', own), / 400 .*"attribute":"PatientName"/s);
  t.match(await ask('GET /dicom-web/studies?100%', own), / 400 .*"attribute":"100%"/s);
  t.match(await ask('GET /dicom-web/studies/%', own), / 400 .*"attribute":"path"/s);
  t.match(
    await ask('POST /dicom-web/studies', `${own}Transfer-Encoding: gzip, chunked\r\n`, '0\r\n\r\n'),
    / 400 .*"attribute":"Transfer-Encoding"/s,
  );
  for (const method of ['TRACE', 'PROPFIND', 'LINK'])
    t.match(await ask(`${method} /dicom-web/studies/1.2?x=1`, own), / 405 .*allow: DELETE, GET, HEAD, OPTIONS, POST/s);
  t.match(await ask('LINK /nowhere', own), / 404 /);
});

test('a sender that waits with its body is asked for it when it is wanted, and not before it is refused', async (t) => {
  const bridge = await startMemoryBridge({ http: { storeMaxBytes: 1_000_000 } });
  t.teardown(() => bridge.close());
  const head = (type: string, length: number) =>
    `POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n` +
    'Expect: 100-continue\r\n\r\n';
  const { port } = bridge.address;
  t.match(await raw(port, head('text/plain', 10)), /^HTTP\/1\.1 415 .*connection: close/s);
  t.match(await raw(port, head('application/dicom', 2_000_000)), /^HTTP\/1\.1 413 .*connection: close/s);
  t.match(await raw(port, head('application/dicom', 10), /100 Continue\r\n\r\n$/), /^HTTP\/1\.1 100 Continue\r\n\r\n$/);
  const form = 'multipart/form-data; boundary=b';
  t.match(await raw(port, head(form, 10), /100 Continue/), /^HTTP\/1\.1 100 Continue/);
});

test('a drain lets what is in flight finish, and no more', async (t) => {
  let finish: () => void = () => {};
  const held = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const uids = { sopClassUID: '1', sopInstanceUID: '1', studyInstanceUID: '1', seriesInstanceUID: '1' };
  const modules = {
    ingest: async ({ bytes }: { bytes: AsyncIterable<Uint8Array> }) => {
      for await (const _ of bytes);
      await held;
      return { outcome: 'stored' as const, ...uids, warnings: [] };
    },
  };
  const bridge = await startMemoryBridge({ modules });
  await fetch(`${bridge.url}/health/live`).then((response) => response.text());
  const storing = stow(bridge.dicomWeb, [instance({})]);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const drained = bridge.drain(10_000);
  await t.rejects(
    raw(bridge.address.port, 'GET / HTTP/1.1\r\n\r\n').then((text) => text || Promise.reject(new Error('closed'))),
  );
  finish();
  t.equal((await storing).status, 200);
  await drained;

  let arrived: () => void = () => {};
  const inside = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const stuck = await startMemoryBridge({
    modules: {
      ingest: () => {
        arrived();
        return new Promise(() => {});
      },
    },
  });
  const never = stow(stuck.dicomWeb, [instance({})]);
  const failed = t.rejects(never);
  await inside;
  await stuck.drain(50);
  await failed;
});

test('a port that is taken is an error', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  await t.rejects(startHttp({ ...httpDefaults, port: bridge.address.port }, {} as never), { code: 'EADDRINUSE' });
});
