import { createHmac, randomBytes } from 'node:crypto';
import { test } from 'tap';
import { deriveStudy, leafSalt, studyReference } from '../../../src/crypto/study-key.ts';

const KNOWN = {
  reference: '59ea29b418d8b90197ce865ef14bf6ae6e9473bd74e48cc429aa7dc720e49965',
  wrappingKey: 'ef3d2b04ac2cd5bb536bd2b385a3bcbb9576043f185b78f55d1301feb617bcce',
  entryKey: 'fd656da012d9ffe67668645a5e86e8e4e9668a44f07096435748c5cbcc6ce31a',
  saltKey: '7e48db4255ac8042e0fdaa3c17509dc8d24d1682f357c2465e93b826fdcc55f5',
  salt: '4d5571a52235db431480011481b627a078ea02f7e477c935f99a16eff0c9d17e',
};

/** RFC 5869 §2.2 and §2.3 for one block of output, written out. */
function hkdf(key: Uint8Array, info: string) {
  const extracted = createHmac('sha256', Buffer.alloc(32)).update(key).digest();
  return createHmac('sha256', extracted)
    .update(info)
    .update(Buffer.from([1]))
    .digest();
}

test('the derivations are HKDF-SHA256 under versioned names', async (t) => {
  const key = randomBytes(32);
  const study = deriveStudy(key);
  t.strictSame(study.reference, hkdf(key, 'dagpacs/study/v1/reference'));
  t.strictSame(study.wrappingKey, hkdf(key, 'dagpacs/study/v1/wrap'));
  t.strictSame(study.entryKey, hkdf(key, 'dagpacs/study/v1/entry'));
  t.strictSame(study.saltKey, hkdf(key, 'dagpacs/study/v1/salt'));
  t.strictSame(studyReference(key), study.reference);
});

test('known answers: what is on a chain must be derived the same for ever', async (t) => {
  const study = deriveStudy(Buffer.from(Array.from({ length: 32 }, (_, i) => i)));
  t.strictSame(
    {
      reference: study.reference.toString('hex'),
      wrappingKey: study.wrappingKey.toString('hex'),
      entryKey: study.entryKey.toString('hex'),
      saltKey: study.saltKey.toString('hex'),
      salt: leafSalt(study.saltKey, Buffer.from('01711220', 'hex')).toString('hex'),
    },
    KNOWN,
  );
});

test('another key, or another node, is another value', async (t) => {
  const [a, b] = [deriveStudy(randomBytes(32)), deriveStudy(randomBytes(32))];
  t.notSame(a.reference, b.reference);
  const node = randomBytes(36);
  t.notSame(leafSalt(a.saltKey, node), leafSalt(b.saltKey, node));
  t.notSame(leafSalt(a.saltKey, node), leafSalt(a.saltKey, randomBytes(36)));
  t.throws(() => deriveStudy(randomBytes(16)), RangeError);
});
