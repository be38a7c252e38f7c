import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Cid, DAG_CBOR } from '../../ipld/cid.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Archive } from '../../ports/archive.ts';
import { readExactly, walkSections } from './pack-file.ts';

interface Place {
  file: FileHandle;
  start: number;
  length: number;
}

/** Small blocks are read in windows, since those of a batch lie side by side; a block of more than half of one is not. */
const WINDOW_BYTES = 256 * 1024;
const WINDOWS = 4;

/**
 * The CAR files of a directory, such as the packs of a bridge that is gone. What cannot be read as a section ends its file.
 * @throws DagpacsError `storage-failed`
 */
export async function openCarDirectory(directory: string): Promise<Archive> {
  const places = new Map<string, Place>();
  const nodes: Cid[] = [];
  const files: FileHandle[] = [];
  const windows = new Map<string, Promise<Buffer>>();

  async function read({ file, start, length }: Place): Promise<Uint8Array> {
    if (length > WINDOW_BYTES / 2) return readExactly(file, start, length);
    const begin = start - (start % WINDOW_BYTES);
    const name = `${file.fd} ${begin}`;
    let window = windows.get(name);
    if (!window) {
      // With half of the next one, in which the last block of this one may end.
      window = readAtMost(file, begin, 1.5 * WINDOW_BYTES);
      window.catch(() => windows.delete(name));
      if (windows.size >= WINDOWS) windows.delete(windows.keys().next().value as string);
      windows.set(name, window);
    }
    return (await window).subarray(start - begin, start - begin + length);
  }

  const close = async () => {
    for (const file of files) await file.close();
  };
  try {
    const names = (await readdir(directory)).filter((name) => name.endsWith('.car')).sort();
    for (const name of names) {
      const file = await open(join(directory, name), 'r');
      files.push(file);
      const { size } = await file.stat();
      for await (const { cid, dataStart, dataEnd } of walkSections(file, await headerEnd(file, size), size)) {
        places.set(cid.toString(), { file, start: dataStart, length: dataEnd - dataStart });
        if (cid.code === DAG_CBOR) nodes.push(cid);
      }
    }
  } catch (error) {
    await close();
    throw failed(error);
  }
  return {
    follow: () => undefined,
    async get(cid) {
      const place = places.get(cid.toString());
      if (!place) return undefined;
      try {
        return await read(place);
      } catch (error) {
        throw failed(error);
      }
    },
    others: () => nodes,
    close,
  };
}

async function readAtMost(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { size } = await file.stat();
  return readExactly(file, position, Math.min(length, size - position));
}

/** Bytes of a CARv1 header: its length as a varint, and itself. */
async function headerEnd(file: FileHandle, size: number): Promise<number> {
  const start = await readExactly(file, 0, Math.min(size, 4));
  let length = 0;
  for (const [i, byte] of start.entries()) {
    length += (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return i + 1 + length;
  }
  return size;
}

function failed(cause: unknown): DagpacsError {
  const code = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
  return new DagpacsError('storage-failed', `the CAR files cannot be read: ${code}`, {}, { cause });
}
