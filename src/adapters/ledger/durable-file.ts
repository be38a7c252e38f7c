import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DagpacsError } from '../../kernel/errors.ts';

/**
 * Writes a file (mode 0600) that after a power cut is either the old one or the new one, whole.
 * @throws DagpacsError `storage-failed`
 */
export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const next = `${path}.next`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(next, 'w', 0o600);
    try {
      await file.writeFile(content);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(next, path);
    if (process.platform === 'win32') return;
    const directory = await open(dirname(path));
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
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
