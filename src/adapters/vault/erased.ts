import { hash, randomBytes } from 'node:crypto';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { replaceFile } from '../../kernel/replace-file.ts';

/** In a vault's directory: an empty file for each key that was erased, named by the key's SHA-256, which tells nothing of it. */
const ERASED = 'erased';

/**
 * Erases a key for good: notes that it is, so that no older backup brings it back, then writes over its file and removes it.
 * A file system that writes in place keeps nothing of it. Nothing happens where there is no such file.
 * @throws the operating system's error
 */
export async function eraseKey(vault: string, path: string): Promise<void> {
  const key = await ifThere(() => readFile(path));
  if (!key) return;
  await replaceFile(join(vault, ERASED, digestOf(key)), '');
  const file = await open(path, 'r+');
  try {
    await file.write(randomBytes(key.length), 0, key.length, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await rm(path);
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Tells whether a key was erased from this vault. @throws the operating system's error */
export async function erasedFrom(vault: string): Promise<(key: Uint8Array) => boolean> {
  const digests = new Set(await ifThere(() => readdir(join(vault, ERASED))));
  return (key) => digests.has(digestOf(key));
}

/** What notes that a key is erased, relative to the vault's directory. */
export function noteOf(key: Uint8Array): string {
  return `${ERASED}/${digestOf(key)}`;
}

function digestOf(key: Uint8Array): string {
  return hash('sha256', key, 'hex');
}

/** What is there, or undefined. */
export async function ifThere<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
