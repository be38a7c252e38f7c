import { crc32 } from 'node:zlib';

/** A file on its way into an archive; it gives as many bytes as it announces. */
export interface ZipFile {
  /** With `/` between folders; ASCII. */
  name: string;
  size: number;
  modified: Date;
  bytes(): AsyncIterable<Uint8Array>;
}

/** What does not fit into 32, or 16, bits is told by the fields of ZIP64. */
const MAX_32 = 0xffffffff;
const MAX_16 = 0xffff;
const ZIP64 = 1;
const VERSION = 20;
const VERSION_ZIP64 = 45;
/** Checksum and sizes follow the bytes, which nobody has seen when the header goes out. */
const FOLLOWED_BY_SIZES = 8;
/** Made by Unix (3), so that permissions count: a plain file, rw-r--r--. */
const MADE_BY = 0x0300 | VERSION_ZIP64;
const ATTRIBUTES = 0o100644 * 0x10000;
const LOCAL = 30;
const CENTRAL = 46;
const END = 22;
const END_ZIP64 = 56 + 20;

interface Placed {
  file: ZipFile;
  offset: number;
  crc: number;
}

const isLarge = ({ size }: ZipFile): boolean => size >= MAX_32;

/** Bytes of the archive. */
export function zipSize(files: readonly ZipFile[]): number {
  let offset = 0;
  let directory = 0;
  for (const file of files) {
    directory += CENTRAL + file.name.length + extraSize(file, offset);
    offset += LOCAL + file.name.length + (isLarge(file) ? 20 + 24 : 16) + file.size;
  }
  return offset + directory + (needsZip64(files.length, offset, directory) ? END_ZIP64 : 0) + END;
}

/**
 * A ZIP archive (APPNOTE 6.3) of files that are stored as they are, since images hardly shrink: made as it is read, so that
 * nothing but the directory is held. @throws where a file gives other bytes than it announced
 */
export async function* zipOf(files: readonly ZipFile[]): AsyncGenerator<Uint8Array> {
  const placed: Placed[] = [];
  let offset = 0;
  for (const file of files) {
    const head = localHeader(file);
    yield head;
    let crc = 0;
    let left = file.size;
    for await (const chunk of file.bytes()) {
      left -= chunk.length;
      crc = crc32(chunk, crc);
      yield chunk;
    }
    if (left !== 0) throw new Error('a file gave other bytes than it announced');
    const sizes = descriptor(file, crc);
    yield sizes;
    placed.push({ file, offset, crc });
    offset += head.length + file.size + sizes.length;
  }
  let directory = 0;
  for (const entry of placed) {
    const bytes = centralHeader(entry);
    directory += bytes.length;
    yield bytes;
  }
  if (needsZip64(placed.length, offset, directory)) yield endZip64(placed.length, offset, directory);
  yield end(placed.length, offset, directory);
}

function localHeader(file: ZipFile): Buffer {
  const large = isLarge(file);
  const head = Buffer.alloc(LOCAL + file.name.length + (large ? 20 : 0));
  head.writeUInt32LE(0x04034b50, 0);
  head.writeUInt16LE(large ? VERSION_ZIP64 : VERSION, 4);
  head.writeUInt16LE(FOLLOWED_BY_SIZES, 6);
  head.writeUInt32LE(timeOf(file.modified), 10);
  if (large) head.fill(0xff, 18, 26);
  head.writeUInt16LE(file.name.length, 26);
  head.writeUInt16LE(large ? 20 : 0, 28);
  head.write(file.name, LOCAL, 'latin1');
  if (large) {
    head.writeUInt16LE(ZIP64, LOCAL + file.name.length);
    head.writeUInt16LE(16, LOCAL + file.name.length + 2);
  }
  return head;
}

function descriptor(file: ZipFile, crc: number): Buffer {
  const large = isLarge(file);
  const out = Buffer.alloc(large ? 24 : 16);
  out.writeUInt32LE(0x08074b50, 0);
  out.writeUInt32LE(crc, 4);
  if (large) {
    out.writeBigUInt64LE(BigInt(file.size), 8);
    out.writeBigUInt64LE(BigInt(file.size), 16);
  } else {
    out.writeUInt32LE(file.size, 8);
    out.writeUInt32LE(file.size, 12);
  }
  return out;
}

function extraSize(file: ZipFile, offset: number): number {
  const fields = (isLarge(file) ? 16 : 0) + (offset >= MAX_32 ? 8 : 0);
  return fields === 0 ? 0 : fields + 4;
}

function centralHeader({ file, offset, crc }: Placed): Buffer {
  const { name, size } = file;
  const large = isLarge(file);
  const extra = extraSize(file, offset);
  const head = Buffer.alloc(CENTRAL + name.length + extra);
  head.writeUInt32LE(0x02014b50, 0);
  head.writeUInt16LE(MADE_BY, 4);
  head.writeUInt16LE(extra > 0 ? VERSION_ZIP64 : VERSION, 6);
  head.writeUInt16LE(FOLLOWED_BY_SIZES, 8);
  head.writeUInt32LE(timeOf(file.modified), 12);
  head.writeUInt32LE(crc, 16);
  head.writeUInt32LE(large ? MAX_32 : size, 20);
  head.writeUInt32LE(large ? MAX_32 : size, 24);
  head.writeUInt16LE(name.length, 28);
  head.writeUInt16LE(extra, 30);
  head.writeUInt32LE(ATTRIBUTES, 38);
  head.writeUInt32LE(Math.min(offset, MAX_32), 42);
  head.write(name, CENTRAL, 'latin1');
  if (extra > 0) {
    let at = CENTRAL + name.length;
    head.writeUInt16LE(ZIP64, at);
    head.writeUInt16LE(extra - 4, at + 2);
    at += 4;
    for (const value of [...(large ? [size, size] : []), ...(offset >= MAX_32 ? [offset] : [])]) {
      head.writeBigUInt64LE(BigInt(value), at);
      at += 8;
    }
  }
  return head;
}

function needsZip64(count: number, offset: number, directory: number): boolean {
  return count >= MAX_16 || offset >= MAX_32 || directory >= MAX_32;
}

/** The end of the central directory in 64 bits, and where that is. */
function endZip64(count: number, offset: number, directory: number): Buffer {
  const out = Buffer.alloc(END_ZIP64);
  out.writeUInt32LE(0x06064b50, 0);
  out.writeBigUInt64LE(44n, 4);
  out.writeUInt16LE(MADE_BY, 12);
  out.writeUInt16LE(VERSION_ZIP64, 14);
  for (const [at, value] of [
    [24, count],
    [32, count],
    [40, directory],
    [48, offset],
  ] as const) {
    out.writeBigUInt64LE(BigInt(value), at);
  }
  out.writeUInt32LE(0x07064b50, 56);
  out.writeBigUInt64LE(BigInt(offset + directory), 64);
  out.writeUInt32LE(1, 72);
  return out;
}

function end(count: number, offset: number, directory: number): Buffer {
  const out = Buffer.alloc(END);
  out.writeUInt32LE(0x06054b50, 0);
  out.writeUInt16LE(Math.min(count, MAX_16), 8);
  out.writeUInt16LE(Math.min(count, MAX_16), 10);
  out.writeUInt32LE(Math.min(directory, MAX_32), 12);
  out.writeUInt32LE(Math.min(offset, MAX_32), 16);
  return out;
}

/** MS-DOS time and date, in UTC, whose years begin with 1980. */
function timeOf(at: Date): number {
  const year = Math.min(127, Math.max(0, at.getUTCFullYear() - 1980));
  const time = (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1);
  return (((year << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate()) * 0x10000 + time) >>> 0;
}
