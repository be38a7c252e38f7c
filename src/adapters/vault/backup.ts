import { createCipheriv, createDecipheriv, hash, randomBytes, scrypt } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DagpacsError } from '../../kernel/errors.ts';
import { replaceFile } from '../../kernel/replace-file.ts';
import { erasedFrom, eraseKey, ifThere, noteOf } from './erased.ts';

/**
 * A backup of what follows from nothing else: the vault's keys, and the chain's account and contract. One file:
 * `DAGPACS-KEYS-1`, a salt (16 bytes), log2 of scrypt's N (1 byte), a nonce (12 bytes), then AES-256-GCM over the entries,
 * each its name's length (2 bytes, big-endian), its name, its content's length (2 bytes) and its content; all that comes
 * before the ciphertext is authenticated with it.
 *
 * An increment is such a file too: what is new since its base, `-` and the name of each entry that is gone, and the entry
 * `base` with the base's SHA-256. A base is a whole backup, or an increment with its own bases before it.
 */
const MAGIC = Buffer.from('DAGPACS-KEYS-1\n');
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = MAGIC.length + SALT_BYTES + 1 + NONCE_BYTES;
/** 128 MiB for each guess of the passphrase. */
const LOG_N = 17;
const MAX_LOG_N = 20;
const SHORTEST_PASSPHRASE = 8;

/** Only in an increment. */
const BASE = 'base';
const GONE = '-';

/** What is taken, relative to the data directory. */
const ENTRY =
  /^(?:vault\/(?:studies|erased)\/[0-9a-f]{64}|vault\/[a-z][a-z0-9-]*\.key|chain\/key|chain\/deployment\.json)$/;
const STUDIES = 'vault/studies';
const FOLDERS = ['vault', STUDIES, 'vault/erased', 'chain'];

/**
 * Writes a backup of a data directory's keys to `file` (mode 0600), which is replaced whole or not at all. The bridge may
 * run meanwhile. With `bases` (a whole backup, then increments in their order) it is an increment upon the last of them.
 * @returns how many entries it holds, and how many of the bases' are gone
 * @throws DagpacsError `bad-setting` for a passphrase that is too short or a file that is a base too, `backup-refused` for bases that are damaged or do not
 * follow each other, `storage-failed`
 */
export async function backupKeys(
  dataDir: string,
  file: string,
  passphrase: string,
  bases: readonly string[] = [],
): Promise<{ keys: number; gone: number }> {
  if (passphrase.length < SHORTEST_PASSPHRASE) {
    throw new DagpacsError('bad-setting', `the passphrase has fewer than ${SHORTEST_PASSPHRASE} characters`);
  }
  for (const base of bases) {
    if (!(await sameFile(base, file))) continue;
    throw new DagpacsError('bad-setting', `${file} is a base too: an increment must not take its base's place`);
  }
  const before = await openBackups(bases, passphrase);
  const parts: Buffer[] = before.digest ? [...entry(BASE, before.digest)] : [];
  const names = await entriesOf(dataDir);
  if (names.length === 0)
    throw new DagpacsError('bad-setting', 'the data directory has no keys', { attribute: 'DAGPACS_DATA_DIR' });
  let keys = 0;
  const present = new Set<string>();
  for (const name of names) {
    const content = await readIfThere(join(dataDir, name));
    // It was erased since the folder was listed.
    if (!content) continue;
    present.add(name);
    if (before.entries.get(name)?.equals(content)) continue;
    parts.push(...entry(name, content));
    if (content.length > 0) keys += 1;
  }
  const gone = [...before.entries.keys()].filter((name) => !present.has(name));
  for (const name of gone) parts.push(...entry(GONE + name, Buffer.alloc(0)));
  const salt = randomBytes(SALT_BYTES);
  const head = Buffer.concat([MAGIC, salt, Buffer.of(LOG_N), randomBytes(NONCE_BYTES)]);
  const cipher = createCipheriv('aes-256-gcm', await deriveKey(passphrase, salt, LOG_N), head.subarray(-NONCE_BYTES));
  cipher.setAAD(head);
  const sealed = [...parts.map((part) => cipher.update(part)), cipher.final(), cipher.getAuthTag()];
  await attempt('write', () => replaceFile(file, Buffer.concat([head, ...sealed])));
  return { keys, gone: gone.length };
}

/**
 * Writes a backup's keys (a whole one, then increments in their order) into a data directory that holds none of them, or the
 * same, and takes from it those that are gone since. A key that was erased there stays erased, and one that the backup says was
 * is erased there too.
 * Nothing is written unless all of it is authentic and agrees with what is there.
 * @returns how many keys it holds, and how many of them are left out since they were erased
 * @throws DagpacsError `backup-refused`, `storage-failed`
 */
export async function restoreKeys(
  dataDir: string,
  files: readonly string[],
  passphrase: string,
): Promise<{ keys: number; erased: number }> {
  const { entries, gone } = await openBackups(files, passphrase);
  const vault = join(dataDir, 'vault');
  const erasedHere = await attempt('list', () => erasedFrom(vault));
  const erasedThere = (key: Buffer) => entries.has(`vault/${noteOf(key)}`);
  const keys = [...entries].filter(([, content]) => content.length > 0);
  const live = keys.filter(([name, key]) => {
    return !name.startsWith(STUDIES) || !(erasedHere(key) || erasedThere(key));
  });
  const missing: [string, Buffer][] = [...entries].filter(([, content]) => content.length === 0);
  for (const [name, content] of live) {
    const file = await readIfThere(join(dataDir, name));
    const held = file && name.startsWith(STUDIES) && erasedThere(file) ? undefined : file;
    if (held && !held.equals(content)) {
      throw new DagpacsError('backup-refused', 'the data directory has keys of its own: restore into an empty one');
    }
    if (!held) missing.push([name, content]);
  }
  for (const [name, content] of gone) {
    // The study may have come again since, and have another key.
    if ((await readIfThere(join(dataDir, name)))?.equals(content))
      await attempt('erase', () => eraseKey(vault, join(dataDir, name)));
  }
  for (const name of await entriesOf(dataDir)) {
    const held = name.startsWith(STUDIES) ? await readIfThere(join(dataDir, name)) : undefined;
    if (held && erasedThere(held)) await attempt('erase', () => eraseKey(vault, join(dataDir, name)));
  }
  for (const [name, content] of missing) await attempt('write', () => replaceFile(join(dataDir, name), content));
  return { keys: live.length, erased: keys.length - live.length };
}

/** What a backup and its increments come to: what is there, what is gone, and the last file's SHA-256. */
async function openBackups(files: readonly string[], passphrase: string) {
  const entries = new Map<string, Buffer>();
  const gone = new Map<string, Buffer>();
  let digest: Buffer | undefined;
  for (const file of files) {
    const bytes = await attempt('read', () => readFile(file));
    const opened = await openBackup(bytes, passphrase);
    const base = opened.get(BASE);
    if (digest ? !base?.equals(digest) : base) {
      throw new DagpacsError('backup-refused', `${file} does not follow the backup before it`);
    }
    opened.delete(BASE);
    for (const [name, content] of opened) {
      if (!name.startsWith(GONE)) {
        entries.set(name, content);
        gone.delete(name);
        continue;
      }
      const key = name.slice(GONE.length);
      const lost = entries.get(key);
      if (lost) gone.set(key, lost);
      entries.delete(key);
    }
    digest = hash('sha256', bytes, 'buffer');
  }
  return { entries, gone, digest };
}

async function openBackup(bytes: Buffer, passphrase: string): Promise<Map<string, Buffer>> {
  const head = bytes.subarray(0, HEAD_BYTES);
  const logN = head[MAGIC.length + SALT_BYTES];
  const isBackup = bytes.length >= HEAD_BYTES + TAG_BYTES && head.subarray(0, MAGIC.length).equals(MAGIC);
  // A damaged count must not make us take all memory.
  if (!isBackup || logN === undefined || logN < 1 || logN > MAX_LOG_N) throw refused();
  const salt = head.subarray(MAGIC.length, MAGIC.length + SALT_BYTES);
  const decipher = createDecipheriv(
    'aes-256-gcm',
    await deriveKey(passphrase, salt, logN),
    head.subarray(-NONCE_BYTES),
  );
  decipher.setAAD(head);
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    const plain = decipher.update(bytes.subarray(HEAD_BYTES, -TAG_BYTES));
    decipher.final();
    return readEntries(plain);
  } catch (cause) {
    throw refused(cause);
  }
}

function readEntries(plain: Buffer): Map<string, Buffer> {
  const entries = new Map<string, Buffer>();
  for (let at = 0; at < plain.length; ) {
    const nameEnd = at + 2 + plain.readUInt16BE(at);
    const name = plain.toString('utf8', at + 2, nameEnd);
    const end = nameEnd + 2 + plain.readUInt16BE(nameEnd);
    const known = name === BASE || ENTRY.test(name.startsWith(GONE) ? name.slice(GONE.length) : name);
    if (!known || end > plain.length) throw new Error('an entry that no backup has');
    entries.set(name, plain.subarray(nameEnd + 2, end));
    at = end;
  }
  return entries;
}

async function entriesOf(dataDir: string): Promise<string[]> {
  const names: string[] = [];
  for (const folder of FOLDERS) {
    const files = (await attempt('list', () => ifThere(() => readdir(join(dataDir, folder))))) ?? [];
    names.push(...files.map((file) => `${folder}/${file}`).filter((name) => ENTRY.test(name)));
  }
  return names;
}

function deriveKey(passphrase: string, salt: Buffer, logN: number): Promise<Buffer> {
  const N = 2 ** logN;
  return new Promise((resolve, reject) => {
    // 128 N r bytes, and some.
    scrypt(passphrase.normalize('NFC'), salt, 32, { N, r: 8, p: 1, maxmem: 1024 * N * 8 }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}

function entry(name: string, content: Buffer): Buffer[] {
  return [lengthOf(Buffer.byteLength(name)), Buffer.from(name), lengthOf(content.length), content];
}

function lengthOf(length: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(length);
  return bytes;
}

function readIfThere(path: string): Promise<Buffer | undefined> {
  return attempt('read', () => ifThere(() => readFile(path)));
}

/** By whatever names, symbolic links too. */
async function sameFile(one: string, other: string): Promise<boolean> {
  const [a, b] = await attempt('read', () => Promise.all([one, other].map((path) => ifThere(() => stat(path)))));
  return a !== undefined && a.dev === b?.dev && a.ino === b.ino;
}

async function attempt<T>(verb: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new DagpacsError('storage-failed', `the backup could not ${verb} a file: ${code}`, {}, { cause });
  }
}

function refused(cause?: unknown): DagpacsError {
  const options = cause === undefined ? {} : { cause };
  return new DagpacsError('backup-refused', 'the passphrase is wrong, or the backup is damaged or none', {}, options);
}
