import { frameBytes, type PixelLayout, sampleBytes } from './pixels.ts';
import { transferSyntax } from './transfer-syntax.ts';

/** The family of a transfer syntax's frames, by which a codec is chosen. */
export type Compression = 'none' | 'rle' | 'deflate' | 'jpeg' | 'jpeg-ls' | 'jpeg-2000' | 'htj2k' | 'jpeg-xl';

export const RLE_LOSSLESS = '1.2.840.10008.1.2.5';
export const JPEG_LS_LOSSLESS = '1.2.840.10008.1.2.4.80';
export const JPEG_2000_LOSSLESS = '1.2.840.10008.1.2.4.90';
export const HTJ2K_LOSSLESS = '1.2.840.10008.1.2.4.201';
export const HTJ2K_LOSSLESS_RPCL = '1.2.840.10008.1.2.4.202';

/** Transfer syntaxes that frames can be encoded in; all lossless, so that an instance stays the same instance. */
export const ENCODINGS: readonly string[] = [
  RLE_LOSSLESS,
  JPEG_LS_LOSSLESS,
  JPEG_2000_LOSSLESS,
  HTJ2K_LOSSLESS,
  HTJ2K_LOSSLESS_RPCL,
];

const JPEG = 'image/jpeg';
const BY_UID: Record<string, Compression> = {
  '1.2.840.10008.1.2.1.98': 'none',
  '1.2.840.10008.1.2.8.1': 'deflate',
  [RLE_LOSSLESS]: 'rle',
};
const BY_MEDIA_TYPE: Record<string, Compression> = {
  [JPEG]: 'jpeg',
  'image/jls': 'jpeg-ls',
  'image/jp2': 'jpeg-2000',
  'image/jphc': 'htj2k',
  'image/jxl': 'jpeg-xl',
};
/** Hierarchical and arithmetic-coded processes, which went out of the standard unused. */
const UNSUPPORTED = /^1\.2\.840\.10008\.1\.2\.4\.(52|54|56|59|6\d)$/;

/** How frames of a transfer syntax are decoded; undefined where they cannot be (video, Part 2 of JPEG 2000, JPIP, unknown). */
export function compressionOf(transferSyntaxUID: string): Compression | undefined {
  const syntax = transferSyntax(transferSyntaxUID);
  if (!syntax || UNSUPPORTED.test(transferSyntaxUID)) return undefined;
  if (BY_UID[transferSyntaxUID]) return BY_UID[transferSyntaxUID];
  if (!syntax.encapsulated) return /\.4\.(94|95|204|205)$|\.7\.[123]$/.test(transferSyntaxUID) ? undefined : 'none';
  return BY_MEDIA_TYPE[syntax.mediaType];
}

/**
 * The layout of a frame once it is decoded. Colour that a JPEG or JPEG 2000 coder has transformed comes back as RGB, since
 * native pixels have no such transformation; everything else is as the header says.
 */
export function decodedLayout(transferSyntaxUID: string, layout: PixelLayout): PixelLayout {
  const compression = compressionOf(transferSyntaxUID);
  const { photometric } = layout;
  const transformed =
    (compression === 'jpeg' && photometric.startsWith('YBR')) ||
    (compression === 'jpeg-xl' && (photometric.startsWith('YBR') || photometric === 'XYB')) ||
    photometric === 'YBR_RCT' ||
    photometric === 'YBR_ICT';
  return layout.samplesPerPixel === 3 && transformed ? { ...layout, photometric: 'RGB' } : layout;
}

/** The layout that goes with frames which `transferSyntaxUID` encodes from `layout`; undefined where it cannot. */
export function encodedLayout(transferSyntaxUID: string, layout: PixelLayout): PixelLayout | undefined {
  const { bitsAllocated, samplesPerPixel, photometric } = layout;
  const colour = samplesPerPixel > 1;
  // What is subsampled has fewer samples than the coders take.
  if (bitsAllocated === 1 || (colour && /42[02]$/.test(photometric))) return undefined;
  if (transferSyntaxUID === RLE_LOSSLESS) return samplesPerPixel * sampleBytes(layout) <= 15 ? layout : undefined;
  if (bitsAllocated > 16 || (colour && samplesPerPixel !== 3)) return undefined;
  const interleaved = { ...layout, planar: false };
  if (transferSyntaxUID === JPEG_LS_LOSSLESS) return interleaved;
  // The JPEG 2000 coders take colour of 8 bits only, and those without a sign; HTJ2K always transforms it, which only RGB has a name for.
  if (bitsAllocated > 8 ? colour : layout.signed) return undefined;
  if (transferSyntaxUID === JPEG_2000_LOSSLESS || photometric === 'RGB')
    return photometric === 'RGB' ? { ...interleaved, photometric: 'YBR_RCT' } : interleaved;
  return colour ? undefined : interleaved;
}

/** Bytes of one native frame of `layout` as stored: chrominance that is subsampled is shared by two pixels. */
export function storedFrameBytes(layout: PixelLayout): number {
  const subsampled = layout.samplesPerPixel === 3 && /^YBR_(FULL|PARTIAL)_422$/.test(layout.photometric);
  return subsampled ? (frameBytes(layout) * 2) / 3 : frameBytes(layout);
}
