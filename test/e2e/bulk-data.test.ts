import { test } from 'tap';
import type { PixelLayout } from '../../src/dicom/pixels.ts';
import { encodeRle } from '../../src/dicom/rle.ts';
import { startBridge } from '../fixtures/bridge.ts';
import { EXPLICIT_LE, makeSlice, RLE, uid } from '../fixtures/dicom.ts';
import { type Answer, get } from '../fixtures/pixel-client.ts';
import { parseMultipart, stow } from '../fixtures/stow.ts';

const SIZE = 64;
const layout: PixelLayout = {
  rows: SIZE,
  columns: SIZE,
  samplesPerPixel: 1,
  bitsAllocated: 16,
  bitsStored: 16,
  signed: false,
  planar: false,
  photometric: 'MONOCHROME2',
};
const OCTETS = 'multipart/related; type="application/octet-stream"';
const pixels = (seed: number) =>
  Buffer.from(Uint16Array.from({ length: SIZE * SIZE }, (_, i) => (i >> 5) * seed).buffer);
const frames = [pixels(1), pixels(3)];
const coded = frames.map((frame) => encodeRle(frame, layout));
const document = Buffer.alloc(20_000, 'document ');
const of = { study: 'bulk', rows: SIZE, columns: SIZE };
const files = [1, 2].map((instance) =>
  makeSlice({ ...of, instance, overrides: { '7FE00010': ['OW', pixels(instance + 4)], '00420011': ['OB', document] } }),
);
files.push(
  makeSlice({
    ...of,
    series: 2,
    transferSyntaxUID: RLE,
    overrides: { '00280008': ['IS', '2'] },
    encapsulated: { fragments: coded, offsets: 'right' },
  }),
  makeSlice({ ...of, series: 3, overrides: { '7FE00010': undefined } }),
);
const study = `/studies/${uid('study', 'bulk')}`;
const seriesPath = (series: number) => `${study}/series/${uid('series', 'bulk', 'CT', series)}`;
const instancePath = (series: number, instance: number) =>
  `${seriesPath(series)}/instances/${uid('instance', 'bulk', 'CT', series, instance)}`;

function partsOf({ body, headers }: Answer) {
  return parseMultipart(headers.get('content-type') ?? '', body);
}

test('pixel data and bulk data of a study, a series and an instance', async (t) => {
  const bridge = await startBridge();
  t.teardown(() => bridge.stop());
  t.same((await stow(bridge.dicomWeb, files)).failed, []);
  const at = (path: string, accept?: string) => get(`${bridge.dicomWeb}${path}`, accept);
  /** Location under the DICOMweb root, transfer syntax, bytes. */
  const told = async (path: string, accept?: string) =>
    partsOf(await at(path, accept)).map(({ headers, body }) => [
      (headers['content-location'] as string).replace(bridge.dicomWeb, ''),
      /transfer-syntax=([\d.]+)/.exec(headers['content-type'] as string)?.[1],
      body.toString('base64'),
    ]);
  const value = (instance: number) => [
    `${instancePath(1, instance)}/bulkdata/7FE00010`,
    EXPLICIT_LE,
    pixels(instance + 4).toString('base64'),
  ];
  const frame = (number: number, syntax: string, from: readonly Uint8Array[]) => [
    `${instancePath(2, 1)}/frames/${number}`,
    syntax,
    Buffer.from(from[number - 1] as Uint8Array).toString('base64'),
  ];
  const stored = [frame(1, RLE, coded), frame(2, RLE, coded)];
  t.strictSame(await told(`${study}/pixeldata`), [value(1), value(2), ...stored], 'as stored');
  t.strictSame(await told(`${seriesPath(1)}/pixeldata`, OCTETS), [value(1), value(2)]);
  t.strictSame(await told(`${instancePath(1, 2)}/pixeldata`, OCTETS), [value(2)]);
  const native = [frame(1, EXPLICIT_LE, frames), frame(2, EXPLICIT_LE, frames)];
  const plain = `${OCTETS}; transfer-syntax=${EXPLICIT_LE}`;
  t.strictSame(await told(`${study}/pixeldata`, plain), [value(1), value(2), ...native], 'decoded where asked');
  const images = await told(`${study}/pixeldata`, `multipart/related; type="image/dicom-rle"; transfer-syntax=${RLE}`);
  t.strictSame(
    images.map(([path, syntax]) => [path, syntax]),
    [1, 2]
      .map((instance) => [`${instancePath(1, instance)}/frames/1`, RLE])
      .concat([1, 2].map((number) => [`${instancePath(2, 1)}/frames/${number}`, RLE])),
    'encoded where asked',
  );

  const bulk = (instance: number) => [
    `${instancePath(1, instance)}/bulkdata/00420011`,
    EXPLICIT_LE,
    document.toString('base64'),
  ];
  const all = [bulk(1), value(1), bulk(2), value(2), ...stored];
  t.strictSame(await told(`${study}/bulkdata`), all);
  t.strictSame(await told(`${instancePath(1, 1)}/bulkdata`, OCTETS), [bulk(1), value(1)]);
  for (const [path, , bytes] of all)
    t.equal(
      (await at(path as string, 'application/octet-stream')).body.toString('base64'),
      bytes,
      'each by its location',
    );

  for (const resource of ['pixeldata', 'bulkdata']) {
    const first = await at(`${study}/${resource}`);
    const again = { headers: { 'if-none-match': first.headers.get('etag') ?? '' } };
    t.equal((await fetch(`${bridge.dicomWeb}${study}/${resource}`, again)).status, 304);
    t.equal((await at(`${seriesPath(3)}/${resource}`)).status, 404, 'there is none');
    t.equal((await at(`/studies/1.2.3/${resource}`)).status, 404);
    const refused = await at(`${study}/${resource}`, 'application/pdf');
    t.equal(refused.status, 406);
    t.match(refused.body.toString(), /application\/octet-stream/, 'and it is said what would be possible');
  }
});
