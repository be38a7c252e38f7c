import { join } from 'node:path';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Hex } from '../../ports/ledger.ts';
import { readIfThere, writeDurably } from './durable-file.ts';

/**
 * The institution's account: of the key given, or of the one in `directory`, which is made at first use.
 * @throws DagpacsError `bad-setting` for what is not a private key, `storage-failed`
 */
export async function accountOf(directory: string, key: Hex | undefined): Promise<PrivateKeyAccount> {
  if (key) return toAccount(key, 'the chain key that is set');
  const path = join(directory, 'key');
  const held = await readIfThere(path);
  if (held) return toAccount(held.toString('latin1').trim(), path);
  const made = generatePrivateKey();
  await writeDurably(path, `${made}\n`);
  return privateKeyToAccount(made);
}

function toAccount(key: string, where: string): PrivateKeyAccount {
  try {
    return privateKeyToAccount(key as Hex);
  } catch {
    // The library's message may quote the key.
    throw new DagpacsError('bad-setting', `${where} is not a private key (0x and 64 hexadecimal digits)`);
  }
}
