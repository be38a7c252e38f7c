import { join } from 'node:path';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Hex } from '../../ports/ledger.ts';
import { readIfThere, writeDurably } from './durable-file.ts';

const KEY_FILE = 'key';

/**
 * The institution's account: of the key given, or of the one in `directory`, which is made at first use.
 * @throws DagpacsError `bad-setting` for what is not a private key, `storage-failed`
 */
export async function accountOf(directory: string, key: Hex | undefined): Promise<PrivateKeyAccount> {
  const held = await heldAccount(directory, key);
  if (held) return held;
  const made = generatePrivateKey();
  await writeDurably(join(directory, KEY_FILE), `${made}\n`);
  return privateKeyToAccount(made);
}

/** The same, but undefined where there is none yet. */
export async function heldAccount(directory: string, key: Hex | undefined): Promise<PrivateKeyAccount | undefined> {
  if (key) return toAccount(key, 'the chain key that is set');
  const path = join(directory, KEY_FILE);
  const held = await readIfThere(path);
  return held && toAccount(held.toString('latin1').trim(), path);
}

function toAccount(key: string, where: string): PrivateKeyAccount {
  try {
    return privateKeyToAccount(key as Hex);
  } catch {
    // The library's message may quote the key.
    throw new DagpacsError('bad-setting', `${where} is not a private key (0x and 64 hexadecimal digits)`);
  }
}
