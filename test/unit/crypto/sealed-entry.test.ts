import { randomBytes } from 'node:crypto';
import { test } from 'tap';
import { ENTRY_OVERHEAD, openEntry, sealEntry } from '../../../src/crypto/sealed-entry.ts';

test('an entry opens under its key and associated data, and is never sealed the same twice', async (t) => {
  const key = randomBytes(32);
  const entry = randomBytes(3000);
  const aad = Buffer.from('object');
  const sealed = sealEntry(key, entry, aad);
  t.equal(sealed.length, entry.length + ENTRY_OVERHEAD);
  t.strictSame(openEntry(key, sealed, aad), entry);
  t.notSame(sealEntry(key, entry, aad), sealed);
  t.strictSame(openEntry(key, sealEntry(key, Buffer.alloc(0), aad), aad), Buffer.alloc(0));
});

test('damage, another key and other associated data are told', async (t) => {
  const key = randomBytes(32);
  const aad = Buffer.from('object');
  const sealed = sealEntry(key, randomBytes(50), aad);
  for (let at = 0; at < sealed.length; at += 1) {
    const bad = Buffer.from(sealed);
    bad[at] = (bad[at] ?? 0) ^ 1;
    t.throws(() => openEntry(key, bad, aad), { code: 'block-damaged' });
  }
  t.throws(() => openEntry(key, sealed, Buffer.from('other')), { code: 'block-damaged' });
  t.throws(() => openEntry(randomBytes(32), sealed, aad), { code: 'block-damaged' });
  t.throws(() => openEntry(key, sealed.subarray(0, 27), aad), { code: 'block-damaged' });
});

test("the cipher is AES-256-GCM: McGrew and Viega's test case 16", async (t) => {
  const hex = (text: string) => Buffer.from(text, 'hex');
  const key = hex('feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308');
  const sealed = hex(
    [
      'cafebabefacedbaddecaf888',
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa',
      '8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662',
      '76fc6ece0f4e1768cddf8853bb2d551b',
    ].join(''),
  );
  const plain = openEntry(key, sealed, hex('feedfacedeadbeeffeedfacedeadbeefabaddad2'));
  const known =
    'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39';
  t.equal(plain.toString('hex'), known);
});
