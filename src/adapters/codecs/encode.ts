import {
  decodedLayout,
  encodedLayout,
  HTJ2K_LOSSLESS_RPCL,
  JPEG_2000_LOSSLESS,
  JPEG_LS_LOSSLESS,
  RLE_LOSSLESS,
} from '../../dicom/compression.ts';
import { fromPlanes, type PixelLayout, sampleBytes, undecodable } from '../../dicom/pixels.ts';
import { encodeRle } from '../../dicom/rle.ts';
import type { CodedFrame } from '../../ports/codecs.ts';
import type { Coders } from './coders.ts';
import { decodeFrame } from './decode.ts';
import { discard } from './memory.ts';

const LRCP = 0;
const RPCL = 2;

/**
 * One frame from its transfer syntax into another. What the encoder gives is decoded again and compared: a lossless
 * syntax on an image that was changed unseen would be the worst that can happen here.
 * @throws DagpacsError `undecodable`
 */
export function transcodeFrame(
  coders: Coders,
  frame: CodedFrame,
  transferSyntaxUID: string,
  maxBytes: number,
): Uint8Array {
  const pixels = decodeFrame(coders, frame, maxBytes);
  const source = decodedLayout(frame.transferSyntaxUID, frame.layout);
  const target = encodedLayout(transferSyntaxUID, source);
  if (!target) throw undecodable('Pixels that the transfer syntax asked for can hold (PS3.5 §8.2)');
  const arranged =
    source.planar && !target.planar ? fromPlanes(pixels, source.samplesPerPixel, sampleBytes(source)) : pixels;
  const encoded = even(encode(coders, arranged, { ...source, planar: target.planar }, transferSyntaxUID));
  const again = decodeFrame(coders, { transferSyntaxUID, bytes: encoded, layout: target }, maxBytes);
  if (Buffer.compare(again, arranged) !== 0)
    throw undecodable('Pixels that come out of the encoder as they went in (PS3.5 §8.2)');
  // The memory of `again` is not that of `encoded`, which is compressed.
  discard(frame.bytes, pixels, arranged, again);
  return encoded;
}

function encode(
  { native, jpegLs }: Coders,
  pixels: Uint8Array,
  layout: PixelLayout,
  transferSyntaxUID: string,
): Uint8Array {
  if (transferSyntaxUID === RLE_LOSSLESS) return encodeRle(pixels, layout);
  const fitted = { ...layout, bitsStored: usedBits(pixels, layout) };
  try {
    if (transferSyntaxUID === JPEG_LS_LOSSLESS) {
      const { columns: width, rows: height, samplesPerPixel: componentCount } = layout;
      const bitsPerSample = Math.max(2, fitted.bitsStored);
      return jpegLs.encode(pixels, { width, height, bitsPerSample, componentCount, isSigned: false });
    }
    if (transferSyntaxUID === JPEG_2000_LOSSLESS)
      return native.encode('EncodeJpeg2000', pixels, fitted, { ProgressionOrder: LRCP, Rate: 0, AllowMct: 1 });
    const ProgressionOrder = transferSyntaxUID === HTJ2K_LOSSLESS_RPCL ? RPCL : LRCP;
    return native.encode('EncodeHtJpeg2000', pixels, fitted, { ProgressionOrder });
  } catch (error) {
    throw undecodable('Pixels that the encoder takes', error);
  }
}

/** Bits Stored, or Bits Allocated where samples have bits above it: overlays in them are part of the value. */
function usedBits(pixels: Uint8Array, { bitsAllocated, bitsStored, signed }: PixelLayout): number {
  if (bitsStored === bitsAllocated) return bitsStored;
  const samples =
    bitsAllocated === 8 ? pixels : new Uint16Array(pixels.buffer, pixels.byteOffset, Math.floor(pixels.length / 2));
  let high = 0;
  for (let i = 0; i < samples.length; i++) high |= samples[i] as number;
  // A negative number has all the bits of its sign.
  return high >>> bitsStored === 0 && !signed ? bitsStored : bitsAllocated;
}

function even(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 2 === 0) return bytes;
  const padded = new Uint8Array(bytes.length + 1);
  padded.set(bytes);
  discard(bytes);
  return padded;
}
