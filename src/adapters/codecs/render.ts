import { decodedLayout } from '../../dicom/compression.ts';
import { undecodable } from '../../dicom/pixels.ts';
import { rasterOf, resample } from '../../dicom/raster.ts';
import type { FrameMapping, Raster, Rendering } from '../../dicom/rendering.ts';
import type { CodedFrame } from '../../ports/codecs.ts';
import { decodeFrame } from './decode.ts';
import { encodeGif } from './gif.ts';
import type { NativeCodecs } from './native.ts';
import { encodePng } from './png.ts';

/** The module's places for chrominance that is not subsampled, and that is. */
const SAMPLING_444 = 0;
const SAMPLING_422 = 1;

/** Frames as one image in a consumer format. @throws DagpacsError `undecodable` */
export function renderFrames(
  native: NativeCodecs,
  frames: readonly CodedFrame[],
  rendering: Rendering,
  maxBytes: number,
): Uint8Array {
  const images = frames.map((frame, i): Raster => {
    const pixels = decodeFrame(native, frame, maxBytes);
    const layout = decodedLayout(frame.transferSyntaxUID, frame.layout);
    const image = rasterOf(pixels, layout, rendering.mappings[i] as FrameMapping, frame.float);
    return resample(image, rendering.region, rendering.width, rendering.height);
  });
  const [first] = images;
  if (!first) throw undecodable('A frame to render');
  if (rendering.format === 'image/gif') return encodeGif(images, rendering.frameMs);
  return rendering.format === 'image/png' ? encodePng(first) : encodeJpeg(native, first, rendering.quality);
}

/** Baseline JPEG; colour is YCbCr, subsampled at qualities where it does not show. */
function encodeJpeg(native: NativeCodecs, { width, height, channels, data }: Raster, quality: number): Uint8Array {
  const layout = {
    rows: height,
    columns: width,
    samplesPerPixel: channels,
    bitsAllocated: 8,
    bitsStored: 8,
    signed: false,
    planar: false,
    photometric: channels === 1 ? 'MONOCHROME2' : 'RGB',
  };
  const SampleFactor = quality > 90 ? SAMPLING_444 : SAMPLING_422;
  try {
    return native.encode('EncodeJpeg', data, layout, { Lossy: 1, Quality: quality, SampleFactor });
  } catch (error) {
    throw undecodable('An image that the JPEG encoder takes', error);
  }
}
