import { DagpacsError } from '../kernel/errors.ts';
import type { DicomJson } from './model.ts';

/** How the samples of a frame lie in its bytes (PS3.3 C.7.6.3.1), as the header says. */
export interface PixelLayout {
  rows: number;
  columns: number;
  /** 1, or 3 for colour. */
  samplesPerPixel: number;
  /** 1, 8, 16, 32 or 64. */
  bitsAllocated: number;
  bitsStored: number;
  signed: boolean;
  /** True: all of the first sample, then all of the second (Planar Configuration 1). */
  planar: boolean;
  photometric: string;
}

/** Pixels that cannot be read as the header or their transfer syntax says. Its text may be logged. */
export function undecodable(rule: string, cause?: unknown): DagpacsError {
  return new DagpacsError(
    'undecodable',
    'The pixels cannot be decoded',
    { attribute: 'PixelData', tag: '7FE00010', rule },
    { cause },
  );
}

function integer(header: DicomJson, tag: string, fallback?: number): number {
  const value = header[tag]?.Value?.[0];
  if (value === undefined || value === null) {
    if (fallback !== undefined) return fallback;
    throw undecodable(`An attribute of the Image Pixel Module is missing: ${tag} (PS3.3 C.7.6.3)`);
  }
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0) throw undecodable(`Not a whole number: ${tag} (PS3.3 C.7.6.3)`);
  return number;
}

/** Reads the Image Pixel Module of a header. @throws DagpacsError `undecodable` where it gives no frame */
export function pixelLayout(header: DicomJson): PixelLayout {
  const samplesPerPixel = integer(header, '00280002', 1);
  const bitsAllocated = header['7FE00008'] ? 32 : header['7FE00009'] ? 64 : integer(header, '00280100');
  const layout: PixelLayout = {
    rows: integer(header, '00280010'),
    columns: integer(header, '00280011'),
    samplesPerPixel,
    bitsAllocated,
    bitsStored: integer(header, '00280101', bitsAllocated),
    signed: integer(header, '00280103', 0) === 1,
    planar: samplesPerPixel > 1 && integer(header, '00280006', 0) === 1,
    photometric: String(header['00280004']?.Value?.[0] ?? (samplesPerPixel === 1 ? 'MONOCHROME2' : 'RGB')).trim(),
  };
  if (layout.rows === 0 || layout.columns === 0) throw undecodable('Rows and Columns are positive (PS3.3 C.7.6.3)');
  if (samplesPerPixel < 1 || samplesPerPixel > 4)
    throw undecodable('Samples per Pixel is from 1 to 4 (PS3.3 C.7.6.3.1.1)');
  if (![1, 8, 16, 32, 64].includes(bitsAllocated))
    throw undecodable('Bits Allocated is 1 or a multiple of 8 that samples can have (PS3.5 §8.1.1)');
  if (layout.bitsStored < 1 || layout.bitsStored > bitsAllocated)
    throw undecodable('Bits Stored is from 1 to Bits Allocated (PS3.5 §8.1.1)');
  return layout;
}

/** Bytes of one sample. */
export function sampleBytes({ bitsAllocated }: PixelLayout): number {
  return Math.ceil(bitsAllocated / 8);
}

/** Bytes of one frame with all of its samples. */
export function frameBytes(layout: PixelLayout): number {
  const { rows, columns, samplesPerPixel, bitsAllocated } = layout;
  return Math.ceil((rows * columns * samplesPerPixel * bitsAllocated) / 8);
}

/** Samples by plane from samples by pixel, of `bytes` bytes each. */
export function toPlanes(pixels: Uint8Array, samples: number, bytes: number): Uint8Array {
  const count = pixels.length / (samples * bytes);
  const out = new Uint8Array(pixels.length);
  for (let sample = 0; sample < samples; sample++)
    for (let byte = 0; byte < bytes; byte++) {
      let to = sample * count * bytes + byte;
      for (let from = sample * bytes + byte; from < pixels.length; from += samples * bytes, to += bytes)
        out[to] = pixels[from] as number;
    }
  return out;
}

/** Samples by pixel from samples by plane, of `bytes` bytes each. */
export function fromPlanes(pixels: Uint8Array, samples: number, bytes: number): Uint8Array {
  const count = pixels.length / (samples * bytes);
  const out = new Uint8Array(pixels.length);
  for (let sample = 0; sample < samples; sample++)
    for (let byte = 0; byte < bytes; byte++) {
      let from = sample * count * bytes + byte;
      for (let to = sample * bytes + byte; to < out.length; to += samples * bytes, from += bytes)
        out[to] = pixels[from] as number;
    }
  return out;
}

/** Samples of `to` bytes from little-endian ones of `from` bytes; `signed` ones keep their sign. */
export function widen(pixels: Uint8Array, from: number, to: number, signed: boolean): Uint8Array {
  const count = pixels.length / from;
  const out = new Uint8Array(count * to);
  for (let i = 0; i < count; i++) {
    for (let byte = 0; byte < from; byte++) out[i * to + byte] = pixels[i * from + byte] as number;
    if (signed && ((pixels[i * from + from - 1] as number) & 0x80) !== 0) out.fill(0xff, i * to + from, (i + 1) * to);
  }
  return out;
}
