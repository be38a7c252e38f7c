import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { badFiles, REFUSED, STORED } from '../fixtures/bad-files.ts';
import { type Bridge, isAlive, startBridge } from '../fixtures/bridge.ts';
import { corpusFiles, corpusPath, readCorpusFile, skipCorpus } from '../fixtures/corpus.ts';
import { allVersions } from '../fixtures/custody.ts';
import { dcmsend, identify } from '../fixtures/dcmtk.ts';
import { EXPLICIT_LE, makeSlice, uid } from '../fixtures/dicom.ts';
import { datasetOf, metaOf } from '../fixtures/part10.ts';
import { connectScu } from '../fixtures/raw-scu.ts';
import { multipartOf, post, type StowResult, stow } from '../fixtures/stow.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const small = { rows: 16, columns: 16 };

/** A bridge whose temporary folder is watched. */
async function startWatched(t: { teardown(fn: () => unknown): void }) {
  const scratch = await makeTempFolder();
  const bridge = await startBridge({ env: { TMPDIR: scratch } });
  t.teardown(async () => {
    await bridge.stop();
    await removeFolder(scratch);
  });
  const places = async () => [
    ...(await readdir(bridge.dataDir, { recursive: true })),
    ...(await readdir(scratch, { recursive: true })),
  ];
  /** Files that look like leftovers: what the bridge did not have before, beyond what grows by design. */
  const before = new Set(await places());
  const leftovers = async () =>
    (await places()).filter((path) => !before.has(path) && !/^(blocks|vault|chain)(\/|$)|index\.sqlite/.test(path));
  return { bridge, leftovers };
}

const lives = async (bridge: Bridge) =>
  isAlive(bridge.pid) && (await fetch(`${bridge.url}/health/ready`)).status === 200;

let neighbours = 0;
const neighbour = () => makeSlice({ ...small, study: 'neighbour', instance: ++neighbours });

/** Stores a file between two good ones, and says what became of it, and what is wrong with the answer. */
async function between(bridge: Bridge, bytes: Buffer): Promise<{ refusal?: StowResult['failed'][0]; wrong?: string }> {
  const answer = await stow(bridge.dicomWeb, [neighbour(), bytes, neighbour()]);
  const sops = [neighbours - 1, neighbours].map((instance) => uid('instance', 'neighbour', 'CT', 1, instance));
  const stored = answer.stored.map(({ sopInstanceUID }) => sopInstanceUID);
  const [refusal] = answer.failed;
  if (!sops.every((sop) => stored.includes(sop)))
    return { wrong: `neighbours not stored: ${answer.status} ${answer.text}` };
  if (refusal === undefined) {
    return answer.stored.length === 3 && [200, 202].includes(answer.status)
      ? {}
      : { wrong: `${answer.status} ${answer.text}` };
  }
  if (answer.status !== 202) return { refusal, wrong: `status ${answer.status} where one of three failed` };
  if (refusal.reason === undefined) return { refusal, wrong: `no Failure Reason: ${refusal.text}` };
  return { refusal };
}

test('bad files made by code', async (t) => {
  const { bridge, leftovers } = await startWatched(t);
  for (const { name, bytes, names } of badFiles()) {
    const { refusal, wrong } = await between(bridge, bytes);
    t.equal(wrong, undefined, name);
    if (names === undefined) t.equal(refusal, undefined, `${name}: stored`);
    else t.match(refusal?.text, names, `${name}: refused, and says why`);
    if (names === undefined) continue;
    const alone = await stow(bridge.dicomWeb, [bytes]);
    t.ok([400, 409].includes(alone.status), `${name}, alone: ${alone.status}`);
    t.match(alone.text, names);
  }
  t.ok(await lives(bridge));
  t.strictSame(await leftovers(), []);
});

test('bad files of the corpus', { skip: skipCorpus || skipWithout('dcmdump', 'dcmsend') }, async (t) => {
  const { bridge, leftovers } = await startWatched(t);
  const files = corpusFiles('bad/');
  const refusals: string[] = [];
  for (const file of files) {
    const { refusal, wrong } = await between(bridge, readCorpusFile(file));
    if (wrong !== undefined) t.fail(`${file.path}: ${wrong}`);
    if (refusal) refusals.push(`${file.path}: ${refusal.text}`);
    const expected = REFUSED[file.path];
    if (expected) t.match(refusal?.text, expected, `${file.path} is refused, and it says why`);
    if (STORED.includes(file.path)) t.equal(refusal?.text, undefined, `${file.path} is stored`);
    if (refusal && !expected) t.match(refusal.text, /PS3\.|UID/, `${file.path}: names the rule`);
  }
  t.comment(`refused ${refusals.length} of ${files.length}:\n${refusals.join('\n')}`);

  await dcmsend(bridge.dimse, files.map(corpusPath));
  t.ok(await lives(bridge), 'it lives after DCMTK sent what it can read of them');

  const identities = await identify(files.map(corpusPath));
  const answers: string[] = [];
  for (const file of files) {
    const bytes = readCorpusFile(file);
    const { sopClassUID, sopInstanceUID } = identities.get(corpusPath(file)) ?? {};
    if (bytes.toString('latin1', 128, 132) !== 'DICM' || !sopClassUID || !sopInstanceUID) continue;
    const instance = {
      sopClassUID,
      sopInstanceUID,
      transferSyntaxUID: metaOf(bytes)['00020010'] || EXPLICIT_LE,
      dataset: datasetOf(bytes),
    };
    const scu = await connectScu(bridge.dimse, [instance]);
    const { status, comment } = await scu
      .store(instance)
      .catch((error: Error) => ({ status: -1, comment: error.message }));
    answers.push(`${file.path} ${status.toString(16)} ${comment}`);
    const known = status === 0 || [0xb, 0xc].includes(status >> 12) || [0xa900, 0x0111, 0x0117].includes(status);
    if (!known && !/presentation context refused/.test(comment))
      t.fail(`${file.path}: status ${status.toString(16)} ${comment}`);
    if (status === 0) {
      const versions = await allVersions(bridge.url, sopInstanceUID).catch(() => []);
      t.ok(
        versions.some((each) => datasetOf(each).equals(instance.dataset)),
        `${file.path} by C-STORE comes back`,
      );
    }
    scu.drop();
  }
  t.comment(`C-STORE: ${answers.join('\n')}`);
  t.ok(await lives(bridge));
  t.strictSame(await leftovers(), []);
});

/** Writes an HTTP request as it is, and returns the status, or 0 where the connection ended without one. */
function sendRaw(
  bridge: Bridge,
  head: string,
  body: Uint8Array,
  close: boolean,
): Promise<{ status: number; text: string }> {
  const { hostname, port } = new URL(bridge.url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    let text = '';
    const end = () => resolve({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), text });
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
    socket.on('error', end).on('close', end);
    socket.write(
      `POST /dicom-web/studies HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: close\r\nAccept: application/dicom+json\r\n${head}\r\n\r\n`,
    );
    socket.write(body, () => {
      // The sender goes away in the middle of its body.
      if (close) setTimeout(() => socket.destroy(), 100);
    });
  });
}

test('bad multipart bodies', async (t) => {
  const { bridge, leftovers } = await startWatched(t);
  const boundary = 'frontier';
  const type = `multipart/related; type="application/dicom"; boundary=${boundary}`;
  const { body } = multipartOf(
    [
      makeSlice({ ...small, study: 'multipart', instance: 1 }),
      makeSlice({ ...small, study: 'multipart', instance: 2 }),
    ],
    boundary,
  );
  const file = makeSlice({ ...small, study: 'multipart', instance: 3 });
  const part = (headers: string) =>
    Buffer.concat([Buffer.from(`--${boundary}\r\n${headers}\r\n`), file, Buffer.from(`\r\n--${boundary}--\r\n`)]);
  const isStored = async (instance: number) =>
    (await fetch(`${bridge.url}/custody/instances/${uid('instance', 'multipart', 'CT', 1, instance)}`)).status === 200;

  const cases: [name: string, contentType: string, body: Buffer, statuses: number[]][] = [
    ['cut in the second part', type, body.subarray(0, body.length - 700), [202, 400]],
    ['without the last boundary', type, body.subarray(0, body.length - boundary.length - 8), [202, 400]],
    [
      'a huge part header',
      type,
      part(`Content-Type: application/dicom\r\nX-Long: ${'x'.repeat(1 << 20)}\r\n`),
      [400, 413, 431],
    ],
    [
      'endless part headers',
      type,
      part(`Content-Type: application/dicom\r\n${'X-Many: y\r\n'.repeat(100_000)}`),
      [400, 413, 431],
    ],
    ['a part of another type', type, part('Content-Type: text/plain\r\n'), [400, 409, 415]],
    ['no parts', type, Buffer.from(`--${boundary}--\r\n`), [400]],
    ['an empty body', type, Buffer.alloc(0), [400]],
    ['another boundary', type.replace('frontier', 'elsewhere'), body, [400]],
    ['no boundary', 'multipart/related; type="application/dicom"', body, [400, 415]],
    ['JSON', 'application/json', Buffer.from('{}'), [415]],
    ['another multipart', `multipart/mixed; boundary=${boundary}`, body, [415]],
    ['a type that is not taken', type.replace('application/dicom', 'application/pdf'), body, [415]],
  ];
  for (const [name, contentType, sent, statuses] of cases) {
    const answer = await post(bridge.dicomWeb, { contentType, body: sent });
    t.ok(statuses.includes(answer.status), `${name}: ${answer.status}`);
    if (answer.status >= 400 && answer.failed.length === 0) {
      t.match(answer.contentType, 'application/problem+json', `${name}: a problem`);
      t.match(
        JSON.parse(answer.text),
        { type: String, title: String, status: answer.status, detail: String },
        answer.text,
      );
    }
    t.ok(await lives(bridge), `${name}: it lives`);
  }
  t.ok(await isStored(1), 'the whole instance before the cut is stored');
  t.notOk(await isStored(3));

  const missing = await post(bridge.dicomWeb, { contentType: type, body: part('') });
  t.ok([200, 400, 409, 415].includes(missing.status), `a part without headers: ${missing.status}`);

  const { body: last } = multipartOf(
    [
      makeSlice({ ...small, study: 'multipart', instance: 4 }),
      makeSlice({ ...small, study: 'multipart', instance: 5 }),
    ],
    boundary,
  );
  const gone = await sendRaw(
    bridge,
    `Content-Type: ${type}\r\nContent-Length: ${last.length}`,
    last.subarray(0, last.length - 500),
    true,
  );
  t.equal(gone.status, 0, 'a sender that goes away hears nothing');
  const chunked = await sendRaw(
    bridge,
    `Content-Type: ${type}\r\nTransfer-Encoding: chunked`,
    Buffer.from('zz\r\nnot a chunk'),
    false,
  );
  t.equal(chunked.status, 400, 'a chunk that is none');
  await sleep(300);
  t.notOk(await isStored(5), 'half an instance is not stored');
  t.equal((await stow(bridge.dicomWeb, [file])).status, 200, 'and it goes on');
  t.ok(await lives(bridge));
  t.strictSame(await leftovers(), []);
});

test('an association that is dropped in the middle of a data set', async (t) => {
  const { bridge, leftovers } = await startWatched(t);
  const wire = (instance: number) => ({
    sopClassUID: CT,
    sopInstanceUID: uid('instance', 'dropped', 'CT', 1, instance),
    transferSyntaxUID: EXPLICIT_LE,
    dataset: datasetOf(makeSlice({ study: 'dropped', instance })),
  });
  for (const length of [0, 10, 500, 300_000]) {
    const scu = await connectScu(bridge.dimse, [wire(1)]);
    t.equal((await scu.store(wire(1))).status, 0);
    await scu.storePart(wire(2), length);
    scu.drop();
  }
  await sleep(300);
  t.ok(await lives(bridge));
  t.equal(
    (await fetch(`${bridge.url}/custody/instances/${wire(2).sopInstanceUID}`)).status,
    404,
    'half of it is not stored',
  );
  t.equal((await allVersions(bridge.url, wire(1).sopInstanceUID)).length, 1, 'what was whole is');
  const scu = await connectScu(bridge.dimse, [wire(2)]);
  t.equal((await scu.store(wire(2))).status, 0, 'the next association stores it');
  await scu.release();
  t.strictSame(await leftovers(), []);
});
