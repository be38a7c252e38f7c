import { undecodable } from './pixels.ts';

/** What the header of a compressed frame says, before anything is decoded. */
export interface CodeStream {
  kind: 'jpeg' | 'jpeg-ls' | 'jpeg-2000';
  columns: number;
  rows: number;
  components: number;
  /** Bits of a sample. */
  precision: number;
  signed: boolean;
  /** JPEG-LS with a scan per component: decoders give planes (ISO/IEC 14495-1 C.2.3). */
  planes: boolean;
  /** JPEG 2000: the codestream is block-coded as in Part 15 (HTJ2K). */
  highThroughput: boolean;
}

const SOF_LS = 0xf7;
/** SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC). */
const FRAME_MARKERS = new Set([0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf, SOF_LS]);
const SOS = 0xda;
/** Segments before the first scan; more is no image. */
const MAX_SEGMENTS = 4096;

function read16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function read32(bytes: Uint8Array, at: number): number {
  return read16(bytes, at) * 0x10000 + read16(bytes, at + 2);
}

/** Reads the header of a JPEG, JPEG-LS or JPEG 2000 frame. @throws DagpacsError `undecodable` */
export function readCodeStream(bytes: Uint8Array): CodeStream {
  const box = findCodeStream(bytes);
  if (box !== undefined) return readSize(bytes, box);
  if (bytes.length > 4 && bytes[0] === 0xff && bytes[1] === 0xd8) return readJpeg(bytes);
  throw undecodable('A frame begins with SOI or SOC (PS3.5 §A.4)');
}

/** Where SOC stands: at the start, or in the box of a JP2 file, which DICOM forbids and some writers use. */
function findCodeStream(bytes: Uint8Array): number | undefined {
  if (bytes.length >= 4 && read32(bytes, 0) === 0xff4fff51) return 0;
  if (bytes.length < 16 || read32(bytes, 0) !== 12 || read32(bytes, 4) !== 0x6a502020) return undefined;
  for (let at = 12, boxes = 0; at + 8 <= bytes.length && boxes < 64; boxes++) {
    const length = read32(bytes, at);
    if (read32(bytes, at + 4) === 0x6a703263) return at + 8;
    if (length < 8) return undefined;
    at += length;
  }
  return undefined;
}

/** SIZ and what follows it up to the first tile (ISO/IEC 15444-1 Annex A). */
function readSize(bytes: Uint8Array, start: number): CodeStream {
  const siz = start + 4;
  if (bytes.length < siz + 39 || read16(bytes, start + 2) !== 0xff51)
    throw undecodable('SIZ follows SOC (ISO/IEC 15444-1 A.5.1)');
  const columns = read32(bytes, siz + 4) - read32(bytes, siz + 12);
  const rows = read32(bytes, siz + 8) - read32(bytes, siz + 16);
  const components = read16(bytes, siz + 36);
  if (bytes.length < siz + 38 + 3 * components || components === 0)
    throw undecodable('SIZ has three bytes for each component (ISO/IEC 15444-1 A.5.1)');
  const depth = bytes[siz + 38] as number;
  for (let i = 0; i < components; i++) {
    const at = siz + 38 + 3 * i;
    if (bytes[at] !== depth || bytes[at + 1] !== 1 || bytes[at + 2] !== 1)
      throw undecodable('Components of one precision and without subsampling (PS3.5 §8.2.4)');
  }
  const tiles =
    Math.ceil(read32(bytes, siz + 4) / Math.max(1, read32(bytes, siz + 20))) *
    Math.ceil(read32(bytes, siz + 8) / Math.max(1, read32(bytes, siz + 24)));
  if (tiles > 65535) throw undecodable('At most 65,535 tiles (ISO/IEC 15444-1 B.3)');
  return {
    kind: 'jpeg-2000',
    columns,
    rows,
    components,
    precision: (depth & 0x7f) + 1,
    signed: (depth & 0x80) !== 0,
    planes: false,
    highThroughput: (read16(bytes, siz + 2) & 0x4000) !== 0,
  };
}

function readJpeg(bytes: Uint8Array): CodeStream {
  let found: CodeStream | undefined;
  let at = 2;
  for (let segments = 0; segments < MAX_SEGMENTS; segments++) {
    while (at + 1 < bytes.length && bytes[at] === 0xff && bytes[at + 1] === 0xff) at++;
    if (at + 4 > bytes.length || bytes[at] !== 0xff) break;
    const marker = bytes[at + 1] as number;
    const length = read16(bytes, at + 2);
    if (at + 2 + length > bytes.length || length < 2) break;
    if (FRAME_MARKERS.has(marker) && length >= 8) {
      found = {
        kind: marker === SOF_LS ? 'jpeg-ls' : 'jpeg',
        precision: bytes[at + 4] as number,
        rows: read16(bytes, at + 5),
        columns: read16(bytes, at + 7),
        components: bytes[at + 9] as number,
        signed: false,
        planes: false,
        highThroughput: false,
      };
    } else if (marker === SOS) {
      if (found?.kind === 'jpeg-ls') found.planes = found.components > 1 && bytes[at + length] === 0;
      break;
    }
    at += 2 + length;
  }
  if (!found) throw undecodable('A frame header (SOF) before the first scan (ISO/IEC 10918-1 B.2)');
  return found;
}
