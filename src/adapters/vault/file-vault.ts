import { createHmac, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { diskFull, isDiskFull } from '../../kernel/disk-full.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import { replaceFile } from '../../kernel/replace-file.ts';
import type { StudyKey, Vault } from '../../ports/vault.ts';
import { eraseKey } from './erased.ts';
import type { VaultOptions } from './options.ts';

const KEY_BYTES = 32;
/** Keys kept in memory: a busy archive serves from few studies at a time. */
const CACHED_KEYS = 4096;

/**
 * A vault of files: one key a file, mode 0600, so that one can be erased and shredded alone. A study's file is named by
 * an HMAC of its UID, so that the directory's listing tells no UIDs.
 * @throws DagpacsError `storage-failed`
 */
export async function openFileVault({ directory }: VaultOptions): Promise<Vault> {
  const studies = join(directory, 'studies');
  const cache = new Map<string, StudyKey>();
  const making = new Map<string, Promise<StudyKey>>();
  await attempt('open', () => mkdir(studies, { recursive: true, mode: 0o700 }));
  const nameKey = await keyOfNames();

  function pathOf(studyInstanceUID: string): string {
    return join(studies, createHmac('sha256', nameKey).update(studyInstanceUID).digest('hex'));
  }

  function remember(studyInstanceUID: string, key: StudyKey): StudyKey {
    if (cache.size >= CACHED_KEYS) cache.delete(cache.keys().next().value as string);
    cache.set(studyInstanceUID, key);
    return key;
  }

  async function installationKey(name: string): Promise<Uint8Array> {
    const path = join(directory, `${name}.key`);
    return (await readKey(path)) ?? writeKey(path);
  }

  /** A new one would hide every study's key: each study would get another, and what is sealed could not be opened. */
  async function keyOfNames(): Promise<Uint8Array> {
    const path = join(directory, 'names.key');
    const held = await readKey(path);
    if (held) return held;
    const names = await attempt('list', () => readdir(studies));
    if (names.length === 0) return writeKey(path);
    throw new DagpacsError(
      'storage-failed',
      `${path} is gone, and the studies' keys are not found without it: restore it`,
    );
  }

  async function find(studyInstanceUID: string): Promise<StudyKey | undefined> {
    const cached = cache.get(studyInstanceUID);
    if (cached) return cached;
    const key = await readKey(pathOf(studyInstanceUID));
    return key && remember(studyInstanceUID, key);
  }

  async function ensure(studyInstanceUID: string): Promise<StudyKey> {
    const found = cache.get(studyInstanceUID);
    if (found) return found;
    // Two instances of a new study at once must not make two keys.
    let promise = making.get(studyInstanceUID);
    if (!promise) {
      promise = (async () => {
        const key = (await find(studyInstanceUID)) ?? (await writeKey(pathOf(studyInstanceUID)));
        return remember(studyInstanceUID, key);
      })().finally(() => making.delete(studyInstanceUID));
      making.set(studyInstanceUID, promise);
    }
    return promise;
  }

  async function erase(studyInstanceUID: string): Promise<void> {
    await making.get(studyInstanceUID);
    await attempt('erase', () => eraseKey(directory, pathOf(studyInstanceUID)));
    cache.delete(studyInstanceUID);
  }

  async function* all(): AsyncIterable<StudyKey> {
    for (const name of await attempt('list', () => readdir(studies))) {
      const key = name.includes('.') ? undefined : await readKey(join(studies, name));
      if (key) yield key;
    }
  }

  return { ensure, find, erase, all, installationKey };
}

async function readKey(path: string): Promise<Uint8Array | undefined> {
  const key = await attempt('read', async () => {
    try {
      return await readFile(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  });
  if (key && key.length !== KEY_BYTES) {
    const rule = `holds ${key.length} bytes instead of ${KEY_BYTES}`;
    throw new DagpacsError('storage-failed', `${path} ${rule}: remove it and restore it from a backup`);
  }
  return key;
}

/** Makes a key that is durable, whole or not at all, when the promise resolves. */
async function writeKey(path: string): Promise<Uint8Array> {
  const key = randomBytes(KEY_BYTES);
  await attempt('write', () => replaceFile(path, key));
  return key;
}

async function attempt<T>(verb: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof DagpacsError) throw error;
    if (isDiskFull(error)) throw diskFull(error);
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new DagpacsError('storage-failed', `the vault could not ${verb}: ${code}`, {}, { cause: error });
  }
}
