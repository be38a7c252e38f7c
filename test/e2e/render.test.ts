import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { test } from 'tap';
import { peakMemory } from '../bench/memory.ts';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { startBrowser } from '../fixtures/browser.ts';
import { corpusPath, skipCorpus } from '../fixtures/corpus.ts';
import { crop, decodePicture, difference, type Picture, renderByReference } from '../fixtures/pictures.ts';
import { get, type Held, partsOf, storeFiles } from '../fixtures/pixel-client.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

const skip = skipCorpus || skipWithout('dcmj2pnm', 'chromium');
const CT = 'transfer-syntax/CTImage_1.2.1.dcm';
const MOVING = 'multiframe/59a8402_I_000003.dcm';
const US = 'transfer-syntax/US1_J2KR.dcm';
const VIDEO = 'transfer-syntax/video_h264_4.102.dcm';
const PDF = 'objects/synthetic/encapsulated_pdf_tiny.dcm';
const ONE_BIT = ['objects/seg/liver_nonbyte_aligned.dcm', 'objects/seg/liver_nonbyte_aligned_rle.dcm'];
const REPORT = 'objects/sr/sr.dcm';

/** File, what is asked for, what DCMTK is asked for, and how far they may differ. */
const CASES: [file: string, query: string, options: string[], tolerance: number][] = [
  [CT, '', ['+Wi', '1'], 1],
  [CT, '?window=40,350,linear', ['+Ww', '40', '350'], 1],
  [CT, '?window=40,350,sigmoid', ['+Wfs', '+Ww', '40', '350'], 1],
  ['transfer-syntax/CTImage_1.2.4.57.dcm', '', ['+Wi', '1'], 1],
  ['objects/other/mlut_18.dcm', '?window=2000,4000', ['+Ww', '2000', '4000'], 1],
  ['objects/other/vlut_04.dcm', '', ['+Wl', '1'], 1],
  ['objects/other/dx_image.dcm', '?window=2000,3000', ['+Ww', '2000', '3000'], 1],
  ['multiframe/OBXXXX1A_rle_2frame.dcm', '', ['+F', '1'], 1],
  ['multiframe/color-pl.dcm', '', [], 0],
  ['us-colour/US-YBR_FULL_422-EVRLE.dcm', '', [], 2],
  ['transfer-syntax/SC_rgb_16bit.dcm', '', [], 1],
  ['transfer-syntax/JPGLosslessP14SV1_1s_1f_8b.dcm', '', ['+Wi', '1'], 1],
];

/** A grey and a colour image are enough to see what the formats do. */
const IN_EVERY_FORMAT = [CT, 'multiframe/color-pl.dcm'];

let bridge: Bridge;
let browser: Browser;
let page: Page;
let held: Map<string, Held>;
let folder: string;

test('start', { skip }, async () => {
  folder = await makeTempFolder();
  [bridge, browser] = await Promise.all([startBridge(), startBrowser()]);
  page = await browser.newPage();
  // Only a page with an origin has the decoder of pictures.
  await page.goto(`${bridge.url}/health/live`);
  const names = [...new Set([...CASES.map(([name]) => name), MOVING, US, VIDEO, PDF, REPORT, ...ONE_BIT])];
  const stored = await storeFiles(
    bridge.dicomWeb,
    names.map((name) => ({ name, path: corpusPath(name) })),
  );
  held = new Map(stored.map((each) => [each.name, each]));
});

function urlOf(name: string): string {
  const instance = held.get(name);
  if (!instance) throw new Error(`${name} is not held`);
  return `${bridge.dicomWeb}${instance.path}`;
}

async function pictureOf(url: string, type: string): Promise<Picture> {
  const answer = await get(url, type);
  if (answer.status !== 200 || answer.type !== type)
    throw new Error(`${answer.status} ${answer.type} ${answer.body.toString()}`);
  return decodePicture(page, type, answer.body);
}

test('PNG, GIF and JPEG show what DCMTK shows', { skip }, async (t) => {
  for (const [name, query, options, tolerance] of CASES) {
    const file = join(folder, 'file.dcm');
    await writeFile(file, (held.get(name) as Held).file);
    const expected = await renderByReference(file, options, folder);
    const url = `${urlOf(name)}/frames/1/rendered${query}`;
    const png = await pictureOf(url, 'image/png');
    t.same([png.width, png.height, png.frames.length], [expected.width, expected.height, 1], name);
    const { greatest } = difference(png.frames[0], expected.frames[0]);
    t.ok(greatest <= tolerance, `${name}${query}: differs by ${greatest}`);
    if (query || !IN_EVERY_FORMAT.includes(name)) continue;
    const jpeg = await pictureOf(`${url}?quality=100`, 'image/jpeg');
    const lossy = difference(jpeg.frames[0], png.frames[0]);
    t.ok(lossy.mean < 1, `${name}: JPEG differs by ${lossy.mean} on average`);
    const gif = await pictureOf(url, 'image/gif');
    const table = difference(gif.frames[0], png.frames[0]);
    t.ok(table.greatest <= 60 && table.mean < 15, `${name}: GIF differs by ${JSON.stringify(table)}`);
  }
  const [png, gif] = [
    await pictureOf(`${urlOf(CT)}/rendered`, 'image/png'),
    await pictureOf(`${urlOf(CT)}/rendered`, 'image/gif'),
  ];
  t.ok(gif.frames[0]?.equals(png.frames[0] as Buffer), 'grey loses nothing in a GIF');
});

test('frames of one bit, packed and run-length coded', { skip }, async (t) => {
  for (const number of [1, 2]) {
    const [packed, coded] = await Promise.all(
      ONE_BIT.map((name) => pictureOf(`${urlOf(name)}/frames/${number}/rendered`, 'image/png')),
    );
    t.ok(coded?.frames[0]?.equals(packed?.frames[0] as Buffer), `frame ${number}`);
    t.ok(packed?.frames[0]?.includes(Buffer.of(255, 255, 255, 255)), 'something is white');
  }
});

test('viewport: parts, mirrors and sizes', { skip }, async (t) => {
  const url = `${urlOf(CT)}/rendered`;
  const whole = await pictureOf(url, 'image/png');
  const at = (viewport: string) => pictureOf(`${url}?viewport=${viewport}`, 'image/png');
  const part = await at('100,80,50,60,100,80');
  const expected = crop(whole, whole.frames[0] as Buffer, 50, 60, 100, 80);
  t.ok(part.frames[0]?.equals(expected), 'a part of the same size');
  const mirrored = await at('100,80,50,60,-100,80');
  const turned = Buffer.from(expected);
  for (let row = 0; row < 80; row++)
    for (let x = 0; x < 100; x++)
      expected.copy(turned, (row * 100 + x) * 4, (row * 100 + 99 - x) * 4, (row * 100 + 100 - x) * 4);
  t.ok(mirrored.frames[0]?.equals(turned), 'a negative width mirrors');
  for (const [viewport, size] of [
    ['128,128', [128, 128]],
    ['64,1000', [64, 64]],
    ['1024,1024', [1024, 1024]],
    ['90,40,0,0,200,100', [80, 40]],
    ['10,10,500,500,,', [10, 10]],
  ] as const) {
    const picture = await at(viewport);
    t.same([picture.width, picture.height], size, viewport);
  }
  const mean = (frame: Buffer | undefined) =>
    (frame ?? Buffer.of(0)).reduce((sum, value) => sum + value, 0) / (frame?.length ?? 1);
  const small = await at('64,64');
  t.ok(Math.abs(mean(small.frames[0]) - mean(whole.frames[0])) < 1, 'as bright as before');
});

test('frames that move, one by one and in parts', { skip }, async (t) => {
  const count = Number(held.get(MOVING)?.header['00280008']?.Value?.[0]);
  const gif = await pictureOf(`${urlOf(MOVING)}/rendered?viewport=64,64`, 'image/gif');
  t.equal(gif.frames.length, count);
  t.notOk(gif.frames[0]?.equals(gif.frames.at(-1) as Buffer), 'they differ');
  const parts = partsOf(await get(`${urlOf(MOVING)}/rendered?viewport=64,64`, 'multipart/related; type="image/png"'));
  t.equal(parts.length, count);
  const last = await decodePicture(page, 'image/png', parts.at(-1)?.body as Buffer);
  t.ok(
    difference(last.frames[0], gif.frames.at(-1)).mean < difference(last.frames[0], gif.frames[0]).mean,
    'in the same order',
  );
  const two = partsOf(await get(`${urlOf(MOVING)}/frames/2,1/rendered`, 'multipart/related; type="image/jpeg"'));
  t.same(
    two.map(({ headers }) => headers['content-type']),
    ['image/jpeg', 'image/jpeg'],
  );
  t.equal((await get(`${urlOf(MOVING)}/frames/2,1/rendered`, 'image/jpeg')).status, 406, 'two frames are no JPEG');
  t.equal((await get(`${urlOf(MOVING)}/frames/${count + 1}/rendered`)).status, 400);
});

test('studies, series and thumbnails', { skip }, async (t) => {
  const url = urlOf(US);
  const series = url.replace(/\/instances.*/, '');
  const study = series.replace(/\/series.*/, '');
  for (const scope of [study, series]) {
    const [part] = partsOf(await get(`${scope}/rendered`, 'multipart/related; type="image/jpeg"'));
    t.match(part?.headers['content-location'], /\/frames\/1\/rendered$/);
    t.equal((await decodePicture(page, 'image/jpeg', part?.body as Buffer)).width, 640);
  }
  for (const scope of [study, series, url, `${url}/frames/1`]) {
    const thumbnail = await pictureOf(`${scope}/thumbnail`, 'image/jpeg');
    t.same([thumbnail.width, thumbnail.height], [128, 96]);
    const larger = await pictureOf(`${scope}/thumbnail?viewport=200,200`, 'image/png');
    t.same([larger.width, larger.height], [200, 150]);
  }
});

test('videos and documents as they are stored, and what is neither', { skip }, async (t) => {
  const video = await get(`${urlOf(VIDEO)}/rendered`, 'video/*');
  t.same([video.status, video.type], [200, 'video/mp4']);
  t.ok((held.get(VIDEO) as Held).file.includes(video.body.subarray(0, 5000)));
  const range = await fetch(`${urlOf(VIDEO)}/rendered`, { headers: { range: 'bytes=10-19' } });
  t.same([range.status, Buffer.from(await range.arrayBuffer())], [206, video.body.subarray(10, 20)]);
  const pdf = await get(`${urlOf(PDF)}/rendered`);
  t.same([pdf.type, pdf.body.toString('latin1', 0, 5)], ['application/pdf', '%PDF-']);
  const report = await get(`${urlOf(REPORT)}/rendered`);
  t.equal(report.status, 406);
  t.equal(JSON.parse(report.body.toString()).type, 'urn:dagpacs:error:undecodable');
});

test('what a client has is not made again', { skip }, async (t) => {
  const wado = (() => {
    const [, study, series, object] = /studies\/(.+)\/series\/(.+)\/instances\/(.+)$/.exec(urlOf(CT)) ?? [];
    return `${bridge.url}/wado?requestType=WADO&studyUID=${study}&seriesUID=${series}&objectUID=${object}`;
  })();
  const tags = new Set<string>();
  const urls = [
    ...['', '?window=40,400', '?quality=50'].map((query) => `${urlOf(CT)}/rendered${query}`),
    `${urlOf(CT).replace(/\/series.*/, '')}/thumbnail`,
    `${wado}&contentType=image/png`,
    `${wado}&contentType=image/png&rows=50`,
    `${wado}&contentType=application/dicom`,
    `${urlOf(PDF)}/rendered`,
  ];
  for (const url of urls) {
    const first = await fetch(url);
    const tag = first.headers.get('etag') ?? '';
    t.equal(first.status, 200, url);
    t.match(first.headers.get('vary'), /Accept\b/);
    await first.arrayBuffer();
    tags.add(tag);
    const again = await fetch(url, { headers: { 'if-none-match': tag } });
    t.same([again.status, await again.text()], [304, ''], url);
    const other = await fetch(url, { headers: { 'if-none-match': '"other"' } });
    t.equal(other.status, 200);
    await other.arrayBuffer();
  }
  t.equal(tags.size, urls.length, 'each has a tag of its own');
});

test('parameters that break a rule', { skip }, async (t) => {
  const url = `${urlOf(CT)}/rendered`;
  const broken: [query: string, attribute: string][] = [
    ...[
      '0,1',
      'a',
      '1',
      '1,2,3',
      '100000,100000',
      '10,10,600,0,1,1',
      '10,10,0,0,0,5',
      '10,10,-1,0,5,5',
      '1e3,5',
      '8000,8000',
      '65501,5000,0,0,512,2',
    ].map((value): [string, string] => [`viewport=${value}`, 'viewport']),
    ...['1', '1,0', '1,-5,linear', '1,2,cubic', 'x,2,linear', '1,2,linear,3', '1e999,2'].map(
      (value): [string, string] => [`window=${value}`, 'window'],
    ),
    ...['0', '101', '-1', '5.5', 'best', ''].map((value): [string, string] => [`quality=${value}`, 'quality']),
  ];
  for (const [query, attribute] of broken) {
    const { status, body } = await get(`${url}?${query}`);
    t.equal(status, 400, query);
    t.match(JSON.parse(body.toString()), { attribute, rule: /\S/ }, query);
  }
  t.equal((await get(url, 'image/webp')).status, 406);
});

test('memory does not grow with the images that are made', { skip }, async (t) => {
  const urls = Array.from({ length: 1200 }, (_, i) => `${urlOf(CT)}/rendered?window=40,${300 + i},linear`);
  const client = async () => {
    for (let url = urls.pop(); url; url = urls.pop()) {
      const { status, body } = await get(url, 'image/jpeg');
      if (status !== 200) t.fail(`${status} ${body.toString()}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, client));
  // 330 to 360 MiB alone, 424 seen beside other tests; the 600 MiB of their samples, if they were held, would pass the bound.
  t.ok(peakMemory(bridge.pid) < 550, `${peakMemory(bridge.pid).toFixed(0)} MiB at most`);
});

test('stop', { skip }, async (t) => {
  await browser.close();
  const { code } = await bridge.stop();
  t.equal(code, 0);
  t.equal(bridge.output().stderr, '');
  await removeFolder(folder);
});
