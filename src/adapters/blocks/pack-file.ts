import { constants } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { carHeader, parseSection } from '../../ipld/car.ts';
import type { Cid } from '../../ipld/cid.ts';
import { DagpacsError } from '../../kernel/errors.ts';

/** Bytes read at once while sections are walked: many headers, or the head of one leaf. */
const WINDOW_BYTES = 256 * 1024;

export interface Section {
  cid: Cid;
  /** Offset of the section's first byte. */
  start: number;
  dataStart: number;
  dataEnd: number;
  /** The block's bytes, valid until the next section is asked for. */
  data(): Promise<Uint8Array>;
}

export function packPath(directory: string, pack: number): string {
  return join(directory, `pack-${String(pack).padStart(6, '0')}.car`);
}

/** Numbers of the packs in a directory, ascending. */
export async function listPacks(directory: string): Promise<number[]> {
  const names = await readdir(directory);
  return names
    .map((name) => /^pack-(\d{6,})\.car$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

/** A pack open for appending. */
export interface OpenPack {
  file: FileHandle;
  /** The same file, whose writes are durable when they return. Undefined where a system has no such writes. */
  synced: FileHandle | undefined;
  end: number;
}

/** Opens a pack to append to it at `end`. */
export async function openPack(directory: string, pack: number, end: number): Promise<OpenPack> {
  const path = packPath(directory, pack);
  const { O_RDWR, O_DSYNC } = constants;
  // Elsewhere than on Linux O_DSYNC is missing or does not reach the disk, as fdatasync by libuv does.
  const synced = process.platform === 'linux' ? await open(path, O_RDWR | O_DSYNC) : undefined;
  return { file: await open(path, 'r+'), synced, end };
}

/** Makes an empty pack, durable with its directory entry. */
export async function createPack(directory: string, pack: number): Promise<OpenPack> {
  const file = await open(packPath(directory, pack), 'wx+', 0o600);
  const header = carHeader();
  await file.write(header, 0, header.length, 0);
  await file.sync();
  await file.close();
  await syncDirectory(directory);
  return openPack(directory, pack, header.length);
}

export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes all of `buffers` at `position`. A disk that is nearly full takes a part; why, it says to the next call. */
export async function writeAll(file: FileHandle, buffers: readonly Uint8Array[], position: number): Promise<void> {
  let rest = [...buffers];
  let at = position;
  for (;;) {
    const { bytesWritten } = await file.writev(rest, at);
    at += bytesWritten;
    let taken = bytesWritten;
    while (rest[0] && taken >= rest[0].length) taken -= (rest.shift() as Uint8Array).length;
    const [first, ...others] = rest;
    if (!first) return;
    if (bytesWritten === 0) throw new Error('the disk takes no bytes');
    rest = [first.subarray(taken), ...others];
  }
}

/** A pack is shorter than it was. */
export class PackEnds extends Error {}

/** Reads exactly `length` bytes at `position`, into `target` where it is long enough. @throws Error where the file ends before */
export async function readExactly(
  file: FileHandle,
  position: number,
  length: number,
  target?: Buffer,
): Promise<Buffer> {
  const buffer = target && target.length >= length ? target.subarray(0, length) : Buffer.allocUnsafeSlow(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) throw new PackEnds('the pack ends inside a block');
    done += bytesRead;
  }
  return buffer;
}

/**
 * Walks the sections of a pack from `start` to `end` without reading the blocks' bytes unless they are asked for. Stops
 * before a section that is not whole or not one.
 */
export async function* walkSections(file: FileHandle, start: number, end: number): AsyncIterable<Section> {
  let window: Buffer = Buffer.alloc(0);
  let windowStart = start;
  let position = Math.max(start, carHeader().length);
  while (position < end) {
    let at = position - windowStart;
    // A section's head takes at most 10 bytes of length and 100 of CID.
    if (at < 0 || at + 128 > window.length) {
      windowStart = position;
      window = await readExactly(file, position, Math.min(WINDOW_BYTES, end - position));
      at = 0;
    }
    const section = readHead(window, at);
    if (!section) return;
    const { cid } = section;
    const dataStart = windowStart + section.dataStart;
    const dataEnd = windowStart + section.dataEnd;
    if (dataEnd > end) return;
    yield {
      cid,
      start: position,
      dataStart,
      dataEnd,
      data: async () =>
        section.dataEnd <= window.length
          ? window.subarray(section.dataStart, section.dataEnd)
          : readExactly(file, dataStart, dataEnd - dataStart),
    };
    position = dataEnd;
  }
}

/**
 * The blocks of a pack, in order; `end` tells where it ends, where that is not the end of the file.
 * @throws DagpacsError `block-damaged` where `whole` is asked for and something in it is no section
 */
export async function* listBlocks(
  directory: string,
  pack: number,
  end: () => number | undefined,
  whole: boolean,
): AsyncIterable<{ cid: Cid; size: number }> {
  const file = await open(packPath(directory, pack), 'r');
  try {
    const last = end() ?? (await file.stat()).size;
    let reached = carHeader().length;
    // One that was being begun at a crash has no header yet.
    for await (const { cid, dataStart, dataEnd } of walkSections(file, 0, last)) {
      yield { cid, size: dataEnd - dataStart };
      reached = dataEnd;
    }
    if (whole && last > 0 && reached !== last) throw new DagpacsError('block-damaged', 'a pack is damaged');
  } finally {
    await file.close();
  }
}

function readHead(window: Buffer, at: number): ReturnType<typeof parseSection> {
  try {
    return parseSection(window, at);
  } catch {
    // What follows is not a section: the caller sees where the walk stopped.
    return undefined;
  }
}
