import { decodedLayout } from '../../dicom/compression.ts';
import { undecodable } from '../../dicom/pixels.ts';
import { rasterOf, resample } from '../../dicom/raster.ts';
import type { FrameMapping, Raster, Rendering } from '../../dicom/rendering.ts';
import type { CodedFrame } from '../../ports/codecs.ts';
import type { Coders } from './coders.ts';
import { decodeFrame } from './decode.ts';
import { encodeGif } from './gif.ts';
import { encodePng } from './png.ts';

/**
 * Frames as one image in a consumer format; for JPEG its samples by pixel, which are encoded elsewhere.
 * @throws DagpacsError `undecodable`
 */
export function renderFrames(
  coders: Coders,
  frames: readonly CodedFrame[],
  rendering: Rendering,
  maxBytes: number,
): Uint8Array {
  const images = frames.map((frame, i): Raster => {
    const pixels = decodeFrame(coders, frame, maxBytes);
    const layout = decodedLayout(frame.transferSyntaxUID, frame.layout);
    const image = rasterOf(pixels, layout, rendering.mappings[i] as FrameMapping, frame.float);
    return resample(image, rendering.region, rendering.width, rendering.height);
  });
  const [first] = images;
  if (!first) throw undecodable('A frame to render');
  if (rendering.format === 'image/gif') return encodeGif(images, rendering.frameMs);
  return rendering.format === 'image/png' ? encodePng(first) : first.data;
}
