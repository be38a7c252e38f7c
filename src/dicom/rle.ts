import { frameBytes, fromPlanes, type PixelLayout, sampleBytes, toPlanes, undecodable } from './pixels.ts';

const HEADER = 64;
const MAX_SEGMENTS = 15;

/**
 * Decodes a frame of RLE Lossless (PS3.5 Annex G): one segment for each byte of each sample, most significant first.
 * @returns samples little-endian, in the layout's planar configuration
 * @throws DagpacsError `undecodable`
 */
export function decodeRle(frame: Uint8Array, layout: PixelLayout): Uint8Array {
  const bytes = sampleBytes(layout);
  const { samplesPerPixel } = layout;
  // Samples of one bit are packed, and their bytes are what is coded (PS3.5 §8.2.2).
  const count = layout.bitsAllocated === 1 ? frameBytes(layout) : layout.rows * layout.columns;
  if (frame.length < HEADER) throw undecodable('An RLE header of 64 bytes (PS3.5 §G.5)');
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const segments = view.getUint32(0, true);
  if (segments !== samplesPerPixel * bytes || segments > MAX_SEGMENTS)
    throw undecodable('One RLE segment for each byte of a pixel (PS3.5 §G.2)');
  // Planes are what the segments are; pixels by sample are made at the end, which keeps the inner loop simple.
  const out = new Uint8Array(count * samplesPerPixel * bytes);
  for (let segment = 0; segment < segments; segment++) {
    const start = view.getUint32(4 + 4 * segment, true);
    const next = segment + 1 < segments ? view.getUint32(8 + 4 * segment, true) : frame.length;
    if (start < HEADER || start > next || next > frame.length)
      throw undecodable('RLE segments that lie inside the frame, in order (PS3.5 §G.5)');
    const sample = Math.floor(segment / bytes);
    const byte = bytes - 1 - (segment % bytes);
    unpack(frame, start, next, out, sample * count * bytes + byte, bytes, count);
  }
  return samplesPerPixel > 1 && !layout.planar ? fromPlanes(out, samplesPerPixel, bytes) : out;
}

/** PackBits (PS3.5 §G.3.2): `count` bytes to every `step`th place from `to` on. */
function unpack(
  frame: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
  to: number,
  step: number,
  count: number,
): void {
  let at = start;
  let left = count;
  let place = to;
  while (left > 0 && at < end) {
    const control = frame[at++] as number;
    if (control < 128) {
      const length = Math.min(control + 1, left, end - at);
      for (let i = 0; i < length; i++, place += step) out[place] = frame[at + i] as number;
      at += control + 1;
      left -= length;
    } else if (control > 128 && at < end) {
      const length = Math.min(257 - control, left);
      const value = frame[at++] as number;
      for (let i = 0; i < length; i++, place += step) out[place] = value;
      left -= length;
    }
  }
  if (left > 0) throw undecodable('An RLE segment that gives every pixel (PS3.5 §G.3)');
}

/** Encodes a frame as RLE Lossless; runs do not cross rows (PS3.5 §G.3). */
export function encodeRle(pixels: Uint8Array, layout: PixelLayout): Uint8Array {
  const bytes = sampleBytes(layout);
  const { rows, columns, samplesPerPixel } = layout;
  const segments = samplesPerPixel * bytes;
  if (segments > MAX_SEGMENTS) throw undecodable('RLE has at most 15 segments (PS3.5 §G.2)');
  const planes = samplesPerPixel > 1 && !layout.planar ? toPlanes(pixels, samplesPerPixel, bytes) : pixels;
  const widest = columns + Math.ceil(columns / 128);
  const out = new Uint8Array(HEADER + segments * (rows * widest + 1));
  const view = new DataView(out.buffer);
  view.setUint32(0, segments, true);
  const row = new Uint8Array(columns);
  let at = HEADER;
  for (let segment = 0; segment < segments; segment++) {
    view.setUint32(4 + 4 * segment, at, true);
    const sample = Math.floor(segment / bytes);
    let from = sample * rows * columns * bytes + bytes - 1 - (segment % bytes);
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++, from += bytes) row[x] = planes[from] as number;
      at = pack(row, out, at);
    }
    if (at % 2 !== 0) out[at++] = 0;
  }
  // Memory of its own: what was too much is free at once, not when garbage is collected.
  return new Uint8Array(out.buffer.transfer(at));
}

/** PackBits of one row (PS3.5 §G.3.1). @returns the place after it */
function pack(row: Uint8Array, out: Uint8Array, start: number): number {
  let at = start;
  let x = 0;
  while (x < row.length) {
    let run = 1;
    while (run < 128 && x + run < row.length && row[x + run] === row[x]) run++;
    if (run > 2) {
      out[at++] = 257 - run;
      out[at++] = row[x] as number;
      x += run;
      continue;
    }
    // A literal run goes on until three equal bytes make a replicate run pay.
    const first = x;
    while (x < row.length && x - first < 128 && !(row[x] === row[x + 1] && row[x] === row[x + 2])) x++;
    if (x === first) x++;
    out[at++] = x - first - 1;
    out.set(row.subarray(first, x), at);
    at += x - first;
  }
  return at;
}
