export interface TransferSyntax {
  readonly uid: string;
  readonly name: string;
  /** Pixel Data is a sequence of fragments (PS3.5 §A.4). */
  readonly encapsulated: boolean;
  readonly implicit: boolean;
  readonly bigEndian: boolean;
  /** The data set is one raw deflate stream (PS3.5 §A.5). */
  readonly deflated: boolean;
  /** Native pixels are big-endian though the data set is not. */
  readonly bigEndianPixels: boolean;
  /** All fragments are one stream, whatever Number of Frames says. */
  readonly video: boolean;
  /** Media type of frames as WADO-RS gives them (PS3.18 §8.7.3.3). */
  readonly mediaType: string;
}

export const IMPLICIT_VR_LITTLE_ENDIAN = '1.2.840.10008.1.2';
export const EXPLICIT_VR_LITTLE_ENDIAN = '1.2.840.10008.1.2.1';
export const EXPLICIT_VR_BIG_ENDIAN = '1.2.840.10008.1.2.2';
export const DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = '1.2.840.10008.1.2.1.99';

const OCTETS = 'application/octet-stream';
const registry = new Map<string, TransferSyntax>();

function add(uid: string, name: string, mediaType: string, properties: Partial<TransferSyntax> = {}): void {
  registry.set(uid, {
    uid,
    name,
    encapsulated: true,
    implicit: false,
    bigEndian: false,
    deflated: false,
    bigEndianPixels: false,
    video: false,
    mediaType,
    ...properties,
  });
}

function addNative(uid: string, name: string, properties: Partial<TransferSyntax> = {}): void {
  add(uid, name, OCTETS, { encapsulated: false, ...properties });
}

/** Those of one media type, as `last components of the UID` → name. */
function addImages(mediaType: string, names: Record<string, string>, properties: Partial<TransferSyntax> = {}): void {
  for (const [suffix, name] of Object.entries(names)) add(`1.2.840.10008.1.2.${suffix}`, name, mediaType, properties);
}

addNative(IMPLICIT_VR_LITTLE_ENDIAN, 'Implicit VR Little Endian', { implicit: true });
addNative(EXPLICIT_VR_LITTLE_ENDIAN, 'Explicit VR Little Endian');
addNative(EXPLICIT_VR_BIG_ENDIAN, 'Explicit VR Big Endian', { bigEndian: true, bigEndianPixels: true });
addNative(DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, 'Deflated Explicit VR Little Endian', { deflated: true });
addNative('1.2.840.113619.5.2', 'Implicit VR Little Endian with Big Endian pixels (GE private)', {
  implicit: true,
  bigEndianPixels: true,
});
add('1.2.840.10008.1.2.1.98', 'Encapsulated Uncompressed Explicit VR Little Endian', OCTETS);
addImages('image/jpeg', {
  '4.50': 'JPEG Baseline (Process 1)',
  '4.51': 'JPEG Extended (Process 2 & 4)',
  '4.52': 'JPEG Extended (Process 3 & 5)',
  '4.53': 'JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8)',
  '4.54': 'JPEG Spectral Selection, Non-Hierarchical (Process 7 & 9)',
  '4.55': 'JPEG Full Progression, Non-Hierarchical (Process 10 & 12)',
  '4.56': 'JPEG Full Progression, Non-Hierarchical (Process 11 & 13)',
  '4.57': 'JPEG Lossless, Non-Hierarchical (Process 14)',
  '4.58': 'JPEG Lossless, Non-Hierarchical (Process 15)',
  '4.59': 'JPEG Extended, Hierarchical (Process 16 & 18)',
  '4.60': 'JPEG Extended, Hierarchical (Process 17 & 19)',
  '4.61': 'JPEG Spectral Selection, Hierarchical (Process 20 & 22)',
  '4.62': 'JPEG Spectral Selection, Hierarchical (Process 21 & 23)',
  '4.63': 'JPEG Full Progression, Hierarchical (Process 24 & 26)',
  '4.64': 'JPEG Full Progression, Hierarchical (Process 25 & 27)',
  '4.65': 'JPEG Lossless, Hierarchical (Process 28)',
  '4.66': 'JPEG Lossless, Hierarchical (Process 29)',
  '4.70': 'JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14, Selection Value 1)',
});
addImages('image/jls', {
  '4.80': 'JPEG-LS Lossless Image Compression',
  '4.81': 'JPEG-LS Lossy (Near-Lossless) Image Compression',
});
addImages('image/jp2', {
  '4.90': 'JPEG 2000 Image Compression (Lossless Only)',
  '4.91': 'JPEG 2000 Image Compression',
});
addImages('image/jpx', {
  '4.92': 'JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)',
  '4.93': 'JPEG 2000 Part 2 Multi-component Image Compression',
});
// Pixels lie outside the file (JPIP): what there is, is a URI.
addNative('1.2.840.10008.1.2.4.94', 'JPIP Referenced');
addNative('1.2.840.10008.1.2.4.95', 'JPIP Referenced Deflate', { deflated: true });
addNative('1.2.840.10008.1.2.4.204', 'JPIP HTJ2K Referenced');
addNative('1.2.840.10008.1.2.4.205', 'JPIP HTJ2K Referenced Deflate', { deflated: true });
const VIDEO: Record<string, Record<string, string>> = {
  'video/mpeg2': { '4.100': 'MPEG2 Main Profile / Main Level', '4.101': 'MPEG2 Main Profile / High Level' },
  'video/mp4': {
    '4.102': 'MPEG-4 AVC/H.264 High Profile / Level 4.1',
    '4.103': 'MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1',
    '4.104': 'MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video',
    '4.105': 'MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video',
    '4.106': 'MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2',
    '4.107': 'HEVC/H.265 Main Profile / Level 5.1',
    '4.108': 'HEVC/H.265 Main 10 Profile / Level 5.1',
  },
};
for (const [mediaType, names] of Object.entries(VIDEO)) {
  addImages(mediaType, names, { video: true });
  // The fragmentable forms (Supplement 180).
  const fragmentable = Object.entries(names).filter(([suffix]) => Number(suffix.slice(2)) <= 106);
  addImages(
    mediaType,
    Object.fromEntries(fragmentable.map(([suffix, name]) => [`${suffix}.1`, `Fragmentable ${name}`])),
    { video: true },
  );
}
addImages('image/jxl', {
  '4.110': 'JPEG XL Lossless',
  '4.111': 'JPEG XL JPEG Recompression',
  '4.112': 'JPEG XL',
});
addImages('image/jphc', {
  '4.201': 'High-Throughput JPEG 2000 Image Compression (Lossless Only)',
  '4.202': 'High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)',
  '4.203': 'High-Throughput JPEG 2000 Image Compression',
});
addImages('image/dicom-rle', { '5': 'RLE Lossless' });
add('1.2.840.10008.1.2.8.1', 'Deflated Image Frame Compression', OCTETS);
for (const [suffix, name] of Object.entries({
  '7.1': 'SMPTE ST 2110-20 Uncompressed Progressive Active Video',
  '7.2': 'SMPTE ST 2110-20 Uncompressed Interlaced Active Video',
  '7.3': 'SMPTE ST 2110-30 PCM Digital Audio',
}))
  addNative(`1.2.840.10008.1.2.${suffix}`, name);

/** All transfer syntaxes of PS3.6 Annex A, and GE's private one. */
export const TRANSFER_SYNTAXES: ReadonlyMap<string, TransferSyntax> = registry;

/** The transfer syntax of that UID, or undefined where it is not a known one. */
export function transferSyntax(uid: string): TransferSyntax | undefined {
  return registry.get(uid);
}
