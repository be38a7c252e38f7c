import { test } from 'tap';
import type { DicomElement, DicomJson } from '../../../src/dicom/model.ts';
import type { PixelLayout } from '../../../src/dicom/pixels.ts';
import { frameMapping } from '../../../src/dicom/presentation.ts';
import { rasterOf } from '../../../src/dicom/raster.ts';
import { expandSegments } from '../../../src/dicom/segmented-lut.ts';

const layout: PixelLayout = {
  rows: 1,
  columns: 4,
  samplesPerPixel: 1,
  bitsAllocated: 16,
  bitsStored: 12,
  signed: false,
  planar: false,
  photometric: 'MONOCHROME2',
};
const words = async ({ Value }: DicomElement) => Uint16Array.from(Value ?? [], Number);
const ds = (...Value: (string | number)[]): DicomElement => ({ vr: 'DS', Value });
const sq = (...Value: DicomJson[]): DicomElement => ({ vr: 'SQ', Value });

async function shown(
  header: DicomJson,
  stored: number[],
  change: Partial<PixelLayout> = {},
  frame = 1,
): Promise<number[]> {
  const described = { ...layout, ...change };
  const pixels = new Uint8Array(Int16Array.from(stored).buffer);
  const mapping = await frameMapping(header, described, frame, undefined, words);
  return [...rasterOf(pixels, described, mapping).data];
}

test('a window at its edges (PS3.3 C.11.2.1.2.1)', async (t) => {
  const header = { '00281050': ds(100), '00281051': ds(11) };
  t.same(await shown(header, [94, 95, 100, 105]), [0, 13, 140, 255]);
  t.same(
    await shown({ ...header, '00281056': { vr: 'CS', Value: ['LINEAR_EXACT'] } }, [94, 95, 100, 106]),
    [0, 12, 128, 255],
  );
  t.same(await shown({ '00281050': ds(100), '00281051': ds(1) }, [99, 100, 101, 0]), [0, 255, 255, 0], 'a threshold');
});

test('rescale, MONOCHROME1, Presentation LUT Shape and padding', async (t) => {
  const header = { '00281050': ds(0), '00281051': ds(256), '00281052': ds(-1024), '00281053': ds(1) };
  const plain = await shown(header, [0, 1024, 4000, 896]);
  t.same([plain[0], plain[2], plain[3]], [0, 255, 0]);
  t.same(
    await shown(header, [0, 1024, 4000, 896], { photometric: 'MONOCHROME1' }),
    plain.map((value) => 255 - value),
  );
  t.same(
    await shown({ ...header, '20500020': { vr: 'CS', Value: ['INVERSE'] } }, [0, 1024, 4000, 896]),
    plain.map((value) => 255 - value),
  );
  const padded = { '00280120': { vr: 'US', Value: [4000] } };
  t.same(await shown(padded, [10, 20, 30, 4000]), [0, 128, 255, 0], 'padding is black, and no part of the range');
});

test('bits above Bits Stored are not part of a value, and signs are', async (t) => {
  const header = { '00281050': ds(0), '00281051': ds(4096) };
  t.same(await shown(header, [0xf7ff, 0x0800, 0x07ff, 0x0fff], { signed: true }), [255, 0, 255, 127]);
});

test('functional groups: of the frame, then shared, then the header (PS3.3 C.7.6.16)', async (t) => {
  const window = (center: number) => sq({ '00281050': ds(center), '00281051': ds(2) });
  const header: DicomJson = {
    '00281050': ds(3000),
    '00281051': ds(2),
    '52009229': sq({ '00289132': window(1000), '00289145': sq({ '00281052': ds(100), '00281053': ds(1) }) }),
    '52009230': sq({ '00289132': window(500) }, {}),
  };
  t.same(await shown(header, [300, 450, 950, 3500]), [0, 255, 255, 255], 'of the frame');
  t.same(await shown(header, [300, 450, 950, 3500], {}, 2), [0, 0, 255, 255], 'shared');
});

test('modality and VOI tables, and values outside them', async (t) => {
  const table = (first: number, bits: number, ...values: number[]) =>
    sq({ '00283002': { vr: 'US', Value: [values.length, first, bits] }, '00283006': { vr: 'US', Value: values } });
  const header = { '00283000': table(10, 16, 0, 1, 2, 3), '00283010': table(0, 8, 0, 85, 170, 255) };
  t.same(await shown(header, [0, 11, 12, 100]), [0, 85, 170, 255]);
});

test('palettes of 8 and 16 bits, and of 16 that are 8', async (t) => {
  const palette = (bits: number, values: number[]): DicomJson =>
    Object.fromEntries(
      ['1', '2', '3'].flatMap((n) => [
        [`0028110${n}`, { vr: 'US', Value: [values.length, 2, bits] }],
        [`0028120${n}`, { vr: 'OW', Value: values }],
      ]),
    );
  const change = { photometric: 'PALETTE COLOR' };
  for (const [bits, values] of [
    [8, [1, 2, 3]],
    [16, [0x100, 0x200, 0x300]],
    [16, [1, 2, 3]],
  ] as const) {
    const rgb = await shown(palette(bits, [...values]), [0, 2, 3, 9], change);
    t.same(rgb, [1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3], `${bits}: ${values}`);
  }
  await t.rejects(shown({}, [0, 0, 0, 0], change), { code: 'undecodable' });
});

test('segmented palettes (PS3.3 C.7.9.2)', (t) => {
  const discrete = [0, 2, 10, 20];
  const linear = [1, 4, 60];
  const again = [2, 2, 0, 0];
  const expand = (words: number[], count: number) => [...expandSegments(Uint16Array.from(words), count)];
  t.same(expand([...discrete, ...linear, ...again], 12), [10, 20, 30, 40, 50, 60, 10, 20, 30, 40, 50, 60]);
  for (const words of [[], [1, 4, 60], [0, 9, 1], [3, 1, 1], [2, 1, 0, 0], [...discrete, 2, 1, 4, 0], discrete])
    t.throws(() => expand(words, 12), { code: 'undecodable' }, `${words}`);
  t.end();
});
