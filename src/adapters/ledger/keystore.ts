import { createDecipheriv, pbkdf2, type ScryptOptions, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import { keccak256, toHex } from 'viem';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Hex } from '../../ports/ledger.ts';

/** An Ethereum keystore, version 3 (https://ethereum.org/developers/docs/data-structures-and-encoding/web3-secret-storage). */
interface Keystore {
  crypto: {
    cipher: string;
    ciphertext: string;
    cipherparams: { iv: string };
    kdf: string;
    kdfparams: { dklen: number; salt: string; n: number; r: number; p: number; c: number; prf: string };
    mac: string;
  };
}

const runScrypt = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);
const runPbkdf2 = promisify(pbkdf2);
/** What geth takes for a standard key needs 256 MiB; a file must not make us take more than four times that. */
const MAX_MEMORY = 1 << 30;
const PRIVATE_KEY_BYTES = 32;

/** Opens a keystore with its passphrase. @throws DagpacsError `bad-setting`, never quoting either */
export async function openKeystore(text: string, passphrase: string): Promise<Hex> {
  try {
    // Ethers writes the name with a capital letter, and geth reads both.
    const { crypto, Crypto } = JSON.parse(text) as Partial<Record<'crypto' | 'Crypto', Keystore['crypto']>>;
    const sealed = crypto ?? Crypto;
    if (!sealed) throw new Error('not a keystore');
    const derived = await derive(sealed, passphrase);
    const ciphertext = Buffer.from(sealed.ciphertext, 'hex');
    const mac = keccak256(Buffer.concat([derived.subarray(16, 32), ciphertext]));
    if (mac !== `0x${sealed.mac.toLowerCase()}` || sealed.cipher !== 'aes-128-ctr') throw new Error('not authentic');
    const decipher = createDecipheriv(
      sealed.cipher,
      derived.subarray(0, 16),
      Buffer.from(sealed.cipherparams.iv, 'hex'),
    );
    const key = Buffer.concat([decipher.update(ciphertext), decipher.final()]);
    if (key.length !== PRIVATE_KEY_BYTES) throw new Error('not a private key');
    return toHex(key);
  } catch {
    throw new DagpacsError('bad-setting', 'the passphrase is wrong, or the key file is not a keystore of version 3');
  }
}

async function derive({ kdf, kdfparams }: Keystore['crypto'], passphrase: string): Promise<Buffer> {
  const { dklen, salt, n, r, p, c, prf } = kdfparams;
  const bytes = Buffer.from(salt, 'hex');
  if (kdf === 'scrypt') return runScrypt(passphrase, bytes, dklen, { N: n, r, p, maxmem: MAX_MEMORY });
  if (kdf === 'pbkdf2' && prf === 'hmac-sha256') return runPbkdf2(passphrase, bytes, c, dklen, 'sha256');
  throw new Error('an unknown key derivation');
}
