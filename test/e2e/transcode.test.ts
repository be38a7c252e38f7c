import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { test } from 'tap';
import { compressionOf, decodedLayout, ENCODINGS, encodedLayout } from '../../src/dicom/compression.ts';
import { fromPlanes, pixelLayout, sampleBytes } from '../../src/dicom/pixels.ts';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { corpusFiles, corpusPath, skipCorpus } from '../fixtures/corpus.ts';
import { runTool } from '../fixtures/dcmtk.ts';
import { framesOf } from '../fixtures/frames.ts';
import { datasetOf, metaOf } from '../fixtures/part10.ts';
import { get, type Held, partsOf, storeFiles } from '../fixtures/pixel-client.ts';
import { decodeByReference, REFERENCE_TOOLS } from '../fixtures/reference-decoders.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

const EXPLICIT_LE = '1.2.840.10008.1.2.1';
const DEFLATED = '1.2.840.10008.1.2.1.99';
/** Asked for in every syntax: each kind of pixels once. */
const IN_ALL = [
  'CTImage_1.2.2.dcm',
  'CTImage_1.2.4.51.dcm',
  'US1_J2KR.dcm',
  'ExplVR_BigEnd.dcm',
  'SC_rgb_rle_16bit_2frame.dcm',
];
const NAMES = [
  ...IN_ALL,
  ...[
    'CTImage_1.2.1.99.dcm',
    'CTImage_1.2.4.57.dcm',
    'CTImage_1.2.4.80.dcm',
    'CTImage_1.2.4.90.dcm',
    'MR_small_implicit.dcm',
  ],
  ...['SC_rgb_dcmtk_+eb+cy+s4.dcm', 'SC_rgb_small_odd_big_endian.dcm', 'jpeg_baseline_5f_EOT.dcm'],
  ...['htj2k_rgb_rct_4.202.dcm', 'jxl_lossless_4.110.dcm', 'deflated_image_frame_8.1.dcm', 'video_h264_4.102.dcm'],
];

const skip = skipCorpus || skipWithout(...Object.values(REFERENCE_TOOLS));
let bridge: Bridge;
let held: Held[];
let folder: string;

test('start', { skip }, async () => {
  folder = await makeTempFolder();
  bridge = await startBridge();
  const wanted = corpusFiles('transfer-syntax/').filter(({ path }) => NAMES.includes(path.split('/')[1] as string));
  const bad = corpusFiles('bad/').filter(({ path }) =>
    /jpeg_garbage|rows_too_big|zero_rows|declared_jpeg|pixel_empty/.test(path),
  );
  const named = [...wanted, ...bad].map((file) => ({
    name: file.path.split('/')[1] as string,
    path: corpusPath(file),
  }));
  held = await storeFiles(bridge.dicomWeb, named);
});

/** The instance's samples by pixel as the reference decoder gives them. */
async function reference({ name, file, transferSyntaxUID }: Held): Promise<Uint8Array[] | undefined> {
  const compression = compressionOf(transferSyntaxUID);
  if (compression === undefined || compression === 'deflate' || transferSyntaxUID.endsWith('.98')) return undefined;
  const path = join(folder, name);
  await writeFile(path, file);
  return (await decodeByReference(path, compression, folder)).map(({ pixels }) => pixels);
}

test('frames and instances in every syntax that is offered hold the pixels that others decode', { skip }, async (t) => {
  for (const instance of held.filter(({ name }) => NAMES.includes(name) && !name.startsWith('video'))) {
    const { name, path, transferSyntaxUID, header } = instance;
    const layout = decodedLayout(transferSyntaxUID, pixelLayout(header));
    const expected = await reference(instance);
    const url = `${bridge.dicomWeb}${path}`;
    const samples = layout.samplesPerPixel;
    const byPixel = (pixels: Uint8Array, planar = layout.planar) =>
      planar ? fromPlanes(pixels, samples, sampleBytes(layout)) : pixels;
    const compare = (pixels: Uint8Array | undefined, message: string) => {
      if (expected && name !== 'jxl_lossless_4.110.dcm')
        t.ok(pixels && Buffer.compare(pixels, expected[0] as Uint8Array) === 0, message);
    };

    const octets = `multipart/related; type="application/octet-stream"; transfer-syntax=${EXPLICIT_LE}`;
    const [frame] = partsOf(await get(`${url}/frames/1`, octets));
    t.equal(frame?.headers['content-type'], `application/octet-stream; transfer-syntax=${EXPLICIT_LE}`, name);
    compare(frame && byPixel(new Uint8Array(frame.body)), `${name}: a native frame`);
    const single = await get(`${url}/frames/1`, `application/octet-stream; transfer-syntax=${EXPLICIT_LE}`);
    t.ok(frame && single.body.equals(frame.body), `${name}: the frame as the body`);

    const range = { accept: `application/octet-stream; transfer-syntax=${EXPLICIT_LE}`, range: 'bytes=3-8' };
    const cut = await fetch(`${url}/frames/1`, { headers: range });
    t.same([cut.status, Buffer.from(await cut.arrayBuffer())], [206, frame?.body.subarray(3, 9)], `${name}: a range`);

    for (const syntax of IN_ALL.includes(name) ? [EXPLICIT_LE, DEFLATED, ...ENCODINGS] : [EXPLICIT_LE]) {
      const target = syntax === EXPLICIT_LE || syntax === DEFLATED ? layout : encodedLayout(syntax, layout);
      const answer = await get(url, `application/dicom; transfer-syntax=${syntax}`);
      if (!target) {
        t.equal(answer.status, 406, `${name} as ${syntax}`);
        t.match(JSON.parse(answer.body.toString()).available, [/^multipart\/related; type="application\/dicom"/]);
        continue;
      }
      t.equal(answer.status, 200, `${name} as ${syntax}`);
      t.equal(metaOf(answer.body)['00020010'], syntax);
      if (syntax === DEFLATED) {
        const plain = await get(url, `application/dicom; transfer-syntax=${EXPLICIT_LE}`);
        t.ok(inflateRawSync(datasetOf(answer.body)).equals(datasetOf(plain.body)), `${name}: deflated`);
        continue;
      }
      const file = join(folder, 'transcoded.dcm');
      await writeFile(file, answer.body);
      const written = await framesOf(answer.body);
      t.equal(
        written.layout.photometric,
        syntax === transferSyntaxUID ? pixelLayout(header).photometric : target.photometric,
      );
      const [decoded] = await decodeByReference(file, compressionOf(syntax) ?? 'none', folder);
      compare(decoded?.pixels, `${name} as ${syntax}: pixels`);
      const { code, output } = await runTool('dcmdump', ['-q', '+E', file]);
      t.equal(code, 0, `${name} as ${syntax}: ${output.slice(-200)}`);
    }
  }
});

test('nothing is transcoded that is acceptable as it is stored', { skip }, async (t) => {
  for (const { path, file, transferSyntaxUID } of held) {
    for (const accept of [
      '*/*',
      'application/dicom; transfer-syntax=*',
      `application/dicom; transfer-syntax=${EXPLICIT_LE}; q=1, application/dicom; transfer-syntax=${transferSyntaxUID}; q=0.1`,
    ]) {
      const answer = await get(`${bridge.dicomWeb}${path}`, accept);
      const body = answer.type.startsWith('multipart') ? partsOf(answer)[0]?.body : answer.body;
      t.ok(body?.equals(file), `${transferSyntaxUID}, ${accept}`);
    }
  }
});

test('a series of many syntaxes in one', { skip }, async (t) => {
  const { dicomWeb } = bridge;
  const series = held.find(({ name }) => name === 'CTImage_1.2.4.51.dcm')?.path.replace(/\/instances.*/, '') ?? '';
  const accept = `multipart/related; type="application/dicom"; transfer-syntax=${EXPLICIT_LE}`;
  const parts = partsOf(await get(`${dicomWeb}${series}`, accept));
  t.ok(parts.length > 1);
  for (const { headers, body } of parts) {
    t.equal(headers['content-type'], `application/dicom; transfer-syntax=${EXPLICIT_LE}`);
    t.equal(metaOf(body)['00020010'], EXPLICIT_LE);
  }
});

test('what cannot be decoded is a 406 that says why, and stays retrievable', { skip }, async (t) => {
  for (const name of ['jpeg_garbage.dcm', 'video_h264_4.102.dcm', 'rows_too_big.dcm', 'zero_rows.dcm']) {
    const instance = held.find((each) => each.name === name);
    t.ok(instance, `${name} is held`);
    if (!instance) continue;
    const url = `${bridge.dicomWeb}${instance.path}`;
    if (name !== 'rows_too_big.dcm' && name !== 'zero_rows.dcm') {
      const whole = await get(url, `application/dicom; transfer-syntax=${EXPLICIT_LE}`);
      t.equal(whole.status, 406, `${name}: the whole of it`);
    }
    for (const what of ['/frames/1', '/rendered', '/thumbnail', '/frames/1/rendered']) {
      const accept =
        what.startsWith('/frames/1') && !what.endsWith('rendered')
          ? `application/octet-stream; transfer-syntax=${ENCODINGS[1]}`
          : 'image/jpeg';
      const { status, body } = await get(`${url}${what}`, accept);
      t.ok([400, 404, 406].includes(status), `${name}${what}: ${status} ${body.toString().slice(0, 200)}`);
      t.ok(JSON.parse(body.toString()).rule ?? JSON.parse(body.toString()).detail, `${name}${what} says why`);
    }
    t.ok(
      partsOf(await get(url)).some(({ body }) => body.equals(instance.file)),
      `${name} is retrieved as it was stored`,
    );
  }
});

test('many who ask for the same frame at once', { skip }, async (t) => {
  const instance = held.find(({ name }) => name === 'CTImage_1.2.4.90.dcm') as Held;
  const accept = `application/octet-stream; transfer-syntax=${EXPLICIT_LE}`;
  const answers = await Promise.all(
    Array.from({ length: 40 }, () => get(`${bridge.dicomWeb}${instance.path}/frames/1`, accept)),
  );
  t.ok(answers.every(({ status, body }) => status === 200 && body.equals(answers[0]?.body as Buffer)));
});

test('stop', { skip }, async (t) => {
  const { code } = await bridge.stop();
  t.equal(code, 0);
  t.equal(bridge.output().stderr, '');
  await removeFolder(folder);
});
