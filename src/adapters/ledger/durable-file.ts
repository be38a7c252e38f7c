import { readFile } from 'node:fs/promises';
import { DagpacsError } from '../../kernel/errors.ts';
import { replaceFile } from '../../kernel/replace-file.ts';

/**
 * Writes a file (mode 0600) that after a power cut is either the old one or the new one, whole.
 * @throws DagpacsError `storage-failed`
 */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  try {
    await replaceFile(path, content);
  } catch (cause) {
    throw new DagpacsError('storage-failed', `${path} cannot be written`, {}, { cause });
  }
}

/** The file's bytes, or undefined where there is none. @throws DagpacsError `storage-failed` */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new DagpacsError('storage-failed', `${path} cannot be read`, {}, { cause });
  }
}
