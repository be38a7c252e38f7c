import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto';
import { DagpacsError } from '../kernel/errors.ts';

const ALGORITHM = 'id-aes256-wrap';
/** The default initial value of RFC 3394 §2.2.3.1. */
const INITIAL_VALUE = Buffer.alloc(8, 0xa6);
/** Two blocks of key and one of integrity check; node:crypto unwraps no bytes to no bytes without a word. */
const LEAST_WRAPPED = 24;

/** AES-256 key wrap (RFC 3394): `key` (a multiple of 8 bytes, 16 or more) under `wrappingKey` (32 bytes); 8 bytes longer. */
export function wrapKey(wrappingKey: Uint8Array, key: Uint8Array): Buffer {
  const cipher = createCipheriv(ALGORITHM, createSecretKey(wrappingKey), INITIAL_VALUE);
  return Buffer.concat([cipher.update(key), cipher.final()]);
}

/** The reverse of {@link wrapKey}. @throws DagpacsError `block-damaged` where `wrapped` was changed or is under another key */
export function unwrapKey(wrappingKey: Uint8Array, wrapped: Uint8Array): Buffer {
  if (wrapped.length < LEAST_WRAPPED) throw damaged();
  const decipher = createDecipheriv(ALGORITHM, createSecretKey(wrappingKey), INITIAL_VALUE);
  try {
    return Buffer.concat([decipher.update(wrapped), decipher.final()]);
  } catch (cause) {
    throw damaged(cause);
  }
}

function damaged(cause?: unknown): DagpacsError {
  const options = cause === undefined ? {} : { cause };
  return new DagpacsError('block-damaged', 'wrapped key: integrity check failed', { rule: 'RFC 3394' }, options);
}
