import type { Fragments } from './fragments.ts';
import type { DicomJson, FrameTable } from './model.ts';
import { transferSyntax } from './transfer-syntax.ts';
import type { Warnings } from './warnings.ts';

const NUMBER_OF_FRAMES = 0x00280008;
const PIXEL_DATA = 0x7fe00010;

/** A native Pixel Data value as the scan found it. */
export interface NativePixels {
  tag: '7FE00010' | '7FE00008' | '7FE00009';
  offset: number;
  length: number;
}

function numberAt(header: DicomJson, tag: string): number | undefined {
  const value = header[tag]?.Value?.[0];
  return typeof value === 'number' ? value : undefined;
}

/** Number of Frames as declared: 1 where it is absent or empty, undefined where it is nonsense. */
function declaredFrames(header: DicomJson, warnings: Warnings): number | undefined {
  const value = header['00280008']?.Value?.[0];
  if (value === undefined || value === null) return 1;
  if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value;
  warnings.attribute(NUMBER_OF_FRAMES, 'Not a positive integer (PS3.3 C.7.6.6)');
  return undefined;
}

/** Samples of one pixel as stored; chrominance that is subsampled is shared by two pixels (PS3.3 C.7.6.3.1.2). */
function samplesStored(header: DicomJson, pixels: number, bits: number, length: number, frames: number): number {
  const samples = numberAt(header, '00280002') ?? 1;
  const photometric = header['00280004']?.Value?.[0];
  const subsampled = photometric === 'YBR_FULL_422' || photometric === 'YBR_PARTIAL_422';
  // Some writers keep all three samples, whatever they say: the length tells.
  if (subsampled && samples === 3 && (pixels * bits * 3 * frames) / 8 > length) return 2;
  return samples;
}

/** Frames of a native value. `count` is never more than lie in the value, whatever Number of Frames says. */
export function nativeFrames(header: DicomJson, pixels: NativePixels, warnings: Warnings): FrameTable {
  const { tag, offset, length } = pixels;
  if (length === 0) {
    warnings.attribute(PIXEL_DATA, 'The value is empty');
    return { kind: 'none' };
  }
  const rows = numberAt(header, '00280010') ?? 0;
  const columns = numberAt(header, '00280011') ?? 0;
  const bitsAllocated = tag === '7FE00008' ? 32 : tag === '7FE00009' ? 64 : (numberAt(header, '00280100') ?? 0);
  const declared = declaredFrames(header, warnings);
  const area = rows * columns;
  const bitsPerFrame = area * bitsAllocated * samplesStored(header, area, bitsAllocated, length, declared ?? 1);
  if (bitsPerFrame <= 0) {
    warnings.attribute(
      PIXEL_DATA,
      'Rows, Columns, Samples per Pixel and Bits Allocated do not give a frame (PS3.3 C.7.6.3)',
    );
    return { kind: 'none' };
  }
  const fitting = Math.floor((length * 8) / bitsPerFrame);
  if (declared !== undefined && declared > fitting)
    warnings.attribute(PIXEL_DATA, 'Shorter than the frames that the header declares (PS3.5 §8.1.1)');
  else if (declared !== undefined && length - Math.ceil((declared * bitsPerFrame) / 8) > 1)
    warnings.attribute(PIXEL_DATA, 'Longer than the frames that the header declares (PS3.5 §8.1.1)');
  return {
    kind: 'native',
    tag,
    offset,
    length,
    count: Math.min(declared ?? fitting, fitting),
    bitsPerFrame,
    bitsAllocated,
  };
}

/** The Extended Offset Table's values (PS3.3 C.7.6.3.1.8), where the instance has one. */
export interface ExtendedOffsets {
  offsets?: Buffer;
  lengths?: Buffer;
}

/** Frames of an encapsulated value: by offset table where it is right, else by the fragments themselves. */
export function encapsulatedFrames(
  header: DicomJson,
  transferSyntaxUID: string,
  fragments: Fragments,
  extended: ExtendedOffsets,
  warnings: Warnings,
): FrameTable {
  const count = fragments.offsets.length;
  if (fragments.overflow) {
    warnings.attribute(PIXEL_DATA, 'More fragments than are followed');
    return { kind: 'none' };
  }
  if (count === 0) {
    warnings.attribute(PIXEL_DATA, 'No fragments (PS3.5 §A.4)');
    return { kind: 'none' };
  }
  const declared = declaredFrames(header, warnings);
  const syntax = transferSyntax(transferSyntaxUID);
  if (!fragments.starts[0] && /^image\/j/.test(syntax?.mediaType ?? ''))
    warnings.attribute(PIXEL_DATA, 'Not a code stream of the transfer syntax (PS3.5 §A.4)');
  // A video is one stream: its frames are not addressable here, and `frame 1` is the whole of it.
  if (declared === 1 || syntax?.video) return group(fragments, [0]);
  const starts =
    (declared !== undefined && offsetTableStarts(fragments, extended, declared, warnings)) ||
    (declared === count ? everyFragment(count) : undefined) ||
    markedStarts(fragments);
  if (starts === undefined) return withoutMarkers(fragments, declared, warnings);
  if (declared !== undefined && starts.length !== declared)
    warnings.attribute(PIXEL_DATA, 'Number of Frames differs from the frames found in the fragments');
  if (fragments.lengths.includes(0)) warnings.attribute(PIXEL_DATA, 'A fragment of length zero (PS3.5 §A.4)');
  return group(fragments, starts);
}

function everyFragment(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** One fragment per frame is what RLE demands, and the best guess where there are fewer fragments than frames. */
function withoutMarkers(fragments: Fragments, declared: number | undefined, warnings: Warnings): FrameTable {
  const count = fragments.offsets.length;
  if (declared === undefined || declared > count) {
    warnings.attribute(PIXEL_DATA, 'Fewer fragments than frames: each is taken for one frame');
    return group(fragments, everyFragment(count));
  }
  warnings.attribute(PIXEL_DATA, 'More fragments than frames, and nothing that tells where a frame begins');
  return { kind: 'none' };
}

/** Fragments that begin a frame, by an offset table of `frames` entries that each meet an item; undefined where none is right. */
function offsetTableStarts(
  fragments: Fragments,
  extended: ExtendedOffsets,
  frames: number,
  warnings: Warnings,
): number[] | undefined {
  const tables: [name: string, entries: number[]][] = [];
  if (extended.offsets) tables.push(['Extended Offset Table', entries(extended.offsets)]);
  if (fragments.basicOffsets.length) tables.push(['Basic Offset Table', fragments.basicOffsets]);
  let found: number[] | undefined;
  for (const [name, table] of tables) {
    const starts = table.length === frames ? startsAt(fragments, table) : undefined;
    if (!starts) warnings.attribute(PIXEL_DATA, `The ${name} does not fit the fragments (PS3.5 §A.4)`);
    found ??= starts;
  }
  return found;
}

function entries(table: Buffer): number[] {
  const out: number[] = [];
  for (let at = 0; at + 8 <= table.length; at += 8) out.push(Number(table.readBigUInt64LE(at)));
  return out;
}

function startsAt({ origin, offsets }: Fragments, table: number[]): number[] | undefined {
  const starts: number[] = [];
  let fragment = 0;
  for (const entry of table) {
    // An entry points at the item, 8 bytes before the fragment's value.
    const target = origin + entry + 8;
    while (fragment < offsets.length && (offsets[fragment] as number) < target) fragment++;
    if (offsets[fragment] !== target || starts.at(-1) === fragment) return undefined;
    starts.push(fragment);
  }
  return starts[0] === 0 ? starts : undefined;
}

/** Fragments that begin a code stream after one that ended; undefined where the first does not begin one. */
function markedStarts(fragments: Fragments): number[] | undefined {
  if (!fragments.starts[0]) return undefined;
  const starts: number[] = [];
  const anyEnd = fragments.ends.includes(true);
  fragments.starts.forEach((begins, i) => {
    if (begins && (i === 0 || !anyEnd || fragments.ends[i - 1])) starts.push(i);
  });
  return starts;
}

function group({ offsets, lengths }: Fragments, starts: number[]): FrameTable {
  const frames = starts.map((start, i) => {
    const end = starts[i + 1] ?? offsets.length;
    const pairs: number[] = [];
    for (let f = start; f < end; f++) pairs.push(offsets[f] as number, lengths[f] as number);
    return pairs;
  });
  return { kind: 'encapsulated', frames };
}
