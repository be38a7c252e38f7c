import type { MovingPart, Raster } from '../../dicom/rendering.ts';

/** Steps of red, green and blue in the colour table: 6 × 7 × 6 are 252 of its 256 places. */
const STEPS = [6, 7, 6] as const;
const MAX_CODE = 4096;

const WHOLE: MovingPart = { begins: true, ends: true };

/** Images of one size as a GIF that moves and goes on for ever (GIF89a with the NETSCAPE2.0 extension), or as a part of one. */
export function encodeGif(images: readonly Raster[], frameMs: number, { begins, ends } = WHOLE): Uint8Array {
  const [first] = images as [Raster];
  const grey = first.channels === 1;
  const parts: Uint8Array[] = begins ? [screen(first, grey)] : [];
  if (begins && (images.length > 1 || !ends))
    parts.push(Buffer.from('\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00', 'latin1'));
  for (const image of images) {
    const control = Buffer.from('\x21\xf9\x04\x00\x00\x00\x00\x00', 'latin1');
    control.writeUInt16LE(Math.max(2, Math.min(0xffff, Math.round(frameMs / 10))), 4);
    const place = Buffer.alloc(10);
    place[0] = 0x2c;
    place.writeUInt16LE(image.width, 5);
    place.writeUInt16LE(image.height, 7);
    parts.push(control, place, compress(grey ? image.data : indices(image)));
  }
  if (ends) parts.push(Buffer.of(0x3b));
  return Buffer.concat(parts);
}

function screen({ width, height }: Raster, grey: boolean): Buffer {
  const out = Buffer.alloc(13 + 768);
  out.write('GIF89a', 'latin1');
  out.writeUInt16LE(width, 6);
  out.writeUInt16LE(height, 8);
  out[10] = 0xf7;
  for (let i = 0; i < 256; i++) out.set(grey ? [i, i, i] : colourAt(i), 13 + 3 * i);
  return out;
}

function colourAt(index: number): number[] {
  const [reds, greens, blues] = STEPS;
  const places = [Math.floor(index / (greens * blues)) % reds, Math.floor(index / blues) % greens, index % blues];
  return places.map((place, i) => Math.round((place * 255) / ((STEPS[i] as number) - 1)));
}

/** The nearest of the table's colours, with an ordered dither of 4 × 4 so that areas keep their mean. */
function indices({ width, data }: Raster): Uint8Array {
  const order = [0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5];
  const out = new Uint8Array(data.length / 3);
  for (let i = 0; i < out.length; i++) {
    const x = i % width;
    const y = (i - x) / width;
    const bias = ((order[(y & 3) * 4 + (x & 3)] as number) + 0.5) / 16 - 0.5;
    let index = 0;
    for (let channel = 0; channel < 3; channel++) {
      const steps = STEPS[channel] as number;
      const level = Math.round(((data[i * 3 + channel] as number) * (steps - 1)) / 255 + bias * 0.99);
      index = index * steps + Math.max(0, Math.min(steps - 1, level));
    }
    out[i] = index;
  }
  return out;
}

/** Strings by their prefix's code and last byte. A thread compresses one image at a time, and leaves the table empty. */
const table = new Int16Array(MAX_CODE * 256).fill(-1);

/** LZW with codes of 9 to 12 bits, in sub-blocks of at most 255 bytes. */
function compress(pixels: Uint8Array): Uint8Array {
  const clear = 256;
  const end = 257;
  const bytes = Buffer.alloc(pixels.length * 2 + 1024);
  let length = 0;
  let bits = 0;
  let held = 0;
  let size = 9;
  let next = 258;
  const put = (code: number) => {
    held |= code << bits;
    bits += size;
    for (; bits >= 8; bits -= 8, held >>>= 8) bytes[length++] = held & 0xff;
  };
  const used: number[] = [];
  put(clear);
  let prefix = pixels[0] as number;
  for (let i = 1; i < pixels.length; i++) {
    const value = pixels[i] as number;
    const key = prefix * 256 + value;
    const known = table[key] as number;
    if (known >= 0) {
      prefix = known;
      continue;
    }
    put(prefix);
    prefix = value;
    if (next < MAX_CODE) {
      table[key] = next;
      used.push(key);
      if (next === 1 << size && size < 12) size++;
      next++;
      continue;
    }
    put(clear);
    for (const each of used) table[each] = -1;
    used.length = 0;
    next = 258;
    size = 9;
  }
  for (const each of used) table[each] = -1;
  put(prefix);
  put(end);
  if (bits > 0) bytes[length++] = held & 0xff;
  const blocks: Uint8Array[] = [Buffer.of(8)];
  for (let at = 0; at < length; at += 255) {
    const block = bytes.subarray(at, Math.min(length, at + 255));
    blocks.push(Buffer.of(block.length), block);
  }
  blocks.push(Buffer.of(0));
  return Buffer.concat(blocks);
}
