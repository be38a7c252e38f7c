import { type PixelLayout, undecodable } from './pixels.ts';
import type { FrameMapping, Lut, ModalityTransform, VoiTransform } from './rendering.ts';

type Grey = Extract<FrameMapping, { kind: 'grey' }>;
type Samples =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;

/** The stored values of a grey frame; bits above Bits Stored are not theirs (PS3.5 §8.1.1). */
export function storedValues(pixels: Uint8Array, layout: PixelLayout, float: boolean): Samples {
  const { bitsAllocated, bitsStored, signed } = layout;
  const count = layout.rows * layout.columns;
  const buffer = pixels.byteOffset % 8 === 0 ? pixels.buffer : new Uint8Array(pixels).buffer;
  const start = pixels.byteOffset % 8 === 0 ? pixels.byteOffset : 0;
  if (float && bitsAllocated === 32) return new Float32Array(buffer, start, count);
  if (float && bitsAllocated === 64) return new Float64Array(buffer, start, count);
  if (bitsAllocated === 1) {
    const out = new Uint8Array(count);
    for (let i = 0; i < count; i++) out[i] = ((pixels[i >> 3] as number) >> (i & 7)) & 1;
    return out;
  }
  const spare = bitsAllocated - bitsStored;
  if (bitsAllocated === 8)
    return trim(signed ? new Int8Array(buffer, start, count) : pixels.subarray(0, count), spare, 8);
  if (bitsAllocated === 16)
    return trim(signed ? new Int16Array(buffer, start, count) : new Uint16Array(buffer, start, count), spare, 16);
  if (bitsAllocated === 32)
    return trim(signed ? new Int32Array(buffer, start, count) : new Uint32Array(buffer, start, count), spare, 32);
  throw undecodable('Grey samples of 1, 8, 16 or 32 bits');
}

/** Shifts what is above Bits Stored out, and the sign back in. */
function trim<T extends Exclude<Samples, Float32Array | Float64Array>>(samples: T, spare: number, bits: number): T {
  if (spare === 0) return samples;
  const out = samples.slice() as T;
  const shift = 32 - bits + spare;
  const signed = samples instanceof Int8Array || samples instanceof Int16Array || samples instanceof Int32Array;
  for (let i = 0; i < out.length; i++) {
    const high = (out[i] as number) << shift;
    out[i] = signed ? high >> shift : high >>> shift;
  }
  return out;
}

/**
 * Grey values from 0 to 255 of a frame: modality, VOI and presentation transform (PS3.4 N.2). They take the place of the
 * samples where that is possible, so that no memory is made for them: `pixels` must not be used afterwards.
 */
export function mapGrey(pixels: Uint8Array, layout: PixelLayout, mapping: Grey, float = false): Uint8Array {
  const { bitsAllocated } = layout;
  if (!float && (bitsAllocated === 8 || bitsAllocated === 16)) return lookUp(pixels, layout, mapping);
  const stored = storedValues(pixels, layout, float);
  const shade = shadeOf(mapping, () => stored);
  const out = new Uint8Array(stored.length);
  for (let i = 0; i < stored.length; i++) out[i] = shade(stored[i] as number);
  return out;
}

/** By a table of every sample as it lies in the bytes, so that nothing is computed, or taken out of it, pixel by pixel. */
function lookUp(pixels: Uint8Array, layout: PixelLayout, mapping: Grey): Uint8Array {
  const table = tableOf(mapping, layout, () => storedValues(pixels, layout, false));
  const raw = storedValues(pixels, { ...layout, bitsStored: layout.bitsAllocated, signed: false }, false);
  // A value is written where a sample was read before.
  const out = new Uint8Array(raw.buffer, raw.byteOffset, raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = table[raw[i] as number] as number;
  return out;
}

/** Tables that were made last, for the frames of a series: by what they depend on. */
const tables = new Map<string, Uint8Array>();
const MAX_TABLES = 16;

/** The grey value of every sample, with whatever lies in the bits above Bits Stored. */
function tableOf(mapping: Grey, layout: PixelLayout, stored: () => Samples): Uint8Array {
  const { modality, voi } = mapping;
  const { bitsAllocated, bitsStored, signed } = layout;
  const common = modality.kind === 'rescale' && voi.kind === 'window';
  const key = common ? JSON.stringify([mapping, bitsAllocated, bitsStored, signed]) : '';
  const known = tables.get(key);
  if (known) return known;
  const shade = shadeOf(mapping, stored);
  const count = 2 ** bitsStored;
  const negative = signed ? count / 2 : count;
  const table = new Uint8Array(2 ** bitsAllocated);
  for (let bits = 0; bits < count; bits++) table[bits] = shade(bits < negative ? bits : bits - count);
  // Whatever lies above Bits Stored does not count (PS3.5 §8.1.1).
  for (let filled = count; filled < table.length; filled *= 2) table.copyWithin(filled, 0, filled);
  if (common) {
    if (tables.size >= MAX_TABLES) tables.clear();
    tables.set(key, table);
  }
  return table;
}

function shadeOf({ modality, voi, inverse, padding }: Grey, stored: () => Samples): (value: number) => number {
  const toModality = modalityOf(modality);
  const isPadding = padding ? (value: number) => value >= padding.from && value <= padding.to : () => false;
  const toUnit = voi.kind === 'full' ? fullOf(stored(), isPadding, toModality) : voiOf(voi);
  return (value) => {
    if (isPadding(value)) return 0;
    const unit = toUnit(toModality(value));
    return Math.round(255 * (inverse ? 1 - unit : unit));
  };
}

function modalityOf(transform: ModalityTransform): (value: number) => number {
  if (transform.kind === 'lut') return (value) => entry(transform.lut, value);
  const { slope, intercept } = transform;
  return (value) => value * slope + intercept;
}

/** The entry for a value; those outside get the nearest one (PS3.3 C.11.1.1.1). */
function entry({ first, values }: Lut, value: number): number {
  const index = Math.round(value) - first;
  return values[Math.max(0, Math.min(values.length - 1, index))] ?? 0;
}

function clamp(value: number): number {
  // What is not a number is shown black.
  return value > 0 ? Math.min(1, value) : 0;
}

/** To 0…1 (PS3.3 C.11.2.1.2, C.11.2.1.3). */
function voiOf(voi: Exclude<VoiTransform, { kind: 'full' }>): (value: number) => number {
  if (voi.kind === 'lut') {
    const top = 2 ** voi.lut.bits - 1;
    return (value) => clamp(entry(voi.lut, value) / top);
  }
  const { shape, center, width } = voi;
  if (shape === 'sigmoid') return (value) => 1 / (1 + Math.exp((-4 * (value - center)) / width));
  if (shape === 'linear-exact') return (value) => clamp((value - center) / width + 0.5);
  if (width <= 1) return (value) => (value > center - 0.5 ? 1 : 0);
  return (value) => clamp((value - (center - 0.5)) / (width - 1) + 0.5);
}

function fullOf(
  stored: Samples,
  isPadding: (value: number) => boolean,
  toModality: (value: number) => number,
): (value: number) => number {
  let least = Number.POSITIVE_INFINITY;
  let greatest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < stored.length; i++) {
    const value = stored[i] as number;
    if (!Number.isFinite(value) || isPadding(value)) continue;
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  const ends = [toModality(least), toModality(greatest)].sort((a, b) => a - b) as [number, number];
  const span = ends[1] - ends[0];
  return span > 0 ? (value) => clamp((value - ends[0]) / span) : () => 0.5;
}
