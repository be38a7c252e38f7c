import { join } from 'node:path';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Hex } from '../../ports/ledger.ts';
import { readIfThere, writeDurably } from './durable-file.ts';
import { openKeystore } from './keystore.ts';
import type { LedgerOptions } from './options.ts';

/** Where the institution's key is. */
export type KeyOptions = Pick<LedgerOptions, 'directory' | 'key' | 'keyFile' | 'passphraseFile'>;

const KEY_FILE = 'key';
/** Is there once the account has been used: another account could not go on. */
const DEPLOYMENT_FILE = 'deployment.json';

/**
 * The institution's account: of the key given, of the file given, or of the one in `directory`, which is made at first use.
 * @throws DagpacsError `bad-setting` for what is not a private key, `chain-mismatch` where the one that was used is gone,
 * `storage-failed`
 */
export async function accountOf(options: KeyOptions): Promise<PrivateKeyAccount> {
  const held = await heldAccount(options);
  if (held) return held;
  const path = join(options.directory, KEY_FILE);
  if (await readIfThere(join(options.directory, DEPLOYMENT_FILE)))
    throw new DagpacsError('chain-mismatch', `${path} is gone: the key of the account that anchored here is needed`);
  const made = generatePrivateKey();
  await writeDurably(path, `${made}\n`);
  return privateKeyToAccount(made);
}

/** The same, but undefined where there is none yet. */
export async function heldAccount(options: KeyOptions): Promise<PrivateKeyAccount | undefined> {
  const { directory, key, keyFile } = options;
  if (key) return toAccount(key, 'the chain key that is set');
  if (keyFile !== undefined) return accountOfFile(keyFile, options);
  const path = join(directory, KEY_FILE);
  const held = await readIfThere(path);
  return held && toAccount(held.toString('latin1').trim(), path);
}

/** A file with a private key, or with a keystore that the passphrase in another file opens. */
async function accountOfFile(path: string, { passphraseFile }: KeyOptions): Promise<PrivateKeyAccount> {
  const text = (await readSetting(path)).trim();
  if (!text.startsWith('{')) return toAccount(text, path);
  if (passphraseFile === undefined)
    throw new DagpacsError('bad-setting', `${path} is a keystore: its passphrase is not set`);
  const passphrase = (await readSetting(passphraseFile)).replace(/\r?\n$/, '');
  return toAccount(await openKeystore(text, passphrase), path);
}

async function readSetting(path: string): Promise<string> {
  const content = await readIfThere(path);
  if (!content) throw new DagpacsError('bad-setting', `${path} is not there`);
  return content.toString('utf8');
}

function toAccount(key: string, where: string): PrivateKeyAccount {
  try {
    return privateKeyToAccount(key as Hex);
  } catch {
    // The library's message may quote the key.
    throw new DagpacsError('bad-setting', `${where} is not a private key (0x and 64 hexadecimal digits)`);
  }
}
