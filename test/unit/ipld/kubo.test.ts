import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { carHeader, sectionHead } from '../../../src/ipld/car.ts';
import { type Cid, cidOf, DAG_CBOR, DAG_PB, RAW } from '../../../src/ipld/cid.ts';
import { type CutBlock, LEAF_SIZE, LeafCutter, readLinks } from '../../../src/ipld/leaves.ts';
import { encodeInstanceNode, encodeRecord } from '../../../src/ipld/nodes.ts';
import { tempFolder } from '../../fixtures/temp.ts';
import { skipWithout } from '../../fixtures/tools.ts';

/** Everything here is compared with a real Kubo, without a network and without a daemon. */
const skip = skipWithout('ipfs');
const environment = { ...process.env };

function ipfs(args: string[], input?: Uint8Array): Buffer {
  const options = { env: environment, maxBuffer: 2 ** 30, ...(input ? { input } : {}) };
  const { status, stdout, stderr, error } = spawnSync('ipfs', args, options);
  if (status !== 0) throw new Error(`ipfs ${args[0]}: ${error ?? stderr.toString()}`);
  return stdout;
}

/** Bytes in which no two leaves agree. */
function content(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4096) bytes.writeUInt32LE(at, at);
  return bytes;
}

function cut(bytes: Buffer, chunk: number) {
  const blocks: CutBlock[] = [];
  const cutter = new LeafCutter((block) => blocks.push(block));
  for (let at = 0; at < bytes.length; at += chunk) cutter.push(bytes.subarray(at, at + chunk));
  const leavesBeforeEnd = blocks.filter(({ cid }) => cid.code === RAW).length;
  return { file: cutter.end(), blocks, leavesBeforeEnd };
}

function writeCar(path: string, blocks: { cid: Cid; bytes: Uint8Array }[]): string {
  const sections = blocks.flatMap(({ cid, bytes }) => [sectionHead(cid, bytes.length), bytes]);
  writeFileSync(path, Buffer.concat([carHeader(), ...sections]));
  return path;
}

const joined = ({ cid, parts }: CutBlock) => ({ cid, bytes: Buffer.concat(parts) });

test('Kubo', { skip }, async (t) => {
  const folder = await tempFolder(t);
  environment.IPFS_PATH = join(folder, 'repo');
  ipfs(['init', '--empty-repo', '--profile=test']);

  t.test('gives the same CIDs for the same bytes', async (t) => {
    const sizes = [0, 1, LEAF_SIZE - 1, LEAF_SIZE, LEAF_SIZE + 1, 5 * LEAF_SIZE, 175 * LEAF_SIZE + 3];
    for (const size of sizes) {
      const bytes = content(size);
      const { file, blocks, leavesBeforeEnd } = cut(bytes, 262_144);
      const add = ['add', '-Q', '--only-hash', '--cid-version=1', '--raw-leaves', '--chunker=size-1048576'];
      t.equal(file.root.toString(), ipfs(add, bytes).toString().trim(), `${size} bytes`);
      t.equal(file.size, size);
      t.equal(file.blocks, blocks.length);
      t.ok(blocks.at(-1)?.cid.equals(file.root), 'the root comes last');
      t.equal(leavesBeforeEnd, Math.max(1, Math.ceil(size / LEAF_SIZE)) - 1, 'the last leaf waits for the end');
    }
  });

  t.test('reads a pack and gives the file back', async (t) => {
    const bytes = content(3 * LEAF_SIZE + 77);
    const { file, blocks } = cut(bytes, 100_003);
    const stats = ipfs([
      'dag',
      'import',
      '--offline',
      '--stats',
      writeCar(join(folder, 'file.car'), blocks.map(joined)),
    ]);
    t.match(stats.toString(), /Imported 5 blocks/);
    t.ok(ipfs(['cat', '--offline', file.root.toString()]).equals(bytes));
  });

  t.test('walks from a record to the sealed object, and not to the record before', async (t) => {
    const { file, blocks } = cut(content(10), 10);
    const [study, key, root] = [Buffer.alloc(32, 1), Buffer.alloc(40, 2), Buffer.alloc(32, 3)];
    const node = encodeInstanceNode({ study, object: file.root, size: 10, key, entry: Buffer.alloc(100) });
    const nodeCid = cidOf(DAG_CBOR, node);
    const record = encodeRecord({
      sequence: 1,
      previous: cidOf(DAG_CBOR, Buffer.from('not there')),
      previousRoot: root,
      merkleRoot: root,
      closedAt: '2026-01-01T00:00:00.000Z',
      leaves: [nodeCid],
      hashes: [nodeCid].map(() => Buffer.alloc(32)),
      studies: [[study, 1]],
    });
    const recordCid = cidOf(DAG_CBOR, record);
    const all = [...blocks.map(joined), { cid: nodeCid, bytes: node }, { cid: recordCid, bytes: record }];
    ipfs(['dag', 'import', '--offline', writeCar(join(folder, 'record.car'), all)]);
    ipfs(['pin', 'add', '--offline', recordCid.toString()]);
    const refs = ipfs(['refs', '--offline', '--recursive', recordCid.toString()]).toString().trim().split('\n');
    t.strictSame(refs, [nodeCid.toString(), file.root.toString()]);
    const json = JSON.parse(ipfs(['dag', 'get', '--offline', recordCid.toString()]).toString());
    t.match(json, { type: 'dagpacs/record', v: 1, sequence: 1, leaves: [{ '/': nodeCid.toString() }] });
  });
});

test('links lead to every leaf of a tree, in order', async (t) => {
  const bytes = content(176 * LEAF_SIZE);
  const { file, blocks } = cut(bytes, LEAF_SIZE);
  const byCid = new Map(blocks.map((block) => [block.cid.toString(), block]));
  const leaves: Cid[] = [];
  const walk = (cid: Cid): number => {
    const block = byCid.get(cid.toString());
    if (!block) throw new Error('a link leads nowhere');
    if (cid.code !== DAG_PB) {
      leaves.push(cid);
      return block.parts.reduce((sum, part) => sum + part.length, 0);
    }
    let sum = 0;
    for (const link of readLinks(Buffer.concat(block.parts))) {
      if (walk(link.cid) !== link.size) t.fail('a link names another size than its child has');
      sum += link.size;
    }
    return sum;
  };
  t.equal(walk(file.root), bytes.length);
  const inOrder = blocks.filter(({ cid }) => cid.code !== DAG_PB).map(({ cid }) => cid);
  t.strictSame(leaves.map(String), inOrder.map(String));
});

test('what is no file node is damage', async (t) => {
  const { blocks } = cut(content(LEAF_SIZE + 1), LEAF_SIZE);
  const root = Buffer.concat(blocks.at(-1)?.parts ?? []);
  t.equal(readLinks(root).length, 2);
  const unixfs = Buffer.from(root.subarray(root.lastIndexOf(Buffer.from([0x08, 0x02]))));
  const bare = Buffer.concat([Buffer.from([0x0a, unixfs.length]), unixfs]);
  for (const [name, bytes] of [
    ['nothing', Buffer.alloc(0)],
    ['garbage', Buffer.from('garbage')],
    ['a node cut short', root.subarray(0, -3)],
    ['block sizes without links', bare],
    ['links without UnixFS data', root.subarray(0, root.length - bare.length)],
  ] as const) {
    t.throws(() => readLinks(bytes), { code: 'block-damaged' }, name);
  }
});
