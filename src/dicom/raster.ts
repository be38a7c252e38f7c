import { mapColour, mapPalette } from './colour.ts';
import { mapGrey } from './grey.ts';
import type { PixelLayout } from './pixels.ts';
import type { FrameMapping, Raster, Region } from './rendering.ts';

/** An image of 8-bit samples from a decoded frame; `float`: its samples are floating-point numbers. */
export function rasterOf(pixels: Uint8Array, layout: PixelLayout, mapping: FrameMapping, float = false): Raster {
  const { rows: height, columns: width } = layout;
  if (mapping.kind === 'grey') return { width, height, channels: 1, data: mapGrey(pixels, layout, mapping, float) };
  const { kind } = mapping;
  const data =
    kind === 'palette'
      ? mapPalette(pixels, layout, [mapping.red, mapping.green, mapping.blue])
      : mapColour(pixels, layout);
  return { width, height, channels: 3, data };
}

/** Where the pixels of one axis of the result come from: places and their weights. */
interface Taps {
  starts: Int32Array;
  counts: Int32Array;
  weights: Float32Array;
  widest: number;
}

/**
 * Averages over the area of each new pixel where the axis shrinks, and goes linearly between pixels where it grows;
 * a negative `length` mirrors.
 */
function tapsOf(size: number, start: number, length: number, result: number): Taps {
  const span = Math.abs(length);
  const scale = span / result;
  const reach = scale > 1 ? (scale + 1) / 2 : 1;
  // A part may be much larger than the image; there are no more pixels than that has.
  const widest = Math.min(size, Math.ceil(2 * reach) + 1);
  const taps: Taps = {
    starts: new Int32Array(result),
    counts: new Int32Array(result),
    weights: new Float32Array(result * widest),
    widest,
  };
  for (let i = 0; i < result; i++) {
    const center = start + (i + 0.5) * scale - 0.5;
    const at = length < 0 ? result - 1 - i : i;
    const first = Math.max(0, Math.min(size - 1, Math.ceil(center - reach)));
    let total = 0;
    let count = 0;
    for (let from = first; from < size && from < center + reach && count < widest; from++, count++) {
      const weight =
        scale > 1
          ? Math.max(0, Math.min(from + 0.5, center + scale / 2) - Math.max(from - 0.5, center - scale / 2))
          : Math.max(0, 1 - Math.abs(from - center));
      taps.weights[at * widest + count] = weight;
      total += weight;
    }
    // Outside the image its edge goes on.
    if (total === 0) {
      taps.starts[at] = center < 0 ? 0 : size - 1;
      taps.counts[at] = 1;
      taps.weights[at * widest] = 1;
      continue;
    }
    taps.starts[at] = first;
    taps.counts[at] = count;
    for (let tap = 0; tap < count; tap++)
      taps.weights[at * widest + tap] = (taps.weights[at * widest + tap] as number) / total;
  }
  return taps;
}

/** Rows that are kept for the next ones: where an axis grows, two make each new row. */
const KEPT_ROWS = 4;

/** The part `region` of an image, in `width` × `height` pixels. Beside the result a few rows are held, however large it is. */
export function resample(image: Raster, region: Region | undefined, width: number, height: number): Raster {
  const whole = region ?? { x: 0, y: 0, width: image.width, height: image.height };
  if (!region && width === image.width && height === image.height) return image;
  const { channels } = image;
  const across = tapsOf(image.width, whole.x, whole.width, width);
  const down = tapsOf(image.height, whole.y, whole.height, height);
  const stride = width * channels;
  const kept = Array.from({ length: KEPT_ROWS }, () => ({ y: -1, row: new Float32Array(stride) }));
  const rowAt = (y: number): Float32Array => {
    const slot = kept[y % KEPT_ROWS] as { y: number; row: Float32Array };
    if (slot.y !== y) {
      resampleRow(image, y, across, slot.row);
      slot.y = y;
    }
    return slot.row;
  };
  const out = new Uint8Array(stride * height);
  const sums = new Float64Array(stride);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let tap = 0; tap < (down.counts[y] as number); tap++) {
      const weight = down.weights[y * down.widest + tap] as number;
      if (weight === 0) continue;
      const row = rowAt((down.starts[y] as number) + tap);
      for (let x = 0; x < stride; x++) sums[x] = (sums[x] as number) + weight * (row[x] as number);
    }
    for (let x = 0; x < stride; x++) out[y * stride + x] = Math.round(sums[x] as number);
  }
  return { width, height, channels, data: out };
}

function resampleRow({ data, width, channels }: Raster, y: number, across: Taps, row: Float32Array): void {
  const { starts, counts, weights, widest } = across;
  for (let x = 0; x < starts.length; x++) {
    const first = (y * width + (starts[x] as number)) * channels;
    const count = counts[x] as number;
    for (let channel = 0; channel < channels; channel++) {
      let sum = 0;
      for (let tap = 0; tap < count; tap++)
        sum += (weights[x * widest + tap] as number) * (data[first + tap * channels + channel] as number);
      row[x * channels + channel] = sum;
    }
  }
}
