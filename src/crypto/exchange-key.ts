import { createPrivateKey, createPublicKey } from 'node:crypto';

/** PKCS #8 of an X25519 private key up to the key itself (RFC 8410, section 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
const KEY_BYTES = 32;

/** The public key (32 bytes) of an X25519 private key (any 32 bytes; RFC 7748, section 5). */
export function exchangePublicKey(privateKey: Uint8Array): Buffer {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, privateKey]), format: 'der', type: 'pkcs8' });
  return createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-KEY_BYTES);
}
