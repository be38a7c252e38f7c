import type { Sharp, SharpOptions } from 'sharp';
import { undecodable } from '../../dicom/pixels.ts';

type MakeSharp = ((samples: Uint8Array, options: SharpOptions) => Sharp) & typeof import('sharp');

let loading: Promise<MakeSharp> | undefined;

/** Loaded when it is first needed, and always on the main thread, as its authors ask for. */
async function load(): Promise<MakeSharp> {
  const { default: sharp } = await import('sharp');
  // Images come and go once: what libvips would keep of them is of no use to anybody.
  sharp.cache(false);
  sharp.concurrency(1);
  return sharp as unknown as MakeSharp;
}

/**
 * Baseline JPEG of 8-bit samples by pixel, grey or RGB, by libjpeg-turbo on a thread of libuv; colour is subsampled at
 * qualities where it does not show.
 * @throws DagpacsError `undecodable`
 */
export async function encodeJpeg(
  samples: Uint8Array,
  width: number,
  height: number,
  quality: number,
): Promise<Uint8Array> {
  loading ??= load();
  const sharp = await loading;
  const channels = samples.length === width * height ? 1 : 3;
  try {
    return await sharp(samples, { raw: { width, height, channels } })
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      // Tables of its own for each image would take twice the time for 6 % of its size.
      .jpeg({ quality, optimiseCoding: false, chromaSubsampling: quality > 90 ? '4:4:4' : '4:2:0' })
      .toBuffer();
  } catch (error) {
    throw undecodable('An image that the JPEG encoder takes', error);
  }
}
