import { createHash, randomBytes } from 'node:crypto';
import { test } from 'tap';
import { Opener } from '../../../src/crypto/open-range.ts';
import {
  newObjectKey,
  openedSize,
  SEGMENT_SIZE,
  Sealer,
  StreamLayout,
  type StreamParameters,
  sealedSize,
} from '../../../src/crypto/sealed-stream.ts';
import { DagpacsError, isDagpacsError } from '../../../src/kernel/errors.ts';

const KEY_16 = '6eb56cdc726dfbe5d57f2fcdc6e9345b';
const KEY_32 = `00112233445566778899aabbccddeeff${KEY_16}`;
const ONE_EMPTY_SEGMENT =
  '28fae780c70a82d1256c8303a1261ac6a98cf557b4e173967a62f3c149517ba5b2431da93b3c6e90f508b34dc14bfda59bab05681c6ad3fa';

interface Vector extends StreamParameters {
  name: string;
  key: string;
  plain: string;
  aad?: string;
  sealed: string;
}

/** The test vectors that Tink publishes (tink-java, streamingaead/internal/testing/AesGcmHkdfStreamingTestUtil). */
const TINK: Vector[] = [
  {
    name: 'three segments',
    key: KEY_16,
    hkdfHash: 'sha1',
    segmentSize: 64,
    derivedKeySize: 16,
    plain: 'This is a fairly long plaintext. It is of the exact length to create three output blocks. ',
    aad: '616164',
    sealed: [
      '1893b3af5e14ab378d065addfc8484da642c0862877baea8',
      'db92d9c77406a406168478821c4298eab3e6d531277f4c1a051714faebcaefcbca7b7be05e9445ea',
      'a0bb2904153398a25084dd80ae0edcd1c3079fcea2cd3770630ee36f7539207b',
      '8ec9d754956d486b71cdf989f0ed6fba6779b63558be0a66e668df14e1603cd2',
      'af8944844078345286d0b292e772e7190775c51a0f83e40c0b75821027e7e538e111',
    ].join(''),
  },
  {
    name: 'empty',
    key: KEY_16,
    hkdfHash: 'sha1',
    segmentSize: 64,
    derivedKeySize: 16,
    plain: '',
    sealed: '18ec99b2c3884194023bd41bb9bff309205354c750fa0cb3c0d02609abf71f88eaeaa48d7deca27f',
  },
  {
    name: 'SHA-256',
    key: KEY_16,
    hkdfHash: 'sha256',
    segmentSize: 64,
    derivedKeySize: 16,
    plain: '',
    sealed: '18be78bce0cab6fd38a9041eea8ab0ffc4cf17e3c00b661d3927f5f79069f41a210fedc40b25648c',
  },
  {
    name: 'SHA-512',
    key: KEY_16,
    hkdfHash: 'sha512',
    segmentSize: 64,
    derivedKeySize: 16,
    plain: '',
    sealed: '18fec8139ccb406e0f140d7e2bcc41e1b899bc1b121574cc31d1c78ed2ca1cdf324665b8dce21095',
  },
  {
    name: 'key of 32 bytes',
    key: KEY_32,
    hkdfHash: 'sha1',
    segmentSize: 64,
    derivedKeySize: 16,
    plain: '',
    sealed: '180880e85a24207a7b72cefde26306ed09d7d76e58104b751d005a3ffd72dd6151f0d9c8ccf163f7',
  },
  {
    name: 'derived key of 32 bytes',
    key: KEY_32,
    hkdfHash: 'sha1',
    segmentSize: 64,
    plain: '',
    sealed: ONE_EMPTY_SEGMENT,
  },
  {
    name: 'segments of 128 bytes',
    key: KEY_32,
    hkdfHash: 'sha1',
    segmentSize: 128,
    plain: '',
    sealed: ONE_EMPTY_SEGMENT,
  },
  {
    name: 'a first segment that is exactly full',
    key: KEY_32,
    hkdfHash: 'sha1',
    segmentSize: 120,
    plain: 'BLOCK 1.BLOCK 2.BLOCK 3.BLOCK 4.BLOCK 5.BLOCK 6.BLOCK 7.BLOCK 8.',
    aad: '00010203',
    sealed: [
      '28782994617714a80fa085e15051a16854522330d6d0f26c049b2192f09cdd98b2eb90c753bfff27',
      '7a29e54fa4afb15d648c28477eb07f012535c767f5fdce24ffffae318480c1d37357d6d3c5111593',
      '18afa09ef38aa3f5456fd7817c5c02dd6e1a7fef174c8bd24e38b5982ac105497c0101ac5581fe5b',
    ].join(''),
  },
];

/**
 * What Tink itself (tink-go 2.4.0, `subtle.NewAESGCMHKDF(key, "SHA256", 32, 262144, 0)`) made of {@link pattern} under the
 * key 00 01 … 1f with the associated data `dagpacs`: the bridge's own parameters, around the edges of its segments.
 */
const TINK_OWN_PARAMETERS = [
  {
    plain: 0,
    header: '286739ad32d26636812355ecb1ddb3ff001ec9825a014e7909afa6c9678a2eb98b1c6d36e6459286',
    sealed: 56,
    sha256: 'd9128104bdf9a332fd02712d4dc04614d03276e95552f37af2e98d442a65d103',
  },
  {
    plain: 1,
    header: '28d982fd13ef898eb440ed8f797f72317a9e9e66691641be2ad06fad59494cab10875dfe6d161da6',
    sealed: 57,
    sha256: 'd2dfa9e768eeebb1045d60fb0f0eeeb9d5afef3573091aa074cfee7792f89e98',
  },
  {
    plain: 262088,
    header: '282237791c935bddcbd2df7372148d43cc3200291a72876a463001705dea19f4b653524649fdca92',
    sealed: 262144,
    sha256: 'c8dc745bd031d5e3cc44b16e4d0e8d20ec3c1d12f0e35a8e464cc53636b482f1',
  },
  {
    plain: 262089,
    header: '289ef0a265dafec15cd0e9a21e2e8eb823f39c3c7286e3b54bb6e30acd09e43ca2a4468a0fe8f263',
    sealed: 262161,
    sha256: '288d1bbbde5f14deb04a782aab7c5b934b4347c9e09ec49bfdf846fa7f1370b6',
  },
  {
    plain: 600000,
    header: '2830a6eb1d600dac7cd2f71a1b8df4092ba422771fe9b879e96fcd82009405af0fbff601a5970784',
    sealed: 600088,
    sha256: 'f7c3a3cf6598a57bbfbe27c21c4a262a04bf0f3afcdae1b2c6e1ed9ade9a4255',
  },
];

const hex = (text: string) => Buffer.from(text, 'hex');

function seal(plain: Uint8Array, key: Uint8Array, options: ConstructorParameters<typeof Sealer>[1], chunk = 1 << 16) {
  const sealer = new Sealer(key, options);
  const out: Buffer[] = [];
  const reused = Buffer.alloc(chunk);
  for (let at = 0; at < plain.length; at += chunk) {
    const part = plain.subarray(at, at + chunk);
    reused.set(part);
    sealer.push(reused.subarray(0, part.length), (bytes) => out.push(bytes));
    reused.fill(0xee);
  }
  sealer.end((bytes) => out.push(bytes));
  return out;
}

function fromHeader(header: Buffer) {
  return { salt: header.subarray(1, header.length - 7), noncePrefix: header.subarray(header.length - 7) };
}

async function collect(bytes: AsyncIterable<Buffer>) {
  const parts: Buffer[] = [];
  for await (const part of bytes) parts.push(part);
  return Buffer.concat(parts);
}

const reader = (sealed: Buffer) => async (start: number, end: number) => sealed.subarray(start, end);

function pattern(length: number) {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i += 1) bytes[i] = (i * 7) ^ (i >> 8);
  return bytes;
}

for (const vector of TINK) {
  test(`Tink's vector: ${vector.name}`, async (t) => {
    const sealed = hex(vector.sealed);
    const parameters = { ...vector, associatedData: hex(vector.aad ?? '') };
    const layout = new StreamLayout(parameters);
    const options = { ...parameters, ...fromHeader(sealed.subarray(0, layout.headerSize)) };
    for (const chunk of [1, 7, 1 << 16]) {
      t.strictSame(Buffer.concat(seal(Buffer.from(vector.plain), hex(vector.key), options, chunk)), sealed);
    }
    const opener = await Opener.open(hex(vector.key), sealed.length, reader(sealed), parameters);
    t.equal(opener.size, vector.plain.length);
    t.equal((await collect(opener.range())).toString(), vector.plain);
  });
}

for (const vector of TINK_OWN_PARAMETERS) {
  test(`Tink's own output for ${vector.plain} bytes`, async (t) => {
    const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
    const associatedData = Buffer.from('dagpacs');
    const options = { associatedData, ...fromHeader(hex(vector.header)) };
    const sealed = Buffer.concat(seal(pattern(vector.plain), key, options));
    t.equal(sealed.length, vector.sealed);
    t.equal(createHash('sha256').update(sealed).digest('hex'), vector.sha256);
    const opened = await collect((await Opener.open(key, sealed.length, reader(sealed), { associatedData })).range());
    t.ok(opened.equals(pattern(vector.plain)));
  });
}

test('sizes', async (t) => {
  const first = SEGMENT_SIZE - 56;
  const other = SEGMENT_SIZE - 16;
  for (const plain of [0, 1, first - 1, first, first + 1, first + other, first + other + 1, 3_000_000]) {
    const segments = seal(Buffer.alloc(plain), newObjectKey(), {});
    const size = segments.reduce((sum, bytes) => sum + bytes.length, 0);
    t.equal(sealedSize(plain), size, `sealed size of ${plain}`);
    t.equal(openedSize(size), plain);
  }
  for (const impossible of [-1, 0, 55, 56.5, Number.NaN, SEGMENT_SIZE + 1, SEGMENT_SIZE + 16, 2 * SEGMENT_SIZE + 3]) {
    t.throws(() => openedSize(impossible), { code: 'block-damaged' }, `impossible: ${impossible}`);
  }
  t.throws(() => new StreamLayout({ segmentSize: 56 }), RangeError);
});

test('ranges open the segments that they touch and no others', async (t) => {
  const segmentSize = 128;
  const plain = randomBytes(1000);
  const key = newObjectKey();
  const sealed = Buffer.concat(seal(plain, key, { segmentSize }));
  const reads: [number, number][] = [];
  const read = async (start: number, end: number) => {
    reads.push([start, end]);
    return sealed.subarray(start, end);
  };
  const opener = await Opener.open(key, sealed.length, read, { segmentSize });
  t.strictSame(reads.splice(0), [[0, 40]], 'the header is read once');
  for (let start = 0; start <= 1000; start += 37) {
    for (let end = start; end <= 1000; end += 61) {
      const opened = await collect(opener.range(start, end));
      if (!opened.equals(plain.subarray(start, end))) t.fail(`range ${start} to ${end}`);
    }
  }
  reads.length = 0;
  await collect(opener.range(200, 210));
  t.strictSame(reads, [[256, 384]], 'one segment for ten bytes');
  t.strictSame(await collect(opener.range(5, 5)), Buffer.alloc(0));
  await t.rejects(collect(opener.range(0, 1001)), RangeError);
  await t.rejects(collect(opener.range(9, 8)), RangeError);
});

test('an object of one segment takes one read', async (t) => {
  const plain = randomBytes(5000);
  const key = newObjectKey();
  const sealed = Buffer.concat(seal(plain, key, {}));
  let reads = 0;
  const opener = await Opener.open(key, sealed.length, async (start, end) => {
    reads += 1;
    return sealed.subarray(start, end);
  });
  t.ok((await collect(opener.range())).equals(plain));
  t.equal(reads, 1);
  t.ok((await collect(opener.range(10, 20))).equals(plain.subarray(10, 20)), 'and stays usable');
});

test('any change is found before a byte of its segment is yielded', async (t) => {
  const segmentSize = 100;
  const plain = randomBytes(300);
  const key = newObjectKey();
  const good = Buffer.concat(seal(plain, key, { segmentSize }));
  const opens = async (sealed: Buffer, size = sealed.length, ownKey = key) =>
    collect((await Opener.open(ownKey, size, reader(sealed), { segmentSize })).range());
  t.ok((await opens(good)).equals(plain));
  for (let at = 0; at < good.length; at += 1) {
    const bad = Buffer.from(good);
    bad[at] = (bad[at] ?? 0) ^ 1;
    const error = await opens(bad).catch((reason: unknown) => reason);
    if (!isDagpacsError(error, 'block-damaged')) t.fail(`flipped bit in byte ${at} went through`);
  }
  const swapped = Buffer.concat([
    good.subarray(0, 100),
    good.subarray(200, 300),
    good.subarray(100, 200),
    good.subarray(300),
  ]);
  await t.rejects(opens(swapped), { code: 'block-damaged' }, 'segments in another order');
  await t.rejects(opens(good.subarray(0, 300)), { code: 'block-damaged' }, 'whole segments cut off');
  await t.rejects(opens(good.subarray(0, 300), good.length), { code: 'block-damaged' }, 'a read that comes back short');
  await t.rejects(opens(good, good.length, newObjectKey()), { code: 'block-damaged' }, 'another key');
});

test('a failing read ahead is reported to the one who reads on, and to nobody else', async (t) => {
  const segmentSize = 100;
  const key = newObjectKey();
  const plain = randomBytes(1000);
  const sealed = Buffer.concat(seal(plain, key, { segmentSize }));
  const failing = async (start: number, end: number) => {
    if (start >= 200) throw new DagpacsError('block-missing', 'gone');
    return sealed.subarray(start, end);
  };
  const opener = await Opener.open(key, sealed.length, failing, { segmentSize });
  for await (const part of opener.range()) {
    t.ok(part.equals(plain.subarray(0, 44)));
    await new Promise((resolve) => setImmediate(resolve));
    break;
  }
  await t.rejects(collect(opener.range()), { code: 'block-missing' });
});
