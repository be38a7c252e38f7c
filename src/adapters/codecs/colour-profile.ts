import { undecodable } from '../../dicom/pixels.ts';
import type { ColourProfile, Rendering } from '../../dicom/rendering.ts';
import { jpegOptions } from './jpeg.ts';
import { loadSharp } from './sharp.ts';

/** Bytes of a profile in one APP2 segment, after its marker, name and numbers (ISO 15076-1 B.4). */
const SEGMENT_BYTES = 65519;
const SEGMENT_NAME = Buffer.from('ICC_PROFILE\0', 'latin1');

/** What is done to an image for its profile. */
export interface ProfilePlan {
  /** Put into the image, whose samples stay; where they are converted, what describes them before. */
  icc?: Uint8Array | undefined;
  /** What libvips calls the profile that samples are converted to. */
  convertTo?: 'srgb' | 'p3';
}

/** Samples are converted only where they are of other colours than asked for. */
export async function planProfile({ name, stored }: ColourProfile): Promise<ProfilePlan> {
  if (name === 'displayp3') return { icc: stored, convertTo: 'p3' };
  if (stored) return name === 'yes' ? { icc: stored } : { icc: stored, convertTo: 'srgb' };
  srgb ??= makeSrgb();
  return { icc: await srgb };
}

let srgb: Promise<Uint8Array> | undefined;

/** The sRGB profile of libvips, which only an image that has it shows. */
async function makeSrgb(): Promise<Uint8Array> {
  const sharp = await loadSharp();
  const raw = { width: 1, height: 1, channels: 3 } as const;
  const image = await sharp(new Uint8Array(3), { raw }).withIccProfile('srgb').png().toBuffer();
  const { icc } = await sharp(image).metadata();
  if (!icc) throw new TypeError('an image without the profile that it was made with');
  return icc;
}

/** A PNG in other colours than its own. @throws DagpacsError `undecodable` */
export async function convertColours(
  png: Uint8Array,
  convertTo: 'srgb' | 'p3',
  { format, quality }: Rendering,
): Promise<Uint8Array> {
  const sharp = await loadSharp();
  try {
    const image = sharp(png).withIccProfile(convertTo);
    return await (format === 'image/png' ? image.png() : image.jpeg(jpegOptions(quality))).toBuffer();
  } catch (error) {
    throw undecodable('An ICC Profile (0028,2000) that colours can be converted by', error);
  }
}

/** A JPEG with an ICC profile, in as many segments as it takes (ISO 15076-1 B.4), behind its JFIF header. */
export function withProfile(jpeg: Uint8Array, icc: Uint8Array): Uint8Array {
  const count = Math.ceil(icc.length / SEGMENT_BYTES);
  if (count > 255) throw undecodable(`An ICC Profile of at most ${255 * SEGMENT_BYTES} bytes`);
  const segments = Array.from({ length: count }, (_, i) => {
    const part = icc.subarray(i * SEGMENT_BYTES, (i + 1) * SEGMENT_BYTES);
    const head = Buffer.of(0xff, 0xe2, 0, 0);
    head.writeUInt16BE(2 + SEGMENT_NAME.length + 2 + part.length, 2);
    return Buffer.concat([head, SEGMENT_NAME, Buffer.of(i + 1, count), part]);
  });
  const jfif = jpeg[2] === 0xff && jpeg[3] === 0xe0;
  const at = jfif ? 4 + (((jpeg[4] as number) << 8) | (jpeg[5] as number)) : 2;
  return Buffer.concat([jpeg.subarray(0, at), ...segments, jpeg.subarray(at)]);
}
