import { randomBytes } from 'node:crypto';
import { decode, encode } from '@ipld/dag-cbor';
import { test } from 'tap';
import { type Cid, cidFromBytes, cidOf, DAG_CBOR, RAW } from '../../../src/ipld/cid.ts';
import {
  decodeInstanceNode,
  decodeRecord,
  encodeInstanceNode,
  encodeRecord,
  type InstanceNode,
  nodeType,
  type RecordNode,
} from '../../../src/ipld/nodes.ts';

/** Byte strings come back as Uint8Array, so they are made as such. */
const bytes = (size: number) => new Uint8Array(randomBytes(size));
const link = (codec = RAW): Cid => cidFromBytes(new Uint8Array(cidOf(codec, randomBytes(8)).bytes));

const inline: InstanceNode = { study: bytes(32), object: link(), size: 500_056, key: bytes(40), entry: bytes(3000) };
const outside: InstanceNode = { ...inline, entry: link(), entryKey: bytes(40), entrySize: 2_000_000 };
const record: RecordNode = {
  sequence: 7,
  previous: link(DAG_CBOR),
  previousRoot: bytes(32),
  merkleRoot: bytes(32),
  closedAt: '2026-01-01T00:00:00.000Z',
  leaves: [link(DAG_CBOR), link(DAG_CBOR)],
  hashes: [bytes(32), bytes(32)],
  studies: [
    [bytes(32), 1],
    [bytes(32), 40],
  ],
};

/** Every way in which one field of a block can be wrong. */
function* spoiled(block: Uint8Array): Generator<[name: string, bytes: Uint8Array]> {
  const fields = decode<Record<string, unknown>>(block);
  for (const [name, value] of Object.entries(fields)) {
    const { [name]: _, ...rest } = fields;
    yield [`without ${name}`, encode(rest)];
    for (const other of [true, -1, 1.5, 'x', new Uint8Array(7), [1], [[new Uint8Array(32)]], { a: 1 }, link()]) {
      if (typeof other === 'string' && name === 'closedAt') continue;
      if (other instanceof Uint8Array && name === 'entry' && value instanceof Uint8Array) continue;
      if (typeof other === 'object' && other === value) continue;
      if ((name === 'object' || name === 'entry') && !(value instanceof Uint8Array) && isLinkLike(other)) continue;
      yield [`${name} of another kind`, encode({ ...fields, [name]: other })];
    }
  }
  yield ['with one field more', encode({ ...fields, more: 1 })];
  yield ['cut short', block.subarray(0, -1)];
  yield ['with a byte more', Buffer.concat([block, Buffer.alloc(1)])];
  yield ['a list', encode([fields])];
  yield ['nothing', new Uint8Array(0)];
}

function isLinkLike(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'multihash' in value;
}

test('instance nodes', async (t) => {
  for (const node of [inline, outside]) {
    const block = encodeInstanceNode(node);
    t.strictSame(decodeInstanceNode(block), node);
    t.strictSame(encodeInstanceNode(decodeInstanceNode(Buffer.from(block))), block, 'deterministic');
    t.match(decode(block), { type: 'dagpacs/instance', v: 1 });
    t.equal(nodeType(block), 'dagpacs/instance');
    for (const [name, bad] of spoiled(block)) {
      t.throws(() => decodeInstanceNode(bad), { code: 'block-damaged' }, name);
    }
  }
  t.throws(() => decodeInstanceNode(encodeRecord(record)), { code: 'block-damaged' }, 'a record');
});

test('what is decoded does not share the buffer', async (t) => {
  const block = Buffer.from(encodeInstanceNode(inline));
  const node = decodeInstanceNode(block);
  block.fill(0);
  t.strictSame(node, inline);
});

test('records', async (t) => {
  for (const one of [record, { ...record, sequence: 0, previous: null, leaves: [], hashes: [], studies: [] }]) {
    const block = encodeRecord(one);
    t.strictSame(decodeRecord(block), one);
    t.strictSame(encodeRecord(decodeRecord(block)), block, 'deterministic');
    t.equal(nodeType(block), 'dagpacs/record');
  }
  const block = encodeRecord(record);
  t.strictSame(decode<{ previous: unknown }>(block).previous, record.previous?.bytes, 'previous is no link');
  for (const [name, bad] of spoiled(block)) t.throws(() => decodeRecord(bad), { code: 'block-damaged' }, name);
  t.throws(() => decodeRecord(encodeInstanceNode(inline)), { code: 'block-damaged' }, 'an instance node');
});

test('a block of somebody else has no type', async (t) => {
  const foreign = [new Uint8Array(0), randomBytes(500), encode({ type: 'other', v: 1 }), encode(['dagpacs/record'])];
  for (const block of foreign) t.equal(nodeType(block), undefined);
  const pooled = Buffer.concat([encodeRecord(record), encode({ a: 1 })]);
  t.equal(nodeType(pooled.subarray(-4)), undefined, 'bytes outside the view do not count');
});
