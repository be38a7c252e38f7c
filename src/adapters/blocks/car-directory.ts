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

/**
 * The CAR files of a directory, such as the packs of a bridge that is gone. What cannot be read as a section ends its file.
 * @throws DagpacsError `storage-failed`
 */
export async function openCarDirectory(directory: string): Promise<Archive> {
  const places = new Map<string, Place>();
  const nodes: Cid[] = [];
  const files: FileHandle[] = [];
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
        return await readExactly(place.file, place.start, place.length);
      } catch (error) {
        throw failed(error);
      }
    },
    others: () => nodes,
    close,
  };
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
