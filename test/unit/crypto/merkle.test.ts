import { createHash, randomBytes } from 'node:crypto';
import { test } from 'tap';
import { inclusionPath, leafHash, leafInput, merkleRoot } from '../../../src/crypto/merkle.ts';
import { rootFromPath as verifiedRoot } from '../../../src/proof/merkle.ts';

const hex = (text: string) => Buffer.from(text, 'hex');
const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest();

/** The reference inputs of certificate-transparency's Merkle tree tests, and the roots of the first 1 … 8 of them. */
const INPUTS = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map(
  hex,
);
const EMPTY_ROOT = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
/** Inclusion paths in them: index, size, path. */
const PATHS: [number, number, string[]][] = [
  [0, 1, []],
  [
    0,
    8,
    [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ],
  ],
  [
    5,
    8,
    [
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ],
  ],
  [2, 3, ['fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125']],
  [
    1,
    5,
    [
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
    ],
  ],
];

async function rootFromPath(...args: Parameters<typeof verifiedRoot>): Promise<Buffer | undefined> {
  const root = await verifiedRoot(...args);
  return root && Buffer.from(root);
}

/** RFC 9162 §2.1.1, word for word. */
function definedRoot(leaves: Uint8Array[]): Buffer {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return sha256(hex('00'), leaves[0] as Uint8Array);
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return sha256(hex('01'), definedRoot(leaves.slice(0, k)), definedRoot(leaves.slice(k)));
}

/** RFC 9162 §2.1.3.1, word for word. */
function definedPath(index: number, leaves: Uint8Array[]): Buffer[] {
  if (leaves.length === 1) return [];
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return index < k
    ? [...definedPath(index, left), definedRoot(right)]
    : [...definedPath(index - k, right), definedRoot(left)];
}

test('reference roots and paths of certificate transparency', async (t) => {
  const hashes = INPUTS.map((input) => leafHash([input]));
  t.equal(merkleRoot([]).toString('hex'), EMPTY_ROOT);
  for (const [i, root] of ROOTS.entries()) t.equal(merkleRoot(hashes.slice(0, i + 1)).toString('hex'), root);
  for (const [index, size, path] of PATHS) {
    const ours = inclusionPath(hashes.slice(0, size), index);
    t.strictSame(
      ours.map((node) => node.toString('hex')),
      path,
    );
    const root = await rootFromPath(hashes[index] as Buffer, index, size, ours);
    t.equal(root?.toString('hex'), ROOTS[size - 1]);
  }
});

test('every leaf of every tree of 1 to 70 leaves', async (t) => {
  const inputs = Array.from({ length: 70 }, () => randomBytes(20));
  const all = inputs.map((input) => leafHash([input.subarray(0, 7), input.subarray(7)]));
  for (let size = 1; size <= 70; size += 1) {
    const hashes = all.slice(0, size);
    const root = merkleRoot(hashes);
    t.strictSame(root, definedRoot(inputs.slice(0, size)), `root of ${size}`);
    for (const [index, hash] of hashes.entries()) {
      const path = inclusionPath(hashes, index);
      const right = definedPath(index, inputs.slice(0, size));
      if (path.length !== right.length || !path.every((node, i) => node.equals(right[i] as Buffer))) {
        t.fail(`path of ${index} in ${size}`);
      }
      if (!(await rootFromPath(hash, index, size, path))?.equals(root)) t.fail(`proof of ${index} in ${size}`);
      for (let other = 0; size <= 20 && other < size; other += 1) {
        if (other !== index && (await rootFromPath(hash, other, size, path))?.equals(root)) {
          t.fail(`the path of ${index} in ${size} proves ${other} too`);
        }
      }
    }
  }
});

test('what is no proof gives no root, or another', async (t) => {
  const hashes = INPUTS.map((input) => leafHash([input]));
  const root = merkleRoot(hashes);
  const leaf = hashes[5] as Buffer;
  const path = inclusionPath(hashes, 5);
  t.ok((await rootFromPath(leaf, 5, 8, path))?.equals(root));
  t.notOk(await rootFromPath(leaf, 5, 8, path.slice(1)), 'too short');
  t.notOk(await rootFromPath(leaf, 5, 8, [...path, leaf]), 'too long');
  t.notOk(await rootFromPath(leaf, 5, 9, path), 'a larger tree');
  t.notOk(await rootFromPath(leaf, 5, 4, path), 'index outside the tree');
  t.notOk(await rootFromPath(leaf, 8, 8, path), 'index at the end');
  for (const bad of [-1, 0.5, Number.NaN, 2 ** 53]) t.notOk(await rootFromPath(leaf, bad, 8, path), `index ${bad}`);
  for (const bad of [0, -1, 7.5, Number.NaN]) t.notOk(await rootFromPath(leaf, 5, bad, path), `size ${bad}`);
  t.notOk(await rootFromPath(leaf, 5, 8, [Buffer.alloc(31), ...path.slice(1)]), 'a sibling of another length');
  t.notOk(await rootFromPath(leaf.subarray(1), 5, 8, path), 'a leaf hash of another length');
  t.notOk((await rootFromPath(hashes[4] as Buffer, 5, 8, path))?.equals(root), 'another leaf');
  t.throws(() => inclusionPath(hashes, 8), RangeError);
  t.throws(() => inclusionPath([], 0), RangeError);
});

test("a leaf's layout is fixed", async (t) => {
  const [salt, reference, digest, node] = [randomBytes(32), randomBytes(32), randomBytes(32), randomBytes(36)];
  t.strictSame(leafInput({ salt, reference, digest, node }), Buffer.concat([salt, reference, digest, node]));
  t.throws(() => leafInput({ salt: randomBytes(31), reference, digest, node }), RangeError);
});
