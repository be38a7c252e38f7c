import { randomBytes } from 'node:crypto';
import { test } from 'tap';
import { unwrapKey, wrapKey } from '../../../src/crypto/key-wrap.ts';

const hex = (text: string) => Buffer.from(text, 'hex');

test('RFC 3394 §4.3, §4.5 and §4.6: vectors of a 256-bit key encryption key', async (t) => {
  const wrappingKey = hex('000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F');
  const vectors = [
    ['00112233445566778899AABBCCDDEEFF', '64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7'],
    [
      '00112233445566778899AABBCCDDEEFF0001020304050607',
      'A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1',
    ],
    [
      '00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F',
      '28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21',
    ],
  ];
  for (const [key = '', wrapped = ''] of vectors) {
    t.strictSame(wrapKey(wrappingKey, hex(key)), hex(wrapped));
    t.strictSame(unwrapKey(wrappingKey, hex(wrapped)), hex(key));
  }
});

test('damage and another key are told', async (t) => {
  const wrappingKey = randomBytes(32);
  const wrapped = wrapKey(wrappingKey, randomBytes(32));
  t.equal(wrapped.length, 40);
  for (let at = 0; at < wrapped.length; at += 1) {
    const bad = Buffer.from(wrapped);
    bad[at] = (bad[at] ?? 0) ^ 0x80;
    t.throws(() => unwrapKey(wrappingKey, bad), { code: 'block-damaged' });
  }
  t.throws(() => unwrapKey(randomBytes(32), wrapped), { code: 'block-damaged' });
  for (const length of [0, 8, 16, 39]) {
    t.throws(() => unwrapKey(wrappingKey, wrapped.subarray(0, length)), { code: 'block-damaged' }, `${length} bytes`);
  }
});
