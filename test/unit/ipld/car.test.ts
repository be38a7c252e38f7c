import { randomBytes } from 'node:crypto';
import { test } from 'tap';
import { carHeader, parseSection, sectionHead } from '../../../src/ipld/car.ts';
import { cidOf, DAG_CBOR, DAG_PB, parseCid, RAW } from '../../../src/ipld/cid.ts';

test('sections are read as they were written, heads without their data', async (t) => {
  const sizes = [0, 1, 91, 92, 200, 16_347, 16_348, 70_000, 1_048_576];
  const blocks = sizes.map((size, i) => {
    const bytes = randomBytes(size);
    return { bytes, cid: cidOf([RAW, DAG_PB, DAG_CBOR][i % 3] ?? RAW, bytes) };
  });
  const car = Buffer.concat([
    carHeader(),
    ...blocks.flatMap(({ cid, bytes }) => [sectionHead(cid, bytes.length), bytes]),
  ]);
  let offset = carHeader().length;
  for (const { cid, bytes } of blocks) {
    const section = parseSection(car, offset);
    t.ok(section?.cid.equals(cid));
    t.ok(car.subarray(section?.dataStart, section?.dataEnd).equals(bytes));
    const head = car.subarray(0, section?.dataStart);
    t.strictSame(parseSection(head, offset), section, 'the head is enough');
    for (let cut = offset; cut < head.length; cut += 1) {
      if (parseSection(car.subarray(0, cut), offset) !== undefined) t.fail('half a head was read');
    }
    offset = section?.next ?? Number.NaN;
  }
  t.equal(offset, car.length);
  t.equal(parseSection(car, offset), undefined, 'the end');
});

test('the CID does not share the buffer that it was read from', async (t) => {
  const cid = cidOf(RAW, randomBytes(3));
  const head = sectionHead(cid, 3);
  const section = parseSection(head, 0);
  head.fill(0);
  t.ok(section?.cid.equals(cid));
});

test('what is no section of a pack is damage', async (t) => {
  const good = sectionHead(cidOf(RAW, randomBytes(10)), 100);
  t.ok(parseSection(good, 0));
  const bad = (name: string, bytes: Buffer) => t.throws(() => parseSection(bytes, 0), { code: 'block-damaged' }, name);
  bad('zeros, as a file system leaves them after a power cut', Buffer.alloc(100));
  bad('length shorter than a CID', Buffer.concat([Buffer.from([35]), good.subarray(1)]));
  bad('length with a needless byte', Buffer.concat([Buffer.from([0x88, 0x81, 0x00]), good.subarray(1)]));
  bad('length of more than four bytes', Buffer.concat([Buffer.alloc(5, 0x80), good]));
  bad('length above any block', Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0x01]), good.subarray(1)]));
  for (const [at, what] of ['version', 'codec', 'hash function', 'digest length'].entries()) {
    const bytes = Buffer.from(good);
    bytes[2 + at] = 0x13;
    bad(`another ${what}`, bytes);
  }
  const v0 = parseCid('QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn');
  bad('a CIDv0', Buffer.concat([sectionHead(v0, 10), Buffer.alloc(10)]));
});
