import type { DicomElement, DicomJson } from './model.ts';
import { type PixelLayout, undecodable } from './pixels.ts';
import type { FrameMapping, Lut, ModalityTransform, VoiTransform } from './rendering.ts';
import { expandSegments } from './segmented-lut.ts';

/** The 16-bit words of a value, wherever it is kept. */
export type ReadWords = (element: DicomElement) => Promise<Uint16Array>;

function items(dataset: DicomJson | undefined, tag: string): DicomJson[] {
  return (dataset?.[tag]?.Value ?? []).filter(
    (value): value is DicomJson => typeof value === 'object' && value !== null,
  );
}

function number(dataset: DicomJson, tag: string): number | undefined {
  const value = dataset[tag]?.Value?.[0];
  const result = value === null || value === undefined || typeof value === 'object' ? Number.NaN : Number(value);
  return Number.isFinite(result) ? result : undefined;
}

/** Data sets that may say how a frame is shown, the closest first: its functional groups (PS3.3 C.7.6.16), then the header. */
function levels(header: DicomJson, frame: number, group: string): DicomJson[] {
  const perFrame = items(header, '52009230')[frame - 1];
  const shared = items(header, '52009229')[0];
  return [...items(perFrame, group), ...items(shared, group), header];
}

const FRAME_VOI_LUT = '00289132';
const PIXEL_VALUE_TRANSFORMATION = '00289145';

/**
 * How frame `number` (from 1) becomes an image, by its header (PS3.4 N.2); `window` in place of what that has.
 * @throws DagpacsError `undecodable`
 */
export async function frameMapping(
  header: DicomJson,
  layout: PixelLayout,
  frame: number,
  window: VoiTransform | undefined,
  words: ReadWords,
): Promise<FrameMapping> {
  const { photometric, samplesPerPixel } = layout;
  if (photometric === 'PALETTE COLOR') {
    const [red, green, blue] = await Promise.all(['1', '2', '3'].map((n) => paletteLut(header, n, layout, words)));
    return { kind: 'palette', red: red as Lut, green: green as Lut, blue: blue as Lut };
  }
  if (samplesPerPixel > 1) return { kind: 'colour' };
  const modality = await modalityOf(header, frame, layout, words);
  const voi = window ?? (await voiOf(header, frame, words)) ?? defaultVoi(layout, modality);
  const inverse = photometric === 'MONOCHROME1' || header['20500020']?.Value?.[0] === 'INVERSE';
  const from = number(header, '00280120');
  const to = number(header, '00280121') ?? from;
  const padding =
    from !== undefined && to !== undefined ? { from: Math.min(from, to), to: Math.max(from, to) } : undefined;
  return { kind: 'grey', modality, voi, inverse, ...(padding && { padding }) };
}

async function modalityOf(
  header: DicomJson,
  frame: number,
  { signed }: PixelLayout,
  words: ReadWords,
): Promise<ModalityTransform> {
  const [table] = items(header, '00283000');
  const lut = table && (await lutOf(table['00283002'], table['00283006'], signed, words));
  if (lut) return { kind: 'lut', lut };
  for (const level of levels(header, frame, PIXEL_VALUE_TRANSFORMATION)) {
    const slope = number(level, '00281053');
    if (slope !== undefined) return { kind: 'rescale', slope, intercept: number(level, '00281052') ?? 0 };
  }
  return { kind: 'rescale', slope: 1, intercept: 0 };
}

/** The ICC Profile that describes the colours of a frame: that of the image, or of the optical path that it was taken by. */
export function profileElement(header: DicomJson, frame: number): DicomElement | undefined {
  if (header['00282000']) return header['00282000'];
  const paths = items(header, '00480105');
  const [named] = levels(header, frame, '00480207').flatMap((level) => level['00480106']?.Value ?? []);
  const path = paths.find((each) => named !== undefined && each['00480106']?.Value?.[0] === named) ?? paths[0];
  return path?.['00282000'];
}

const SHAPES: Record<string, 'linear' | 'linear-exact' | 'sigmoid'> = {
  LINEAR_EXACT: 'linear-exact',
  SIGMOID: 'sigmoid',
};

async function voiOf(header: DicomJson, frame: number, words: ReadWords): Promise<VoiTransform | undefined> {
  for (const level of levels(header, frame, FRAME_VOI_LUT)) {
    const center = number(level, '00281050');
    const width = number(level, '00281051');
    if (center !== undefined && width !== undefined && width > 0) {
      const shape = SHAPES[String(level['00281056']?.Value?.[0])] ?? 'linear';
      return { kind: 'window', shape, center, width };
    }
    const [table] = items(level, '00283010');
    const lut = table && (await lutOf(table['00283002'], table['00283006'], false, words));
    if (lut) return { kind: 'lut', lut };
  }
  return undefined;
}

/** Small samples are shown as they are; of large ones, whose range nobody uses, what is there. */
function defaultVoi({ bitsStored, signed }: PixelLayout, modality: ModalityTransform): VoiTransform {
  if (bitsStored > 8 || modality.kind === 'lut') return { kind: 'full' };
  const low = signed ? -(2 ** (bitsStored - 1)) : 0;
  const ends = [low, low + 2 ** bitsStored - 1].map((value) => value * modality.slope + modality.intercept);
  const width = Math.abs((ends[1] as number) - (ends[0] as number));
  return { kind: 'window', shape: 'linear-exact', center: ((ends[0] as number) + (ends[1] as number)) / 2, width };
}

async function paletteLut(header: DicomJson, n: string, layout: PixelLayout, words: ReadWords): Promise<Lut> {
  const descriptor = header[`0028110${n}`];
  const segments = header[`0028122${n}`];
  const lut = segments
    ? await segmentedLut(descriptor, segments, layout.signed, words)
    : await lutOf(descriptor, header[`0028120${n}`], layout.signed, words);
  if (!lut) throw undecodable('A colour lookup table for each of red, green and blue (PS3.3 C.7.9)');
  // Some say 16 bits and mean 8.
  return lut.bits > 8 && lut.values.every((value) => value < 256) ? { ...lut, bits: 8 } : lut;
}

async function segmentedLut(
  descriptor: DicomElement | undefined,
  segments: DicomElement,
  signed: boolean,
  words: ReadWords,
): Promise<Lut | undefined> {
  const count = entriesOf(descriptor);
  if (count === undefined) return undefined;
  const values = expandSegments(await words(segments), count);
  return lutOf(descriptor, segments, signed, async () => values);
}

/** Entries of a table; 65,536 does not fit into the descriptor, and is 0 in it. */
function entriesOf(descriptor: DicomElement | undefined): number | undefined {
  const entries = descriptor?.Value?.[0];
  if (typeof entries !== 'number') return undefined;
  return entries === 0 ? 65536 : entries < 0 ? entries + 65536 : entries;
}

/** A table from its descriptor and data; undefined where there is none. */
async function lutOf(
  descriptor: DicomElement | undefined,
  data: DicomElement | undefined,
  signed: boolean,
  words: ReadWords,
): Promise<Lut | undefined> {
  const [, start, bits] = (descriptor?.Value ?? []).map(Number);
  const count = entriesOf(descriptor);
  if (count === undefined || start === undefined || bits === undefined || !data) return undefined;
  const read = await words(data);
  if (read.length === 0) return undefined;
  const packed = bits <= 8 && read.length < count && read.length * 2 >= count;
  const values = packed ? Uint16Array.from(new Uint8Array(read.buffer, read.byteOffset, count)) : read.slice(0, count);
  return { first: signed && start > 0x7fff ? start - 0x10000 : start, bits: Math.max(8, Math.min(16, bits)), values };
}
