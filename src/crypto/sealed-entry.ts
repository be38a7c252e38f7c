import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { DagpacsError } from '../kernel/errors.ts';

const ALGORITHM = 'aes-256-gcm';
const NONCE_SIZE = 12;
const TAG_SIZE = 16;

/** Bytes by which a sealed entry is longer than the entry. */
export const ENTRY_OVERHEAD = NONCE_SIZE + TAG_SIZE;

/**
 * Seals a small value: nonce (96 random bits), AES-256-GCM ciphertext, tag. One key stays well below 2^32 values, the bound
 * of NIST SP 800-38D §8.3 for random nonces. `associatedData` must be given again to open it.
 */
export function sealEntry(key: Uint8Array, entry: Uint8Array, associatedData: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE_SIZE);
  const cipher = createCipheriv(ALGORITHM, createSecretKey(key), nonce);
  cipher.setAAD(associatedData);
  const body = cipher.update(entry);
  cipher.final();
  return Buffer.concat([nonce, body, cipher.getAuthTag()]);
}

/** The reverse of {@link sealEntry}. @throws DagpacsError `block-damaged` where anything was changed or the key is another */
export function openEntry(key: Uint8Array, sealed: Uint8Array, associatedData: Uint8Array): Buffer {
  if (sealed.length < ENTRY_OVERHEAD) throw damaged('too short');
  const nonce = sealed.subarray(0, NONCE_SIZE);
  const decipher = createDecipheriv(ALGORITHM, createSecretKey(key), nonce, { authTagLength: TAG_SIZE });
  decipher.setAAD(associatedData);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_SIZE));
  const entry = decipher.update(sealed.subarray(NONCE_SIZE, sealed.length - TAG_SIZE));
  try {
    decipher.final();
  } catch (cause) {
    throw damaged('authentication failed', cause);
  }
  return entry;
}

function damaged(rule: string, cause?: unknown): DagpacsError {
  return new DagpacsError('block-damaged', `sealed entry: ${rule}`, { rule }, cause === undefined ? {} : { cause });
}
