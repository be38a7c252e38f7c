import { test } from 'tap';
import { parseMultipart } from '../../../src/dicom/multipart.ts';

type Read = { headers: Record<string, string>; body: string; error?: string | undefined };

/** The bytes in pieces of `size`, counting what was pulled. */
async function* cut(text: string | Buffer, size: number, pulled = { bytes: 0 }): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.isBuffer(text) ? text : Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; at += size) {
    const chunk = bytes.subarray(at, at + size);
    pulled.bytes += chunk.length;
    yield chunk;
  }
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString('latin1');
}

async function parse(text: string | Buffer, boundary: string | undefined, size = 1 << 16): Promise<Read[]> {
  const found: Read[] = [];
  for await (const part of parseMultipart(cut(text, size), boundary)) {
    const error = part.error?.subject.rule;
    found.push({ headers: Object.fromEntries(part.headers), body: await readAll(part.body), ...(error && { error }) });
  }
  return found;
}

const BODY = [
  'a preamble\r\n--b\r\n',
  'Content-Type: application/dicom\r\nX-Folded: one\r\n  two\r\n\r\n',
  'first\r\n--not a boundary\r\n-\r\n--',
  '\r\n--b  \t\r\n\r\n',
  'no header\r\n',
  '\r\n--b\r\nContent-Type: a/b\r\n\r\n\r\n--b\r\nX: empty without a body\r\n\r\n--b--\r\nan epilogue --b\r\n',
].join('');
const PARTS: Read[] = [
  {
    headers: { 'content-type': 'application/dicom', 'x-folded': 'one two' },
    body: 'first\r\n--not a boundary\r\n-\r\n--',
  },
  { headers: {}, body: 'no header\r\n' },
  { headers: { 'content-type': 'a/b' }, body: '' },
  { headers: { x: 'empty without a body' }, body: '' },
];

test('parts, headers, padding, preamble and epilogue, however the body is cut', async (t) => {
  for (let size = 1; size < BODY.length + 1; size++)
    t.strictSame(await parse(BODY, 'b', size), PARTS, `pieces of ${size}`);
  t.strictSame(
    await parse('--b\r\n\r\nx\r\n--b--', 'b', 1),
    [{ headers: {}, body: 'x' }],
    'nothing after the last boundary',
  );
});

test('binary bodies come out as they went in', async (t) => {
  const binary = Buffer.alloc(300_000);
  for (let i = 0; i < binary.length; i++) binary[i] = '\r\n--boun\0'.charCodeAt((i * 7919) % 9);
  const whole = Buffer.concat([Buffer.from('--bounDary\r\nA: b\r\n\r\n'), binary, Buffer.from('\r\n--bounDary--\r\n')]);
  for (const size of [1000, 4096, 65_536, 1 << 20]) {
    const [part] = await parse(whole, 'bounDary', size);
    t.ok(Buffer.from(part?.body ?? '', 'latin1').equals(binary), `pieces of ${size}`);
  }
});

test('what breaks RFC 2046 is named', async (t) => {
  const part = '--b\r\nContent-Type: application/dicom\r\n\r\nbytes';
  const cases: [string, string, string | undefined, RegExp][] = [
    ['no boundary parameter', part, undefined, /boundary of 1 to 256/],
    ['a boundary that is too long', part, 'b'.repeat(257), /boundary of 1 to 256/],
    ['an empty body', '', 'b', /first boundary/],
    ['another boundary', part, 'c', /first boundary/],
    ['an endless preamble', 'x'.repeat(100_000), 'b', /first boundary lies in/],
    ['no parts', '--b--\r\n', 'b', /at least one part/],
    ['cut in the bytes', part, 'b', /boundary ends every part/],
    ['cut in the last boundary', `${part}\r\n--b`, 'b', /last boundary is followed/],
    ['a last boundary with one hyphen', `${part}\r\n--b-`, 'b', /last boundary is followed/],
    ['no last boundary', `${part}\r\n--b\r\n`, 'b', /header of a part is complete/],
    ['cut in a header', `${part}\r\n--b\r\nContent-Ty`, 'b', /header of a part is complete/],
    ['text after a boundary', `${part}\r\n--bc\r\n\r\n--b--`, 'b', /nothing but white space/],
    ['endless padding', `${part}\r\n--b${' '.repeat(1000)}\r\n\r\n--b--`, 'b', /nothing but white space/],
  ];
  for (const [name, text, boundary, rule] of cases) {
    for (const size of [1, 1 << 16]) {
      await t.rejects(parse(text, boundary, size), { code: 'malformed-multipart', subject: { rule } }, name);
    }
  }
});

test('a part whose header is broken is passed over, the ones beside it are read', async (t) => {
  const good = '--b\r\nA: b\r\n\r\ngood';
  for (const [broken, rule] of [
    [`A: ${'x'.repeat(20_000)}\r\n\r\nbytes`, /at most 16384 bytes/],
    ['no blank line', /blank line/],
    ['not a header\r\n\r\nbytes', /name: value/],
  ] as const) {
    const read = await parse(`${good}\r\n--b\r\n${broken}\r\n${good}\r\n--b--`, 'b', 777);
    t.strictSame([read.length, read[0]?.body, read[2]?.body], [3, 'good', 'good']);
    t.match(read[1]?.error, rule);
  }
});

test('the bytes of a cut part reject, again and again, and so does the next part', async (t) => {
  const parts = parseMultipart(cut(`--b\r\n\r\n${'x'.repeat(1000)}`, 100), 'b');
  const { value: part } = await parts.next();
  if (!part) throw new Error('no part');
  await t.rejects(readAll(part.body), { code: 'malformed-multipart' });
  await t.rejects(readAll(part.body), { code: 'malformed-multipart' });
  await t.rejects(parts.next(), { code: 'malformed-multipart' });
});

test('errors of the source pass through', async (t) => {
  async function* broken() {
    yield Buffer.from('--b\r\n\r\nxxxx');
    throw new Error('gone');
  }
  const parts = parseMultipart(broken(), 'b');
  const { value: part } = await parts.next();
  await t.rejects(readAll(part?.body ?? cut('', 1)), /gone/);
  await t.rejects(parts.next(), /gone/);
});

test('the source is pulled only as far as bytes are asked for; what is not read is passed over', async (t) => {
  const pulled = { bytes: 0 };
  const body = `--b\r\n\r\n${'x'.repeat(100_000)}\r\n--b\r\n\r\nsecond\r\n--b--`;
  const parts = parseMultipart(cut(body, 1000, pulled), 'b');
  const { value: first } = await parts.next();
  t.ok(pulled.bytes <= 1000);
  for await (const _ of first?.body ?? []) break;
  t.ok(pulled.bytes <= 2000);
  const { value: second } = await parts.next();
  t.equal(await readAll(second?.body ?? cut('', 1)), 'second');
  t.equal((await parts.next()).done, true);
});
