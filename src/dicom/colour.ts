import { storedValues } from './grey.ts';
import { fromPlanes, type PixelLayout, sampleBytes, undecodable } from './pixels.ts';
import type { Lut } from './rendering.ts';

function clamp(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : Math.round(value);
}

/** RGB of 8 bits from YBR_FULL, in place (PS3.3 C.7.6.3.1.2). */
function ybrToRgb(pixels: Uint8Array): void {
  for (let i = 0; i + 2 < pixels.length; i += 3) {
    const y = pixels[i] as number;
    const b = (pixels[i + 1] as number) - 128;
    const r = (pixels[i + 2] as number) - 128;
    pixels[i] = clamp(y + 1.402 * r);
    pixels[i + 1] = clamp(y - 0.344136 * b - 0.714136 * r);
    pixels[i + 2] = clamp(y + 1.772 * b);
  }
}

/** Two luminances, then the chrominance that they share (PS3.3 C.7.6.3.1.2). */
function expand422(pixels: Uint8Array, count: number): Uint8Array {
  const out = new Uint8Array(count * 3);
  for (let pixel = 0; pixel < count; pixel++) {
    const at = (pixel >> 1) * 4;
    out[pixel * 3] = pixels[at + (pixel & 1)] as number;
    out[pixel * 3 + 1] = pixels[at + 2] as number;
    out[pixel * 3 + 2] = pixels[at + 3] as number;
  }
  return out;
}

/** RGB of 8 bits by pixel from the samples of a colour frame. @throws DagpacsError `undecodable` */
export function mapColour(pixels: Uint8Array, layout: PixelLayout): Uint8Array {
  const { photometric, bitsStored, samplesPerPixel } = layout;
  const count = layout.rows * layout.columns;
  if (samplesPerPixel !== 3) throw undecodable('Colour of three samples');
  const bytes = sampleBytes(layout);
  if (/^YBR_(FULL|PARTIAL)_422$/.test(photometric) && bytes === 1 && pixels.length < count * 3) {
    const full = expand422(pixels, count);
    ybrToRgb(full);
    return full;
  }
  const byPixel = layout.planar ? fromPlanes(pixels, 3, bytes) : pixels;
  const rgb = new Uint8Array(count * 3);
  const shift = bitsStored - 8;
  for (let i = 0; i < rgb.length; i++) {
    let value = 0;
    for (let byte = bytes - 1; byte >= 0; byte--) value = value * 256 + (byPixel[i * bytes + byte] as number);
    rgb[i] = shift === 0 ? value : shift > 0 ? Math.floor(value / 2 ** shift) : (value * 255) / (2 ** bitsStored - 1);
  }
  if (photometric === 'YBR_FULL' || photometric === 'YBR_FULL_422') ybrToRgb(rgb);
  return rgb;
}

/** RGB of 8 bits from a frame of PALETTE COLOR (PS3.3 C.7.6.3.1.5). */
export function mapPalette(pixels: Uint8Array, layout: PixelLayout, tables: readonly [Lut, Lut, Lut]): Uint8Array {
  const stored = storedValues(pixels, layout, false);
  const rgb = new Uint8Array(stored.length * 3);
  tables.forEach(({ first, bits, values }, channel) => {
    const shift = bits > 8 ? bits - 8 : 0;
    const last = values.length - 1;
    for (let i = 0; i < stored.length; i++) {
      const index = Math.max(0, Math.min(last, (stored[i] as number) - first));
      rgb[i * 3 + channel] = (values[index] ?? 0) >> shift;
    }
  });
  return rgb;
}
