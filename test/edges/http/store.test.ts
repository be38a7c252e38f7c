import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { test } from 'tap';
import { readNativeModel } from '../../../src/dicom/read-native-model.ts';
import { multipartOf, post, stow } from '../../fixtures/stow.ts';
import { instance, startMemoryBridge } from './memory-bridge.ts';

const boundary = 'bound';
const part = (body: Buffer | string, header = 'Content-Type: application/dicom') =>
  Buffer.concat([Buffer.from(`--${boundary}\r\n${header}\r\n\r\n`), Buffer.from(body), Buffer.from('\r\n')]);
const contentType = `multipart/related; type="application/dicom"; boundary=${boundary}`;
const END = Buffer.from(`--${boundary}--\r\n`);

test('instances of one request are stored and listed in order', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  const files = Array.from({ length: 40 }, (_, i) => instance({ sop: `1.2.3.${i}` }, Buffer.alloc(i * 5000, i)));
  const result = await stow(bridge.dicomWeb, files);
  t.equal(result.status, 200, result.text);
  t.equal(result.contentType, 'application/dicom+json');
  t.strictSame(
    result.stored.map(({ sopInstanceUID }) => sopInstanceUID),
    files.map((_, i) => `1.2.3.${i}`),
  );
  for (const [i, file] of files.entries()) {
    t.ok(bridge.stored.find(({ sopInstanceUID }) => sopInstanceUID === `1.2.3.${i}`)?.bytes.equals(file));
  }
  t.match(bridge.stored[0]?.from, /^http:(::ffff:)?127\.0\.0\.1$/);
  const dataset = JSON.parse(result.text);
  t.strictSame(dataset['00081190'], { vr: 'UR', Value: [`${bridge.dicomWeb}/studies/1.2`] });
  t.strictSame(dataset['00081199'].Value[7]['00081190'].Value, [
    `${bridge.dicomWeb}/studies/1.2/series/1.2.3/instances/1.2.3.7`,
  ]);
});

test('the good instances beside bad ones are stored, and the bad ones are named', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  const body = Buffer.concat([
    part(instance({ sop: '1.1' })),
    part('no instance'),
    part(instance({ sop: '1.2', fate: 'refuse' })),
    part(instance({ sop: '1.3', fate: 'refuse-early' }, Buffer.alloc(3_000_000))),
    part(instance({ sop: '1.4', fate: 'crash' })),
    part('{}', 'Content-Type: application/dicom+json'),
    part(instance({ sop: '1.5' }), 'X-No: type'),
    part(instance({ sop: '1.6' }), `X: ${'x'.repeat(20_000)}`),
    Buffer.from(`--${boundary}\r\nno header at all\r\n`),
    part(instance({ sop: '1.7', fate: 'warn' })),
    END,
  ]);
  const result = await post(bridge.dicomWeb, { contentType, body });
  t.equal(result.status, 202, result.text);
  t.strictSame(bridge.stored.map(({ sopInstanceUID }) => sopInstanceUID).sort(), ['1.1', '1.7']);
  t.strictSame(
    result.stored.map(({ sopInstanceUID }) => sopInstanceUID),
    ['1.1', '1.7'],
  );
  t.equal(result.stored[1]?.reason, 0xb007);
  t.match(result.stored[1]?.text, /PatientID \(0010,0020\): it should not be empty/);
  t.strictSame(
    result.failed.map(({ reason }) => reason?.toString(16)),
    ['c000', 'a900', 'a900', '110', 'c000', 'c000', 'c000', 'c000'],
  );
  t.match(result.failed[0]?.text, /PS3.10 §7.1/);
  t.match(result.failed[1]?.text, /SOPClassUID \(0008,0016\)/);
  t.equal(result.failed[1]?.sopInstanceUID, '1.2');
  t.match(result.failed[4]?.text, /Content-Type of a part is application\/dicom/);
  t.match(result.failed[6]?.text, /at most 16384 bytes/);
  t.match(result.failed[7]?.text, /blank line/);
  const logged = bridge.events.map(({ event, fields }) => `${event} ${(fields as { code: string }).code}`);
  t.equal(logged.filter((line) => line === 'store-failed unexpected').length, 1);
  t.ok(logged.includes('store-refused not-dicom'), 'refusals are logged');
  t.notMatch(JSON.stringify(bridge.events), /1\.[1-7]"/, 'without UIDs');
});

test('statuses where nothing is stored', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  const refused = await stow(bridge.dicomWeb, [instance({ fate: 'refuse' }), Buffer.from('x')]);
  t.equal(refused.status, 409);
  const other = await stow(bridge.dicomWeb, [instance({ study: '9.9' })], '1.2');
  t.strictSame([other.status, other.failed[0]?.reason], [409, 0xa900]);
  t.match(other.failed[0]?.text, /StudyInstanceUID \(0020,000D\)/);
  const busy = await stow(bridge.dicomWeb, [instance({ fate: 'pushback' })]);
  t.strictSame([busy.status, busy.retryAfter, busy.failed[0]?.reason], [503, '7', 0xa700]);
  const typed = await post(bridge.dicomWeb, {
    contentType,
    body: Buffer.concat([part('x', 'Content-Type: text/plain'), END]),
  });
  t.equal(typed.status, 415);
  const fine = await stow(bridge.dicomWeb, [instance({})], '1.2');
  t.equal(fine.status, 200);
});

test('bodies that are not multipart, by the rule they break', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  const file = instance({});
  const whole = Buffer.concat([part(file), END]);
  const cases: [string, string, Buffer, number, RegExp][] = [
    ['no parts', contentType, END, 400, /at least one part/],
    ['empty', contentType, Buffer.alloc(0), 400, /first boundary/],
    ['no boundary parameter', 'multipart/related; type="application/dicom"', whole, 400, /boundary of 1 to 256/],
    ['wrong boundary', contentType.replace(`=${boundary}`, '=other'), whole, 400, /first boundary/],
    ['wrong type', 'text/plain', whole, 415, /multipart\/related/],
    ['no type at all', '', whole, 415, /Content-Type/],
    ['a type that is none', 'dicom', whole, 415, /Unsupported Media Type/],
    ['JSON', 'application/json', Buffer.from('{}'), 415, /multipart\/related/],
    ['metadata that are none', contentType.replace('dicom"', 'dicom+json"'), whole, 400, /a part of metadata/],
  ];
  for (const [name, type, body, status, text] of cases) {
    const result = await post(bridge.dicomWeb, { contentType: type, body });
    t.equal(result.status, status, name);
    t.equal(result.contentType, 'application/problem+json; charset=utf-8', name);
    t.match(result.text, text, name);
    t.match(JSON.parse(result.text), { title: String, status, type: String }, name);
  }
  const other = (header: Record<string, string>) =>
    fetch(`${bridge.dicomWeb}/studies`, {
      method: 'POST',
      headers: { 'content-type': contentType, ...header },
      body: whole,
    });
  const compressed = await other({ 'content-encoding': 'compress' });
  t.equal(compressed.status, 415);
  t.match(await compressed.json(), { attribute: 'Content-Encoding', rule: /gzip, x-gzip, deflate, br, zstd/ });
  const html = await other({ accept: 'text/html' });
  t.equal(html.status, 406);
  t.match(await html.json(), { available: ['application/dicom+json', 'application/json', 'application/dicom+xml'] });
  t.equal(bridge.stored.length, 0);
});

test('a body that breaks off: what came before is stored, the cut part is not', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  const good = part(instance({ sop: '1.1' }));
  const cases: [string, Buffer, RegExp][] = [
    [
      'in the middle of a part',
      Buffer.concat([good, part(instance({ sop: '1.2' }, Buffer.alloc(200_000))).subarray(0, 100_000)]),
      /boundary ends every part/,
    ],
    [
      'without its last boundary',
      Buffer.concat([good, part(instance({ sop: '1.2' })).subarray(0, -2)]),
      /boundary ends every part/,
    ],
    [
      'in a header',
      Buffer.concat([good, part(instance({ sop: '1.2' })).subarray(0, 20)]),
      /header of a part is complete/,
    ],
    ['after a boundary', Buffer.concat([good, Buffer.from(`--${boundary}`)]), /last boundary is followed/],
  ];
  for (const [name, body, rule] of cases) {
    bridge.stored.length = 0;
    const result = await post(bridge.dicomWeb, { contentType, body });
    t.equal(result.status, 202, name);
    t.strictSame(
      result.stored.map(({ sopInstanceUID }) => sopInstanceUID),
      ['1.1'],
      name,
    );
    t.strictSame(
      bridge.stored.map(({ sopInstanceUID }) => sopInstanceUID),
      ['1.1'],
      name,
    );
    t.strictSame(
      result.failed.map(({ reason }) => reason),
      [0xc000],
      name,
    );
    t.match(result.failed[0]?.text, rule, name);
  }
  const alone = await post(bridge.dicomWeb, { contentType, body: part(instance({})).subarray(0, 60) });
  t.strictSame([alone.status, alone.stored.length, alone.failed[0]?.reason], [400, 0, 0xc000]);
});

test('one instance as the body, and HTML forms', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  const large = instance({ sop: '2.1' }, Buffer.alloc(2_000_000, 7));
  const single = await post(bridge.dicomWeb, { contentType: 'application/dicom', body: large }, '1.2');
  t.equal(single.status, 200, single.text);
  t.ok(bridge.stored[0]?.bytes.equals(large));
  const empty = await post(bridge.dicomWeb, { contentType: 'application/dicom', body: Buffer.alloc(0) });
  t.strictSame([empty.status, empty.failed[0]?.reason], [409, 0xc000]);

  const form = new FormData();
  form.set('note', 'not a file');
  form.append('file', new Blob([new Uint8Array(instance({ sop: '2.2' }, Buffer.alloc(1_000_000)))]), 'a.dcm');
  form.append(
    'file',
    new Blob([new Uint8Array(instance({ sop: '2.3', fate: 'refuse-early' }, Buffer.alloc(1_000_000)))]),
    'b.dcm',
  );
  form.append('file', new Blob(['x'], { type: 'text/plain' }), 'c.txt');
  form.append('file', new Blob([new Uint8Array(instance({ sop: '2.4' }))], { type: 'application/dicom' }), 'd.dcm');
  const response = await fetch(`${bridge.dicomWeb}/studies`, { method: 'POST', body: form });
  t.equal(response.status, 202, await response.clone().text());
  const answer = (await response.json()) as Record<string, { Value: unknown[] }>;
  t.strictSame([answer['00081199']?.Value.length, answer['00081198']?.Value.length], [2, 2]);
  t.strictSame(
    bridge.stored.map(({ sopInstanceUID }) => sopInstanceUID),
    ['2.1', '2.2', '2.4'],
  );

  const formType = `multipart/form-data; boundary=${boundary}`;
  const field = (bytes: Buffer) =>
    part(bytes, 'Content-Disposition: form-data; name="f"; filename="f.dcm"\r\nContent-Type: application/dicom');
  const cut = Buffer.concat([
    field(instance({ sop: '2.5' })),
    field(instance({ sop: '2.6' }, Buffer.alloc(300_000))).subarray(0, 200_000),
  ]);
  const broken = await post(bridge.dicomWeb, { contentType: formType, body: cut });
  t.strictSame(
    [broken.status, broken.stored.map(({ sopInstanceUID }) => sopInstanceUID), broken.failed.length],
    [202, ['2.5'], 1],
  );
  t.match(broken.failed[0]?.text, /last boundary/);
  const without = await post(bridge.dicomWeb, {
    contentType: formType,
    body: Buffer.concat([part('1', 'Content-Disposition: form-data; name="a"'), END]),
  });
  t.equal(without.status, 400);
  t.match(without.text, /at least one file/);
});

test('the connection outlives a refused body; a sender that goes away leaves nothing', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  const socket = connect(bridge.address.port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  const head = (type: string, length: number) =>
    `POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n`;
  const body = Buffer.alloc(3_000_000);
  socket.write(head('text/plain', body.length));
  socket.write(body);
  socket.write(head(contentType, body.length));
  socket.write(body);
  const good = Buffer.concat([part(instance({ sop: '3.1' })), END]);
  socket.write(head(contentType, good.length));
  socket.write(good);
  while (!text.includes('00081199')) await once(socket, 'data');
  t.strictSame(
    [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
    ['415', '400', '200'],
  );

  const gone = connect(bridge.address.port, '127.0.0.1');
  gone.write(head(contentType, 10_000_000));
  gone.write(good.subarray(0, -END.length));
  gone.write(part(instance({ sop: '3.2' }, Buffer.alloc(500_000))).subarray(0, 300_000));
  while (!bridge.stored.some(({ sopInstanceUID }) => sopInstanceUID === '3.1'))
    await new Promise((r) => setTimeout(r, 5));
  await new Promise((resolve) => setTimeout(resolve, 30));
  gone.destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.notOk(bridge.stored.some(({ sopInstanceUID }) => sopInstanceUID === '3.2'));
  t.equal((await stow(bridge.dicomWeb, [instance({ sop: '3.3' })])).status, 200);
  t.strictSame(bridge.events, []);
});

test('commits are waited for together, never more than the window', async (t) => {
  let waiting = 0;
  let most = 0;
  const bridge = await startMemoryBridge({
    http: { storeWindow: 4 },
    modules: {
      async ingest({ bytes }) {
        for await (const _ of bytes);
        most = Math.max(most, ++waiting);
        await new Promise((resolve) => setTimeout(resolve, 10));
        waiting--;
        const uids = { sopClassUID: '1', sopInstanceUID: '1', studyInstanceUID: '1', seriesInstanceUID: '1' };
        return { outcome: 'stored', ...uids, warnings: [] };
      },
    },
  });
  t.teardown(() => bridge.close());
  const { status, stored } = await post(bridge.dicomWeb, multipartOf(Array.from({ length: 20 }, () => instance({}))));
  t.strictSame([status, stored.length, most], [200, 20, 4]);
});

test('bodies with a content coding are stored; bombs, broken and too large ones are not', async (t) => {
  const bridge = await startMemoryBridge({ http: { storeMaxBytes: 300_000_000 } });
  t.teardown(() => bridge.close());
  const { contentType: type, body } = multipartOf([
    instance({ sop: '1.1' }, Buffer.alloc(400_000, 1)),
    instance({ sop: '1.2' }),
  ]);
  const send = (coding: string, bytes: Buffer | Readable) =>
    fetch(`${bridge.dicomWeb}/studies`, {
      method: 'POST',
      headers: { 'content-type': type, 'content-encoding': coding },
      body: bytes as unknown as string,
      duplex: 'half',
    } as RequestInit);
  for (const [coding, encode] of Object.entries({
    gzip: gzipSync,
    deflate: deflateSync,
    br: brotliCompressSync,
    zstd: zstdCompressSync,
  })) {
    bridge.stored.length = 0;
    const response = await send(coding, encode(body));
    t.equal(response.status, 200, coding);
    t.equal(bridge.stored.length, 2, coding);
    await response.arrayBuffer();
  }
  const chunked = await send('gzip', Readable.from([gzipSync(body)]));
  t.equal(chunked.status, 200, 'in chunks');
  bridge.stored.length = 0;
  const cases: [string, Buffer, number, RegExp][] = [
    ['no gzip', Buffer.from('no gzip at all'), 400, /compressed as Content-Encoding says/],
    ['cut short', gzipSync(body).subarray(0, 300), 400, /compressed as Content-Encoding says/],
    [
      'a bomb',
      gzipSync(Buffer.concat([body.subarray(0, 300), Buffer.alloc(100_000_000), body.subarray(300)])),
      413,
      /250 times/,
    ],
  ];
  for (const [name, bytes, status, text] of cases) {
    const response = await send('gzip', bytes);
    t.equal(response.status, status, name);
    t.match(await response.text(), text, name);
  }
});

test('a body beyond the setting is 413, whether it announces its length or not', async (t) => {
  const bridge = await startMemoryBridge({ http: { storeMaxBytes: 100_000 } });
  t.teardown(() => bridge.close());
  const { contentType: type, body } = multipartOf([
    instance({ sop: '1.1' }),
    instance({ sop: '1.2' }, Buffer.alloc(200_000)),
  ]);
  const send = (bytes: Buffer | Readable, contentType = type) =>
    fetch(`${bridge.dicomWeb}/studies`, {
      method: 'POST',
      headers: { 'content-type': contentType },
      body: bytes as unknown as string,
      duplex: 'half',
    } as RequestInit);
  const announced = await send(body);
  t.equal(announced.status, 413);
  t.match(await announced.json(), { attribute: 'Content-Length', rule: /100000 bytes \(DAGPACS_STOW_MAX_BYTES\)/ });
  t.equal(bridge.stored.length, 0);
  const chunked = await send(Readable.from([body]));
  t.equal(chunked.status, 202, 'what came before is stored');
  t.match(await chunked.text(), /DAGPACS_STOW_MAX_BYTES/);
  t.strictSame(
    bridge.stored.map(({ sopInstanceUID }) => sopInstanceUID),
    ['1.1'],
  );
  const single = await send(Readable.from([instance({ sop: '1.3' }, Buffer.alloc(200_000))]), 'application/dicom');
  t.equal(single.status, 413);
  const form = new FormData();
  form.append('file', new Blob([instance({ sop: '1.4' }, Buffer.alloc(200_000))]));
  const posted = await fetch(`${bridge.dicomWeb}/studies`, { method: 'POST', body: form });
  t.equal(posted.status, 413);
});

test('the response as a Native DICOM Model', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  const { contentType: type, body } = multipartOf([instance({ sop: '1.1' }), instance({ sop: '1.2', fate: 'refuse' })]);
  const response = await fetch(`${bridge.dicomWeb}/studies`, {
    method: 'POST',
    headers: { 'content-type': type, accept: 'application/dicom+xml' },
    body,
  });
  t.equal(response.status, 202);
  t.equal(response.headers.get('content-type'), 'application/dicom+xml');
  const model = readNativeModel(await response.text());
  t.match(model, {
    '00081198': { vr: 'SQ', Value: [{ '00081155': { Value: ['1.2'] }, '00081197': { vr: 'US', Value: ['43264'] } }] },
    '00081199': { vr: 'SQ', Value: [{ '00081155': { Value: ['1.1'] } }] },
  });
});
