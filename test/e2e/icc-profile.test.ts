import sharp from 'sharp';
import { test } from 'tap';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { type FixtureDataset, makeSlice, uid } from '../fixtures/dicom.ts';
import { get, partsOf } from '../fixtures/pixel-client.ts';
import { stow } from '../fixtures/stow.ts';

const SIZE = 16;
const RED = [234, 51, 34];
/** By the primaries of Display P3, and the curve that it has in common with sRGB (SMPTE EG 432-1, IEC 61966-2-1). */
const RED_IN_P3 = [215, 69, 49];
const STUDY = 'icc profile';
/** More than one segment of a JPEG takes, and more than a header holds. */
const LARGE = 150_000;
const PLAIN = 1;
const WITH = 2;
const BY_PATH = 3;
const BAD = 4;
const GREY = 5;
const SERIES_PATH = `/studies/${uid('study', STUDY)}/series/${uid('series', STUDY, 'CT', 1)}`;

let bridge: Bridge;
let srgb: Buffer;
let displayP3: Buffer;
let large: Buffer;

/** The profile that an image of libvips has. */
async function profileOf(name: string): Promise<Buffer> {
  const raw = { width: 1, height: 1, channels: 3 } as const;
  const image = await sharp(Buffer.alloc(3), { raw }).withIccProfile(name).png().toBuffer();
  const { icc } = await sharp(image).metadata();
  if (!icc) throw new Error(`no profile ${name}`);
  return icc;
}

function colour(instance: number, more: FixtureDataset): Buffer {
  const overrides: FixtureDataset = {
    '00280002': ['US', 3],
    '00280004': ['CS', 'RGB'],
    '00280006': ['US', 0],
    '00280100': ['US', 8],
    '00280101': ['US', 8],
    '00280102': ['US', 7],
    '00280103': ['US', 0],
    '7FE00010': ['OW', Buffer.alloc(SIZE * SIZE * 3, Buffer.from(RED))],
    ...more,
  };
  return makeSlice({ study: STUDY, instance, rows: SIZE, columns: SIZE, overrides });
}

test('start', async (t) => {
  bridge = await startBridge();
  [srgb, displayP3] = await Promise.all([profileOf('srgb'), profileOf('p3')]);
  large = Buffer.concat([displayP3, Buffer.alloc(LARGE, 'profile ')]);
  large.writeUInt32BE(large.length, 0);
  const paths = [displayP3, large].map(
    (icc, i): FixtureDataset => ({ '00480106': ['SH', String(i)], '00282000': ['OB', icc] }),
  );
  const chosen: FixtureDataset = { '00480207': ['SQ', [{ '00480106': ['SH', '1'] }]] };
  const { failed } = await stow(bridge.dicomWeb, [
    colour(PLAIN, {}),
    colour(WITH, { '00282000': ['OB', displayP3] }),
    colour(BY_PATH, { '00480105': ['SQ', paths], '52009229': ['SQ', [chosen]] }),
    colour(BAD, { '00282000': ['OB', Buffer.alloc(200, 7)] }),
    makeSlice({ study: STUDY, instance: GREY, rows: SIZE, columns: SIZE }),
  ]);
  t.same(failed, []);
});

function urlOf(instance: number, query: string): string {
  return `${bridge.dicomWeb}${SERIES_PATH}/instances/${uid('instance', STUDY, 'CT', 1, instance)}/rendered${query}`;
}

async function shown(instance: number, query: string, type: string) {
  const answer = await get(urlOf(instance, query), type);
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body.toString()}`);
  return read(answer.body);
}

/** The profile of an image, and its first pixel as it lies there. */
async function read(image: Buffer) {
  const { icc, channels } = await sharp(image).metadata();
  const samples = await sharp(image, { ignoreIcc: true }).raw().toBuffer();
  return { icc, channels, pixel: [...samples.subarray(0, 3)] };
}

function near(pixel: number[], expected: number[]): boolean {
  return pixel.every((value, i) => Math.abs(value - (expected[i] as number)) <= 4);
}

for (const type of ['image/jpeg', 'image/png']) {
  test(`profiles in ${type}`, async (t) => {
    for (const [name, instance, query, icc, pixel] of [
      ['none unless asked for', WITH, '', undefined, RED],
      ['no', WITH, '?iccprofile=no', undefined, RED],
      ['yes: the one of the image', WITH, '?iccprofile=yes', displayP3, RED],
      ['yes: the one of the optical path, a large one', BY_PATH, '?iccprofile=yes', large, RED],
      ['yes, and there is none: sRGB', PLAIN, '?iccprofile=yes', srgb, RED],
      ['srgb of what is sRGB', PLAIN, '?iccprofile=srgb', srgb, RED],
      ['srgb of what is not: converted', WITH, '?iccprofile=srgb', srgb, [255, 0, 0]],
      ['srgb by a large profile', BY_PATH, '?iccprofile=srgb', srgb, [255, 0, 0]],
      ['displayp3 of what is that', WITH, '?iccprofile=displayp3', displayP3, RED],
      ['displayp3 of what is sRGB: converted', PLAIN, '?iccprofile=displayp3', displayP3, RED_IN_P3],
      ['of a size', WITH, '?iccprofile=yes&viewport=8,8', displayP3, RED],
    ] as const) {
      const image = await shown(instance, query, type);
      t.ok(icc ? image.icc?.equals(icc) : image.icc === undefined, `${name}: profile`);
      t.ok(near(image.pixel, [...pixel]), `${name}: ${image.pixel}`);
    }
    const [plain, profiled] = [await shown(GREY, '', type), await shown(GREY, '?iccprofile=yes', type)];
    t.same([plain.icc, plain.channels, profiled.channels], [undefined, 1, 3], 'grey becomes RGB for a profile');
    t.ok(profiled.icc?.equals(srgb), 'which is sRGB');
  });
}

test('parts of a series and thumbnails have profiles as well', async (t) => {
  const accept = 'multipart/related; type="image/png"';
  const frames = await get(urlOf(WITH, '?iccprofile=yes'), accept);
  const [part] = partsOf(frames);
  t.ok((await read(Buffer.from(part?.body ?? []))).icc?.equals(displayP3));
  const thumbnail = await get(urlOf(WITH, '?iccprofile=yes').replace('/rendered', '/thumbnail'), 'image/jpeg');
  t.ok((await read(thumbnail.body)).icc?.equals(displayP3));
});

test('what cannot be given', async (t) => {
  for (const [query, type] of [
    ['adobergb', 'image/jpeg'],
    ['rommrgb', 'image/png'],
    ['YES', 'image/png'],
    ['', 'image/png'],
    ['yes', 'image/gif'],
  ]) {
    const answer = await get(urlOf(WITH, `?iccprofile=${query}`), type);
    t.equal(answer.status, 400, `${query} in ${type}`);
    t.match(JSON.parse(answer.body.toString()), { attribute: 'iccprofile', rule: /PS3\.18 §8\.3\.5/ });
  }
  t.equal((await get(urlOf(WITH, '?iccprofile=no'), 'image/gif')).status, 200, 'GIF has none');
  const bad = await get(urlOf(BAD, '?iccprofile=yes'), 'image/png');
  t.ok(bad.status >= 400 && bad.status < 500, `a profile that is none: ${bad.status}`);
  t.match(bad.body.toString(), /ICC Profile \(0028,2000\)/);
  t.equal((await get(urlOf(BAD, ''), 'image/png')).status, 200, 'and without it the image is shown');
});

test('stop', () => bridge.stop());
