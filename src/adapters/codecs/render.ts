import { decodedLayout } from '../../dicom/compression.ts';
import { undecodable } from '../../dicom/pixels.ts';
import { rasterOf, resample } from '../../dicom/raster.ts';
import type { FrameMapping, Raster } from '../../dicom/rendering.ts';
import type { Coders } from './coders.ts';
import { decodeFrame } from './decode.ts';
import { encodeGif } from './gif.ts';
import type { RenderJob } from './job.ts';
import { encodePng } from './png.ts';

/**
 * Frames as one image in a consumer format; for JPEG its samples by pixel, which are encoded elsewhere.
 * @throws DagpacsError `undecodable`
 */
export function renderFrames(coders: Coders, { frames, rendering, icc, maxBytes }: RenderJob): Uint8Array {
  const images = frames.map((frame, i): Raster => {
    const pixels = decodeFrame(coders, frame, maxBytes);
    const layout = decodedLayout(frame.transferSyntaxUID, frame.layout);
    const image = rasterOf(pixels, layout, rendering.mappings[i] as FrameMapping, frame.float);
    const sized = resample(image, rendering.region, rendering.width, rendering.height);
    return rendering.profile ? coloured(sized) : sized;
  });
  const [first] = images;
  if (!first) throw undecodable('A frame to render');
  if (rendering.format === 'image/gif') return encodeGif(images, rendering.frameMs, rendering.part);
  return rendering.format === 'image/png' ? encodePng(first, icc) : first.data;
}

/** Grey as RGB: only that has the colours that a profile describes. */
function coloured(image: Raster): Raster {
  if (image.channels === 3) return image;
  const data = new Uint8Array(image.data.length * 3);
  for (let i = 0; i < image.data.length; i++) data.fill(image.data[i] as number, 3 * i, 3 * i + 3);
  return { ...image, channels: 3, data };
}
