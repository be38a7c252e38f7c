import type { BulkValue, FrameTable } from '../../dicom/model.ts';
import { EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN } from '../../dicom/transfer-syntax.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { DataStream } from './data-stream.ts';
import { checkFrameNumber } from './frame-number.ts';
import type { ServedPart } from './served.ts';

/** GE's private syntax: little-endian header, big-endian pixels. */
const GE_BIG_ENDIAN_PIXELS = '1.2.840.113619.5.2';

/** A range of the data stream, as `[offset, length]`. */
type Extent = readonly [offset: number, length: number];

/** Frames `numbers` (1-based) of a frame table. @throws DagpacsError `invalid-parameter`, `not-found` */
export function frameParts(
  stream: DataStream,
  table: FrameTable,
  transferSyntaxUID: string,
  pixelVr: string,
  numbers: number[],
): ServedPart[] {
  if (table.kind === 'none') throw new DagpacsError('not-found', 'the instance has no frames that can be located');
  const count = table.kind === 'native' ? table.count : table.frames.length;
  for (const number of numbers) checkFrameNumber(number, count);
  if (table.kind === 'encapsulated') {
    return numbers.map((number) => {
      const extents = pairs(table.frames[number - 1] as number[]);
      return part(stream, extents, transferSyntaxUID, 1);
    });
  }
  const swap = pixelSwap(transferSyntaxUID, pixelVr, table.bitsAllocated);
  return numbers.map((number) => {
    const firstBit = (number - 1) * table.bitsPerFrame;
    if (firstBit % 8 === 0 && table.bitsPerFrame % 8 === 0) {
      const start = firstBit / 8;
      const size = table.bitsPerFrame / 8;
      if (swap === 1) return part(stream, [[table.offset + start, size]], EXPLICIT_VR_LITTLE_ENDIAN, swap);
      // Words are turned round in the value, not in the frame: one of an odd size ends inside a word.
      return slice(part(stream, [[table.offset, table.length]], EXPLICIT_VR_LITTLE_ENDIAN, swap), start, size);
    }
    return packedBits(stream, table.offset, firstBit, table.bitsPerFrame);
  });
}

/** A bulk value. Big-endian values leave as little-endian (PS3.18 §8.7.3.1). */
export function bulkPart(stream: DataStream, value: BulkValue, transferSyntaxUID: string, path: string): ServedPart {
  const isPixelData = path === '7FE00010';
  const swap = isPixelData ? pixelSwap(transferSyntaxUID, value.vr, 16) : valueSwap(transferSyntaxUID, value.vr);
  return part(stream, [[value.offset, value.length]], EXPLICIT_VR_LITTLE_ENDIAN, swap);
}

function part(stream: DataStream, extents: Extent[], transferSyntaxUID: string, swap: number): ServedPart {
  const size = extents.reduce((sum, [, length]) => sum + length, 0);
  return {
    size,
    transferSyntaxUID,
    bytes: (start = 0, end = size) => (swap === 1 ? plain(stream, extents, start, end) : swapped(start, end)),
  };

  /** Reads whole units, swaps them, and cuts what was asked. */
  async function* swapped(start: number, end: number): AsyncIterable<Uint8Array> {
    const from = start - (start % swap);
    const to = Math.min(size, Math.ceil(end / swap) * swap);
    let rest: Buffer = Buffer.alloc(0);
    let position = from;
    for await (const chunk of plain(stream, extents, from, to)) {
      const bytes = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
      const whole = bytes.length - (bytes.length % swap);
      rest = bytes.subarray(whole);
      yield* cut(swapUnits(bytes.subarray(0, whole), swap), position, start, end);
      position += whole;
    }
    // An odd tail is no unit: it leaves as it is.
    yield* cut(rest, position, start, end);
  }
}

function slice(whole: ServedPart, offset: number, size: number): ServedPart {
  return { ...whole, size, bytes: (start = 0, end = size) => whole.bytes(offset + start, offset + end) };
}

function* cut(bytes: Uint8Array, position: number, start: number, end: number): Iterable<Uint8Array> {
  const from = Math.max(0, start - position);
  const to = Math.min(bytes.length, end - position);
  if (to > from) yield bytes.subarray(from, to);
}

async function* plain(stream: DataStream, extents: Extent[], start: number, end: number): AsyncIterable<Uint8Array> {
  let position = 0;
  for (const [offset, length] of extents) {
    const from = Math.max(0, start - position);
    const to = Math.min(length, end - position);
    if (to > from) yield* stream.range(offset + from, offset + to);
    position += length;
    if (position >= end) return;
  }
}

/** A frame of a 1-bit image that begins or ends inside a byte: frames are packed without padding (PS3.5 §8.1.1). */
function packedBits(stream: DataStream, offset: number, firstBit: number, bits: number): ServedPart {
  const size = Math.ceil(bits / 8);
  const shift = firstBit % 8;
  async function whole(): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    const first = offset + Math.floor(firstBit / 8);
    for await (const chunk of stream.range(first, offset + Math.ceil((firstBit + bits) / 8))) chunks.push(chunk);
    const packed = Buffer.concat(chunks);
    const frame = Buffer.alloc(size);
    for (let i = 0; i < size; i += 1) {
      frame[i] = ((packed[i] as number) >> shift) | (((packed[i + 1] ?? 0) << (8 - shift)) & 0xff);
    }
    if (bits % 8 !== 0) frame[size - 1] = (frame[size - 1] as number) & ((1 << (bits % 8)) - 1);
    return frame;
  }
  return {
    size,
    transferSyntaxUID: EXPLICIT_VR_LITTLE_ENDIAN,
    async *bytes(start = 0, end = size) {
      yield (await whole()).subarray(start, end);
    },
  };
}

function pairs(flat: number[]): Extent[] {
  const extents: Extent[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) extents.push([flat[i] as number, flat[i + 1] as number]);
  return extents;
}

/** Bytes of a unit that must be turned round; 1 where none. OW is words whatever the pixels are (PS3.5 §7.3). */
function pixelSwap(transferSyntaxUID: string, vr: string, bitsAllocated: number): number {
  if (transferSyntaxUID === GE_BIG_ENDIAN_PIXELS) return bitsAllocated > 8 ? 2 : 1;
  return valueSwap(transferSyntaxUID, vr);
}

function valueSwap(transferSyntaxUID: string, vr: string): number {
  if (transferSyntaxUID !== EXPLICIT_VR_BIG_ENDIAN) return 1;
  if (vr === 'OW') return 2;
  if (vr === 'OF' || vr === 'OL') return 4;
  return vr === 'OD' || vr === 'OV' ? 8 : 1;
}

function swapUnits(bytes: Buffer, unit: number): Buffer {
  if (unit === 2) return bytes.swap16();
  return unit === 4 ? bytes.swap32() : bytes.swap64();
}
