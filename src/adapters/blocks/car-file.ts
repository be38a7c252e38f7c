import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseCarHeader } from '../../ipld/car.ts';
import type { Cid } from '../../ipld/cid.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Archive } from '../../ports/archive.ts';
import { readExactly, walkSections } from './pack-file.ts';
import { storageFailed } from './pack-writer.ts';

/** Far more than a header of a few roots takes. */
const MAX_HEADER = 64 * 1024;
/** Bytes that are gathered before they are written. */
const WRITE_BYTES = 1 << 20;

/** One CAR file, whose blocks may come in any order. */
export interface CarFile extends Archive {
  roots: Cid[];
}

/**
 * Opens a CARv1 file: its sections' heads are read, its blocks when they are asked for. What is no section of ours ends it.
 * @throws DagpacsError `invalid-parameter` for what is no CAR file, `storage-failed`
 */
export async function openCarFile(path: string): Promise<CarFile> {
  const file = await attempt('open a CAR file', () => open(path, 'r'));
  const places = new Map<string, { start: number; length: number }>();
  try {
    const { size } = await file.stat();
    const { roots, end } = parseCarHeader(await readExactly(file, 0, Math.min(size, MAX_HEADER)));
    for await (const { cid, dataStart, dataEnd } of walkSections(file, end, size)) {
      places.set(cid.toString(), { start: dataStart, length: dataEnd - dataStart });
    }
    return {
      roots,
      follow: () => undefined,
      async get(cid) {
        const place = places.get(cid.toString());
        return place && attempt('read a CAR file', () => readExactly(file, place.start, place.length));
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    if (!isDagpacsError(error)) throw storageFailed('read a CAR file', error);
    const subject = { attribute: 'CAR', rule: 'must be a CARv1 file' };
    throw new DagpacsError('invalid-parameter', error.message, subject, { cause: error });
  }
}

/** Takes in a CAR file as it comes, for it to be looked at from its end; it is deleted when it is closed. */
export async function receiveCar(directory: string, bytes: AsyncIterable<Uint8Array>): Promise<CarFile> {
  await attempt('take in a CAR file', () => mkdir(directory, { recursive: true, mode: 0o700 }));
  const path = join(directory, `${randomBytes(8).toString('hex')}.car`);
  const remove = () => rm(path, { force: true });
  try {
    const file = await attempt('take in a CAR file', () => open(path, 'wx', 0o600));
    try {
      await writeAll(file, bytes);
    } finally {
      await file.close();
    }
    const car = await openCarFile(path);
    return {
      ...car,
      async close() {
        await car.close();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Deletes what an end without warning left of CAR files that were being taken in. */
export async function forgetReceived(directory: string): Promise<void> {
  await attempt('tidy up', () => rm(directory, { recursive: true, force: true }));
}

async function writeAll(file: FileHandle, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  let waiting: Uint8Array[] = [];
  let size = 0;
  const flush = async () => {
    await attempt('take in a CAR file', () => file.writeFile(Buffer.concat(waiting)));
    waiting = [];
    size = 0;
  };
  for await (const chunk of bytes) {
    // The sender's buffer is used again.
    waiting.push(Buffer.from(chunk));
    size += chunk.length;
    if (size >= WRITE_BYTES) await flush();
  }
  await flush();
}

async function attempt<T>(what: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw storageFailed(what, error);
  }
}
