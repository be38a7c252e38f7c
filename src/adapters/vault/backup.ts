import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DagpacsError } from '../../kernel/errors.ts';
import { replaceFile } from '../../kernel/replace-file.ts';

/**
 * A backup of what follows from nothing else: the vault's keys, and the chain's account and contract. One file:
 * `DAGPACS-KEYS-1`, a salt (16 bytes), log2 of scrypt's N (1 byte), a nonce (12 bytes), then AES-256-GCM over the entries,
 * each its name's length (2 bytes, big-endian), its name, its content's length (2 bytes) and its content; all that comes
 * before the ciphertext is authenticated with it.
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

/** What is taken, relative to the data directory. */
const ENTRY = /^(?:vault\/studies\/[0-9a-f]{64}|vault\/[a-z][a-z0-9-]*\.key|chain\/key|chain\/deployment\.json)$/;
const FOLDERS = ['vault', 'vault/studies', 'chain'];

/**
 * Writes a backup of a data directory's keys to `file` (mode 0600), which is replaced whole or not at all. The bridge may
 * run meanwhile.
 * @returns how many keys it holds
 * @throws DagpacsError `bad-setting` for a passphrase that is too short, `storage-failed`
 */
export async function backupKeys(dataDir: string, file: string, passphrase: string): Promise<number> {
  if (passphrase.length < SHORTEST_PASSPHRASE) {
    throw new DagpacsError('bad-setting', `the passphrase has fewer than ${SHORTEST_PASSPHRASE} characters`);
  }
  const parts: Buffer[] = [];
  let count = 0;
  for (const name of await entriesOf(dataDir)) {
    const content = await attempt('read', () => readFile(join(dataDir, name)));
    parts.push(lengthOf(Buffer.byteLength(name)), Buffer.from(name), lengthOf(content.length), content);
    count += 1;
  }
  if (count === 0)
    throw new DagpacsError('bad-setting', 'the data directory has no keys', { attribute: 'DAGPACS_DATA_DIR' });
  const salt = randomBytes(SALT_BYTES);
  const head = Buffer.concat([MAGIC, salt, Buffer.of(LOG_N), randomBytes(NONCE_BYTES)]);
  const cipher = createCipheriv('aes-256-gcm', await deriveKey(passphrase, salt, LOG_N), head.subarray(-NONCE_BYTES));
  cipher.setAAD(head);
  const sealed = [...parts.map((part) => cipher.update(part)), cipher.final(), cipher.getAuthTag()];
  await attempt('write', () => replaceFile(file, Buffer.concat([head, ...sealed])));
  return count;
}

/**
 * Writes a backup's keys into a data directory that holds none of them, or the same. Nothing is written unless the whole
 * backup is authentic and agrees with what is there.
 * @returns how many keys it holds
 * @throws DagpacsError `backup-refused`, `storage-failed`
 */
export async function restoreKeys(dataDir: string, file: string, passphrase: string): Promise<number> {
  const entries = await openBackup(await attempt('read', () => readFile(file)), passphrase);
  const missing: [string, Buffer][] = [];
  for (const [name, content] of entries) {
    const held = await readIfThere(join(dataDir, name));
    if (held && !held.equals(content)) {
      throw new DagpacsError('backup-refused', 'the data directory has keys of its own: restore into an empty one');
    }
    if (!held) missing.push([name, content]);
  }
  for (const [name, content] of missing) await attempt('write', () => replaceFile(join(dataDir, name), content));
  return entries.size;
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
    if (!ENTRY.test(name) || end > plain.length) throw new Error('an entry that no backup has');
    entries.set(name, plain.subarray(nameEnd + 2, end));
    at = end;
  }
  return entries;
}

async function entriesOf(dataDir: string): Promise<string[]> {
  const names: string[] = [];
  for (const folder of FOLDERS) {
    const files = await attempt('list', async () => {
      try {
        return await readdir(join(dataDir, folder));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw error;
      }
    });
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

function lengthOf(length: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(length);
  return bytes;
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  return attempt('read', async () => {
    try {
      return await readFile(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  });
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
