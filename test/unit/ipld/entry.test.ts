import { randomBytes } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import { decode, encode } from '@ipld/dag-cbor';
import { test } from 'tap';
import { decodeEntry, encodeEntry } from '../../../src/ipld/entry.ts';

const entry = {
  header: new Uint8Array(zstdCompressSync('{"00080018":{"vr":"UI","Value":["1.2.3"]}}')),
  sha256: new Uint8Array(randomBytes(32)),
  size: 525_312,
  datasetOffset: 340,
  transferSyntaxUID: '1.2.840.10008.1.2.1',
  sopClassUID: '1.2.840.10008.5.1.4.1.1.2',
  sopInstanceUID: '1.2.3',
  studyInstanceUID: '1.2.3.4',
  seriesInstanceUID: '1.2.3.5',
  receivedAt: '2026-01-01T00:00:00.000Z',
  receivedFrom: 'dimse:CT@127.0.0.1',
  frames: { kind: 'native', tag: '7FE00010', offset: 1000, length: 524_288, count: 1, bitsPerFrame: 4_194_304 },
  bulk: { '7FE00010': { vr: 'OW', offset: 1000, length: 524_288 } } as Record<string, unknown>,
};

/** 10,000 fragments of uneven length: an hour of ultrasound. */
function manyFrames(): number[][] {
  let offset = 1000;
  return Array.from({ length: 10_000 }, (_, i) => {
    const length = 20_000 + ((i * 7919) % 30_000);
    offset += length + 8;
    return [offset - length, length];
  });
}

test('entries come back as they were', async (t) => {
  t.strictSame(decodeEntry(encodeEntry(entry)), entry);
  const odd = { ...entry, frames: { kind: 'none' }, bulk: {}, receivedFrom: '' };
  t.strictSame(decodeEntry(encodeEntry(odd)), odd);
  const many = { ...entry, frames: { kind: 'encapsulated', frames: manyFrames() } };
  const bytes = encodeEntry(many);
  t.strictSame(decodeEntry(bytes), many);
  t.ok(bytes.length < 100_000, 'fewer than ten bytes a frame');
});

test('anything else is damage', async (t) => {
  const fields = decode<Record<string, unknown>>(encodeEntry(entry));
  const bad = (name: string, value: unknown) =>
    t.throws(() => decodeEntry(encode(value)), { code: 'block-damaged' }, name);
  for (const name of Object.keys(fields)) {
    const { [name]: _, ...rest } = fields;
    bad(`without ${name}`, rest);
    bad(`${name} of another kind`, { ...fields, [name]: [1] });
  }
  bad('another version', { ...fields, v: 2 });
  bad('one field more', { ...fields, more: 1 });
  bad('frames that are no JSON', { ...fields, frames: '{' });
  bad('frames that are no zstd', { ...fields, frames: randomBytes(100) });
  bad('a short digest', { ...fields, sha256: randomBytes(31) });
  t.throws(() => decodeEntry(randomBytes(100)), { code: 'block-damaged' });
});
