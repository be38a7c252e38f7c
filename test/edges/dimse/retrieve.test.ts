import { hash } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { runTool, startRecorder } from '../../fixtures/dcmtk.ts';
import {
  EXPLICIT_LE,
  JPEG_BASELINE,
  makeSeries,
  makeSlice,
  RLE,
  type SliceOptions,
  uid,
} from '../../fixtures/dicom.ts';
import { datasetOf, metaOf } from '../../fixtures/part10.ts';
import { freePorts } from '../../fixtures/ports.ts';
import { tempFolder } from '../../fixtures/temp.ts';
import { skipWithout } from '../../fixtures/tools.ts';
import { startArchive } from './archive.ts';
import { startAcceptor } from './raw-acceptor.ts';
import { associateRequest, command, data, type RawPeer, rawPeer, readCommandNumbers } from './raw-peer.ts';

const skip = skipWithout('movescu', 'getscu', 'storescp');
const SMALL = { rows: 64, columns: 64 };
const studyUID = (study: number) => uid('study', study);

const slice = (options: SliceOptions) => makeSlice({ ...SMALL, ...options });
const fragments = { fragments: [Buffer.from('not really an image'), Buffer.alloc(3000, 7)] };

/** A storescp that is a known peer, and what a listener needs to know of it. */
async function recorder(t: Test) {
  const folder = join(await tempFolder(t), 'received');
  await mkdir(folder);
  const scp = await startRecorder(folder);
  t.teardown(() => scp.stop());
  const peer = { aeTitle: scp.aeTitle, host: scp.host, port: scp.port, services: [] };
  return { scp, peer };
}

/** Everyone who calls in these tests may do everything. */
const callers = ['MOVESCU', 'GETSCU', 'RAWPEER', 'ORTHANC'].map((aeTitle) => ({
  aeTitle,
  host: '127.0.0.1',
  port: 1,
  services: ['echo', 'store', 'find', 'move', 'get'] as const,
}));

/** By SOP Instance UID, the data set's digest and transfer syntax. */
function contents(files: readonly Uint8Array[]): Record<string, string> {
  return Object.fromEntries(
    files.map((file) => {
      const meta = metaOf(file);
      return [meta['00020003'], `${meta['00020010']} ${hash('sha256', datasetOf(file))}`];
    }),
  );
}

test('C-MOVE sends what is stored, byte for byte, to a destination that is known', { skip }, async (t) => {
  const { scp, peer } = await recorder(t);
  const archive = await startArchive(t, { peers: [peer, ...callers] });
  const files = [
    slice({ instance: 1 }),
    slice({ instance: 2, series: 2, transferSyntaxUID: '1.2.840.10008.1.2' }),
    slice({ instance: 3, series: 2, transferSyntaxUID: '1.2.840.10008.1.2.2' }),
    slice({ instance: 4, transferSyntaxUID: JPEG_BASELINE, encapsulated: fragments }),
    slice({ instance: 5, modality: 'MR', transferSyntaxUID: RLE, encapsulated: fragments }),
    slice({ instance: 6, transferSyntaxUID: '1.2.840.10008.1.2.1.99' }),
    slice({ instance: 7, rows: 600, columns: 600 }),
    slice({ study: 2, instance: 1 }),
  ];
  for (const file of files) await archive.keep(file);
  const move = (...keys: string[]) =>
    runTool('movescu', [
      ...['-d', '-S', '-aem', scp.aeTitle, '-aec', 'DAGPACS', '127.0.0.1', String(archive.to.port)],
      ...keys.flatMap((key) => ['-k', key]),
    ]);
  const moved = await move('QueryRetrieveLevel=STUDY', `StudyInstanceUID=${studyUID(1)}`);
  t.equal(moved.code, 0, moved.output);
  t.match(moved.output, /Completed Suboperations\s*: 7\b/);
  t.strictSame(contents(await scp.files()), contents(files.slice(0, 7)));
  const before = (await scp.files()).length;
  const one = await move(
    'QueryRetrieveLevel=IMAGE',
    `StudyInstanceUID=${studyUID(2)}`,
    `SeriesInstanceUID=${uid('series', 2, 'CT', 1)}`,
    `SOPInstanceUID=${uid('instance', 2, 'CT', 1, 1)}`,
  );
  t.equal(one.code, 0, one.output);
  t.equal((await scp.files()).length, before + 1);
  const none = await move('QueryRetrieveLevel=STUDY', 'StudyInstanceUID=1.2.3');
  t.match(none.output, /0x0000: Success/, 'nothing to move is no failure');
  const noKey = await move('QueryRetrieveLevel=STUDY', 'StudyInstanceUID');
  t.match(noKey.output, /0xa900/);
});

test('C-MOVE to where nobody is', { skip }, async (t) => {
  const [port = 0] = await freePorts(1);
  const gone = { aeTitle: 'GONE', host: '127.0.0.1', port, services: [] };
  const { to, keep } = await startArchive(t, { peers: [gone, ...callers], sendRetries: 1, sendBackoffMs: 1 });
  for (const file of makeSeries({ ...SMALL, count: 3 })) await keep(file);
  const move = (destination: string) =>
    runTool('movescu', [
      ...['-d', '-S', '-aem', destination, '-aec', 'DAGPACS', '127.0.0.1', String(to.port)],
      ...['-k', 'QueryRetrieveLevel=STUDY', '-k', `StudyInstanceUID=${studyUID(1)}`],
    ]);
  t.match((await move('NOBODY')).output, /0xa801/);
  const { output } = await move('GONE');
  t.match(output, /0xa702/);
  t.match(output, /Failed Suboperations\s*: 3\b/);
});

test('C-MOVE to a receiver that takes some', { skip }, async (t) => {
  const { scp, peer } = await recorder(t);
  const { to, keep } = await startArchive(t, { peers: [peer, ...callers] });
  const files = makeSeries({ ...SMALL, count: 4 });
  for (const file of files) await keep(file);
  // One in a transfer syntax that storescp does not know, and nobody can decode.
  await keep(slice({ instance: 9, transferSyntaxUID: '1.2.840.10008.1.2.4.61', encapsulated: fragments }));
  const { output } = await runTool('movescu', [
    ...['-d', '-S', '-aem', scp.aeTitle, '-aec', 'DAGPACS', '127.0.0.1', String(to.port)],
    ...['-k', 'QueryRetrieveLevel=STUDY', '-k', `StudyInstanceUID=${studyUID(1)}`],
  ]);
  t.match(output, /0xb000/);
  t.match(output, /Completed Suboperations\s*: 4\b/);
  t.match(output, /Failed Suboperations\s*: 1\b/);
  t.match(output, new RegExp(`\\(0008,0058\\) UI \\[?${uid('instance', 1, 'CT', 1, 9)}`), 'which one');
  t.strictSame(contents(await scp.files()), contents(files));
});

test('C-GET sends over the association that it came on', { skip }, async (t) => {
  const archive = await startArchive(t);
  const files = makeSeries({ ...SMALL, count: 5 });
  for (const file of files) await archive.keep(file);
  await archive.keep(slice({ instance: 9, transferSyntaxUID: RLE, encapsulated: fragments }));
  const get = async (options: string[], ...keys: string[]) => {
    const folder = await tempFolder(t);
    const args = ['-d', '+B', '-S', '-od', folder, ...options, '-aec', 'DAGPACS', '127.0.0.1', String(archive.to.port)];
    const ran = await runTool('getscu', [...args, ...keys.flatMap((key) => ['-k', key])]);
    const names = await readdir(folder);
    return { ...ran, files: await Promise.all(names.map((name) => readFile(join(folder, name)))) };
  };
  const study = ['QueryRetrieveLevel=STUDY', `StudyInstanceUID=${studyUID(1)}`];
  const got = await get([], ...study);
  t.strictSame(contents(got.files), contents(files));
  t.match(got.output, /0xb000/, 'RLE was not proposed, and what is no RLE cannot be decoded');
  t.match(got.output, /Completed Suboperations\s*: 5\b/);
  t.match(got.output, /Failed Suboperations\s*: 1\b/);
  const compressed = await get(['+xr'], ...study);
  t.ok(compressed.files.some((file) => metaOf(file)['00020010'] === RLE));
  const image = await get(
    [],
    'QueryRetrieveLevel=IMAGE',
    `StudyInstanceUID=${studyUID(1)}`,
    `SeriesInstanceUID=${uid('series', 1, 'CT', 1)}`,
    `SOPInstanceUID=${uid('instance', 1, 'CT', 1, 2)}`,
  );
  t.match(image.output, /0x0000: Success/);
  t.strictSame(contents(image.files), contents(files.slice(1, 2)));
});

/** The identifier of a retrieval of a study, in Explicit VR Little Endian. */
function ofStudy(studyInstanceUID: string): Buffer {
  const value = Buffer.from(`${studyInstanceUID}${studyInstanceUID.length % 2 ? '\0' : ''}`);
  return Buffer.concat([
    Buffer.from([8, 0, 0x52, 0, 0x43, 0x53, 6, 0]),
    Buffer.from('STUDY '),
    Buffer.from([0x20, 0, 0x0d, 0, 0x55, 0x49, value.length, 0]),
    value,
  ]);
}

test('C-GET counts, and stops where it is told to', async (t) => {
  const { to, keep } = await startArchive(t);
  for (const file of makeSeries({ ...SMALL, count: 6 })) await keep(file);
  const CT = '1.2.840.10008.5.1.4.1.1.2';
  const GET = '1.2.840.10008.5.1.4.1.2.2.3';
  const peer = await rawPeer(to.port);
  t.teardown(() => peer.socket.destroy());
  const proposals = [
    { id: 1, abstractSyntax: GET, transferSyntaxes: [EXPLICIT_LE] },
    { id: 3, abstractSyntax: CT, transferSyntaxes: [EXPLICIT_LE] },
  ];
  peer.send(associateRequest(proposals, { roles: { [CT]: [0, 1] } }));
  const accept = await peer.next();
  t.ok(accept?.body.includes(Buffer.concat([Buffer.from(CT), Buffer.of(0, 1)])), 'we may store to it');
  const identifier = ofStudy(studyUID(1));
  const get = command({ 2: GET, 256: 0x10, 272: 7, 1792: 0, 2048: 0 });
  peer.send(Buffer.concat([data(1, 3, get), data(1, 2, identifier)]));
  let stored = 0;
  const pending: unknown[] = [];
  for (;;) {
    const next = (await peer.next())?.body ?? Buffer.alloc(0);
    if (((next[5] ?? 0) & 1) === 0) continue;
    const numbers = readCommandNumbers(next);
    if (numbers[0x0100] === 1) {
      stored++;
      if (stored === 3) peer.send(data(1, 3, command({ 256: 0x0fff, 288: 7, 2048: 0x0101 })));
      // The second is refused.
      const status = stored === 2 ? 0xc000 : 0;
      peer.send(data(3, 3, command({ 2: CT, 256: 0x8001, 288: numbers[0x0110] ?? 0, 2048: 0x0101, 2304: status })));
      continue;
    }
    const told = [numbers[0x0900], numbers[0x1020], numbers[0x1021], numbers[0x1022], numbers[0x1023]];
    if (numbers[0x0900] !== 0xff00) {
      t.strictSame(told, [0xfe00, 3, 2, 1, 0], 'cancelled: remaining, completed, failed, warning');
      t.equal(numbers[0x0800], 0, 'with the list of what failed');
      break;
    }
    pending.push(told);
  }
  t.equal(stored, 3);
  t.strictSame(pending.slice(0, 2), [
    [0xff00, 5, 1, 0, 0],
    [0xff00, 4, 1, 1, 0],
  ]);
});

test('C-GET with another request ahead of the responses to its sub-operations', async (t) => {
  const { to, keep } = await startArchive(t);
  for (const file of makeSeries({ ...SMALL, count: 2 })) await keep(file);
  const [CT, GET] = ['1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.5.1.4.1.2.2.3'];
  const peer = await rawPeer(to.port);
  const proposals = [GET, CT].map((abstractSyntax, i) => ({
    id: 2 * i + 1,
    abstractSyntax,
    transferSyntaxes: [EXPLICIT_LE],
  }));
  peer.send(associateRequest(proposals, { roles: { [CT]: [0, 1] } }));
  await peer.next();
  const get = (id: number) =>
    Buffer.concat([
      data(1, 3, command({ 2: GET, 256: 0x10, 272: id, 1792: 0, 2048: 0 })),
      data(1, 2, ofStudy(studyUID(1))),
    ]);
  peer.send(Buffer.concat([get(7), get(8)]));
  let last: number | undefined;
  for (let next = await peer.next(); next; next = await peer.next()) last = next.type;
  t.equal(last, 7, 'it is aborted: what is waited for would come after what is not read');
});

test('C-MOVE counts what fails, and stops where it is told to', async (t) => {
  const MOVE = '1.2.840.10008.5.1.4.1.2.2.2';
  const peer: { current?: RawPeer } = {};
  const { port, requests } = await startAcceptor(t, (_, count) => {
    if (count === 4) peer.current?.send(data(1, 3, command({ 256: 0x0fff, 288: 7, 2048: 0x0101 })));
    // The second is refused, the third kept with a warning.
    return [0, 0xc000, 0xb000, 0][count - 1] ?? 0;
  });
  const there = { aeTitle: 'THERE', host: '127.0.0.1', port, services: [] };
  const options = { peers: [there, ...callers], sendAssociations: 1 };
  const { to, keep } = await startArchive(t, options);
  for (const file of makeSeries({ ...SMALL, count: 12 })) await keep(file);
  peer.current = await rawPeer(to.port);
  t.teardown(() => peer.current?.socket.destroy());
  peer.current.send(associateRequest([{ id: 1, abstractSyntax: MOVE, transferSyntaxes: [EXPLICIT_LE] }]));
  await peer.current.next();
  // Move Destination is AE: padded by a space.
  const move = command({ 2: MOVE, 256: 0x21, 272: 7, 1536: 'THERE ', 1792: 0, 2048: 0 });
  peer.current.send(Buffer.concat([data(1, 3, move), data(1, 2, ofStudy(studyUID(1)))]));
  const told: (number | undefined)[][] = [];
  do {
    const numbers = readCommandNumbers((await peer.current.next())?.body ?? Buffer.alloc(0));
    told.push([0x0900, 0x1020, 0x1021, 0x1022, 0x1023].map((each) => numbers[each]));
  } while (told.at(-1)?.[0] === 0xff00);
  t.strictSame(told.slice(0, 3), [
    [0xff00, 11, 1, 0, 0],
    [0xff00, 10, 1, 1, 0],
    [0xff00, 9, 1, 1, 1],
  ]);
  const [status, remaining = 0, completed = 0, failed, warning] = told.at(-1) ?? [];
  t.strictSame([status, failed, warning], [0xfe00, 1, 1], 'cancelled');
  t.equal(remaining + completed, 10);
  t.equal(requests.length, 12 - remaining, 'nothing more is sent');
  t.ok(remaining > 0, `${remaining} are left`);
});
