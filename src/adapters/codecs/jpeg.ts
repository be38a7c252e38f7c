import type { JpegOptions } from 'sharp';
import { undecodable } from '../../dicom/pixels.ts';
import { loadSharp } from './sharp.ts';

/** Subsampled colour at qualities where it does not show. */
export function jpegOptions(quality: number): JpegOptions {
  // Tables of its own for each image would take twice the time for 6 % of its size.
  return { quality, optimiseCoding: false, chromaSubsampling: quality > 90 ? '4:4:4' : '4:2:0' };
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
  const sharp = await loadSharp();
  const channels = samples.length === width * height ? 1 : 3;
  try {
    return await sharp(samples, { raw: { width, height, channels } })
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .jpeg(jpegOptions(quality))
      .toBuffer();
  } catch (error) {
    throw undecodable('An image that the JPEG encoder takes', error);
  }
}
