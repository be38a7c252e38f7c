import { inflateRawSync } from 'node:zlib';
import { type CodeStream, readCodeStream } from '../../dicom/codestream.ts';
import { type Compression, compressionOf, decodedLayout, storedFrameBytes } from '../../dicom/compression.ts';
import { readJpegXlSize } from '../../dicom/jpeg-xl.ts';
import {
  frameBytes,
  fromPlanes,
  type PixelLayout,
  sampleBytes,
  toPlanes,
  undecodable,
  widen,
} from '../../dicom/pixels.ts';
import { decodeRle } from '../../dicom/rle.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { CodedFrame } from '../../ports/codecs.ts';
import type { Coders } from './coders.ts';
import type { Decoder } from './native.ts';

/**
 * How much larger samples are than what is coded, at most: a small frame that says it is a giant gets no memory. RLE makes
 * 128 bytes of two (PS3.5 §G.3.1), deflate 1032 of one, JPEG a block of 64 samples of up to 16 bits of no less than a bit.
 * JPEG-LS has a bound of its own; JPEG 2000 and JPEG XL have none: 64 MiB of one colour are 340 bytes of the one.
 */
const MAX_RATIO: Partial<Record<Compression, number>> = { rle: 64, deflate: 1032, jpeg: 1024 };

/** Samples of a line that one bit of JPEG-LS stands for at most: the longest run (ISO/IEC 14495-1 A.7.1.2). */
const LONGEST_RUN = 32768;

/**
 * Decodes one frame into `decodedLayout`. Nothing is allocated before the code stream's own header agrees with the
 * instance's, so that neither can ask for more than the other.
 * @throws DagpacsError `undecodable`
 */
export function decodeFrame(coders: Coders, frame: CodedFrame, maxBytes: number): Uint8Array {
  const { layout, transferSyntaxUID, bytes } = frame;
  const compression = compressionOf(transferSyntaxUID);
  if (compression === undefined) throw undecodable('Frames of this transfer syntax are not decoded');
  const size = frameBytes(layout);
  if (size > maxBytes) throw undecodable(`A frame of at most ${maxBytes} bytes`);
  // Some writers keep all chrominance, whatever they say.
  if (compression === 'none') return exactly(bytes, bytes.length >= size ? size : storedFrameBytes(layout));
  const ratio = MAX_RATIO[compression];
  if (ratio !== undefined && size > ratio * bytes.length)
    throw undecodable('A frame with at least the bytes that its samples need in this coding');
  if (compression === 'rle') return decodeRle(bytes, layout);
  if (compression === 'deflate') return exactly(inflate(bytes, size), size);
  try {
    if (compression === 'jpeg-xl') return decodeJpegXl(coders, frame);
    return decodeStream(coders, frame, readCodeStream(bytes), compression);
  } catch (error) {
    throw isDagpacsError(error) ? error : undecodable('A frame that its codec can read', error);
  }
}

function exactly(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length < size) throw undecodable('A frame has the bytes that Rows, Columns and Bits Allocated give');
  return bytes.length === size ? bytes : bytes.subarray(0, size);
}

function inflate(bytes: Uint8Array, size: number): Uint8Array {
  try {
    // One byte more than the frame's padding is already too much.
    return inflateRawSync(bytes, { maxOutputLength: size + 2 });
  } catch (error) {
    throw undecodable('A raw deflate stream of one frame (PS3.5 §A.4.13)', error);
  }
}

const DECODERS: Partial<Record<Compression, [CodeStream['kind'], Decoder | 'jpegLs']>> = {
  jpeg: ['jpeg', 'DecodeJpeg'],
  'jpeg-ls': ['jpeg-ls', 'jpegLs'],
  'jpeg-2000': ['jpeg-2000', 'DecodeJpeg2000'],
  htj2k: ['jpeg-2000', 'DecodeHtJpeg2000'],
};

function decodeStream(
  coders: Coders,
  { bytes, layout, transferSyntaxUID }: CodedFrame,
  stream: CodeStream,
  compression: Compression,
): Uint8Array {
  const [kind, decoder] = DECODERS[compression] as [CodeStream['kind'], Decoder | 'jpegLs'];
  if (stream.kind !== kind) throw undecodable('A code stream of the kind that the transfer syntax names (PS3.5 §A.4)');
  const { samplesPerPixel } = layout;
  if (stream.rows !== layout.rows || stream.columns !== layout.columns || stream.components !== samplesPerPixel)
    throw undecodable('Rows, Columns and Samples per Pixel as in the code stream (PS3.5 §8.2)');
  if (stream.precision < 1 || stream.precision > layout.bitsAllocated)
    throw undecodable('A code stream of at most Bits Allocated bits (PS3.5 §8.2)');
  if (kind === 'jpeg-ls' && 8 * bytes.length < layout.rows * Math.ceil(layout.columns / LONGEST_RUN))
    throw undecodable('A frame with at least the bits that the runs of its lines need (ISO/IEC 14495-1 A.7.1.2)');
  if (kind === 'jpeg-2000' && samplesPerPixel > 1 && (stream.precision > 8 || samplesPerPixel !== 3))
    throw undecodable('JPEG 2000 in colour has three components of at most 8 bits here');
  // The codecs are told what the stream holds, and the header's layout is made from what they give.
  const bytesOfSample = stream.precision > 8 ? 2 : 1;
  const streamed: PixelLayout = {
    ...layout,
    bitsAllocated: 8 * bytesOfSample,
    bitsStored: stream.precision,
    signed: kind === 'jpeg-2000' ? stream.signed : layout.signed && stream.precision > 8,
    planar: stream.planes,
  };
  const transformed = decodedLayout(transferSyntaxUID, layout) !== layout;
  const toRgb = kind === 'jpeg' && transformed;
  let pixels =
    decoder === 'jpegLs'
      ? coders.jpegLs.decode(bytes)
      : coders.native.decode(decoder, bytes, toRgb ? { ...streamed, signed: false } : streamed, toRgb);
  if (pixels.length !== layout.rows * layout.columns * samplesPerPixel * bytesOfSample)
    throw undecodable('A code stream that gives every sample');
  if (streamed.planar !== layout.planar && samplesPerPixel > 1)
    pixels = layout.planar
      ? toPlanes(pixels, samplesPerPixel, bytesOfSample)
      : fromPlanes(pixels, samplesPerPixel, bytesOfSample);
  if (compression === 'htj2k' && bytesOfSample === 2) clampTo(pixels, stream);
  const wanted = sampleBytes(layout);
  return wanted === bytesOfSample ? pixels : widen(pixels, bytesOfSample, wanted, stream.signed);
}

/** OpenJPH gives what the wavelet gives, which after a lossy one may lie outside the samples' range (ISO/IEC 15444-1 G.1.2). */
function clampTo(pixels: Uint8Array, { precision, signed }: CodeStream): void {
  if (precision === 16) return;
  const { buffer, byteOffset, length } = pixels;
  const samples = signed
    ? new Int16Array(buffer, byteOffset, length / 2)
    : new Uint16Array(buffer, byteOffset, length / 2);
  const low = signed ? -(2 ** (precision - 1)) : 0;
  const high = low + 2 ** precision - 1;
  for (let i = 0; i < samples.length; i++) {
    const value = samples[i] as number;
    if (value > high) samples[i] = high;
    else if (value < low) samples[i] = low;
  }
}

/** JPEG XL tells its size at once; what else it has is checked by what the codec gives. */
function decodeJpegXl(coders: Coders, { bytes, layout }: CodedFrame): Uint8Array {
  const { rows, columns } = readJpegXlSize(bytes);
  // An orientation may exchange them.
  if (rows * columns !== layout.rows * layout.columns) throw undecodable('Rows and Columns as in the code stream');
  const pixels = coders.native.decode('DecodeJpegXl', bytes, { ...layout, planar: false });
  if (pixels.length !== frameBytes(layout)) throw undecodable('Rows, Columns and samples as in the code stream');
  return layout.planar ? toPlanes(pixels, layout.samplesPerPixel, sampleBytes(layout)) : pixels;
}
