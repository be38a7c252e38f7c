import { test } from 'tap';
import type { FrameTable } from '../../../../src/dicom/model.ts';
import type { DataStream } from '../../../../src/flows/serve/data-stream.ts';
import { bulkPart, frameParts } from '../../../../src/flows/serve/parts.ts';
import type { ServedPart } from '../../../../src/flows/serve/served.ts';

const EXPLICIT_LE = '1.2.840.10008.1.2.1';
const EXPLICIT_BE = '1.2.840.10008.1.2.2';
const GE_PRIVATE = '1.2.840.113619.5.2';
const JPEG = '1.2.840.10008.1.2.4.50';
const bytes = Buffer.from(Array.from({ length: 64 }, (_, i) => i));

/** Gives its bytes in pieces of three, so that units lie across pieces. */
const stream: DataStream = {
  async *range(start, end) {
    for (let at = start; at < end; at += 3) yield bytes.subarray(at, Math.min(at + 3, end));
  },
};

async function read(part: ServedPart | undefined, start?: number, end?: number): Promise<number[]> {
  const found: number[] = [];
  for await (const chunk of part?.bytes(start, end) ?? []) found.push(...chunk);
  return found;
}

function native(bitsAllocated: number, bitsPerFrame: number, count: number): FrameTable {
  return { kind: 'native', tag: '7FE00010', offset: 8, length: 40, count, bitsPerFrame, bitsAllocated };
}

test('native frames leave as little-endian, whatever they are stored as', async (t) => {
  const table = native(16, 64, 4);
  const frame = (syntax: string, vr = 'OW') => frameParts(stream, table, syntax, vr, [2])[0];
  t.strictSame(await read(frame(EXPLICIT_LE)), [16, 17, 18, 19, 20, 21, 22, 23]);
  t.strictSame(await read(frame(EXPLICIT_BE)), [17, 16, 19, 18, 21, 20, 23, 22]);
  t.strictSame(await read(frame(EXPLICIT_BE, 'OB')), [16, 17, 18, 19, 20, 21, 22, 23], 'bytes have no order');
  t.strictSame(await read(frame(GE_PRIVATE)), [17, 16, 19, 18, 21, 20, 23, 22]);
  t.strictSame(await read(frame(EXPLICIT_BE), 1, 6), [16, 19, 18, 21, 20], 'a range that cuts units');
  t.equal(frame(EXPLICIT_BE)?.transferSyntaxUID, EXPLICIT_LE);
});

test('bulk values are turned round by their VR', async (t) => {
  const value = (vr: string, length = 8) => bulkPart(stream, { vr, offset: 0, length }, EXPLICIT_BE, '00091010');
  t.strictSame(await read(value('OW')), [1, 0, 3, 2, 5, 4, 7, 6]);
  t.strictSame(await read(value('OF')), [3, 2, 1, 0, 7, 6, 5, 4]);
  t.strictSame(await read(value('OD')), [7, 6, 5, 4, 3, 2, 1, 0]);
  t.strictSame(await read(value('OB')), [0, 1, 2, 3, 4, 5, 6, 7]);
  t.strictSame(await read(value('OW', 7)), [1, 0, 3, 2, 5, 4, 6], 'an odd tail stays as it is');
});

test('frames of 1-bit images are cut out of the packed bits', async (t) => {
  const parts = frameParts(stream, native(1, 12, 3), EXPLICIT_LE, 'OB', [1, 2, 3]);
  const all = await Promise.all(parts.map((part) => read(part)));
  // Bytes 8 to 12 hold 08 09 0a 0b 0c: twelve bits from the lowest of each byte up (PS3.5 §8.1.1).
  t.strictSame(all, [
    [0x08, 0x09],
    [0xa0, 0x00],
    [0x0b, 0x0c],
  ]);
});

test('encapsulated frames are their fragments in a row', async (t) => {
  const table: FrameTable = {
    kind: 'encapsulated',
    frames: [
      [0, 2, 10, 3],
      [20, 4],
    ],
  };
  const [first, second] = frameParts(stream, table, JPEG, 'OB', [1, 2]);
  t.strictSame(await read(first), [0, 1, 10, 11, 12]);
  t.strictSame(await read(first, 1, 4), [1, 10, 11]);
  t.strictSame(await read(second), [20, 21, 22, 23]);
  t.equal(first?.transferSyntaxUID, JPEG);
  t.throws(() => frameParts(stream, table, JPEG, 'OB', [3]), { code: 'invalid-parameter' });
  t.throws(() => frameParts(stream, { kind: 'none' }, JPEG, 'OB', [1]), { code: 'not-found' });
});
