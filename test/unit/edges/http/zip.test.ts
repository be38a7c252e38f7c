import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { type Test, test } from 'tap';
import { type ZipFile, zipOf, zipSize } from '../../../../src/edges/http/zip.ts';
import { tempFolder } from '../../../fixtures/temp.ts';
import { skipWithout } from '../../../fixtures/tools.ts';

const run = promisify(execFile);
const skip = skipWithout('unzip', 'zipinfo');
const MODIFIED = new Date('2026-03-04T05:06:08Z');

function file(name: string, ...chunks: Buffer[]): ZipFile {
  const size = chunks.reduce((sum, { length }) => sum + length, 0);
  return {
    name,
    size,
    modified: MODIFIED,
    async *bytes() {
      yield* chunks;
    },
  };
}

async function write(t: Test, files: ZipFile[]): Promise<string> {
  const path = join(await tempFolder(t), 'archive.zip');
  await pipeline(Readable.from(zipOf(files)), createWriteStream(path));
  return path;
}

test('an archive is what unzip takes out of it', { skip }, async (t) => {
  const files = [
    file('DICOMDIR', Buffer.from('one'), Buffer.from('two')),
    file('A/EMPTY'),
    file('A/B/C', Buffer.alloc(9)),
  ];
  const path = await write(t, files);
  t.match((await run('unzip', ['-t', path])).stdout, 'No errors detected');
  t.equal((await run('unzip', ['-p', path, 'DICOMDIR'])).stdout, 'onetwo');
  const { stdout } = await run('zipinfo', ['-l', path], { env: { ...process.env, TZ: 'UTC' } });
  t.match(stdout, /-rw-r--r-- .* 6 .* stor 26-Mar-04 05:06 DICOMDIR/);
  t.match(stdout, `Zip file size: ${zipSize(files)} bytes, number of entries: 3`);
});

test('more entries than 16 bits count', { skip }, async (t) => {
  const files = Array.from({ length: 65_540 }, (_, n) => file(`F${n}`));
  const path = await write(t, files);
  const { stdout } = await run('zipinfo', ['-h', path]);
  t.match(stdout, `Zip file size: ${zipSize(files)} bytes, number of entries: 65540`);
});

test('entries and offsets beyond 4 GiB', { skip: skip || skipWithout('truncate') }, async (t) => {
  const size = 2 ** 32 + 5;
  const zeros = Buffer.alloc(1 << 24);
  const large: ZipFile = {
    name: 'LARGE',
    size,
    modified: MODIFIED,
    async *bytes() {
      for (let left = size; left > 0; left -= zeros.length) yield zeros.subarray(0, Math.min(left, zeros.length));
    },
  };
  const files = [large, file('AFTER', Buffer.from('behind it'))];
  const path = join(await tempFolder(t), 'sparse.zip');
  await run('truncate', ['-s', String(zipSize(files)), path]);
  const handle = await open(path, 'r+');
  let at = 0;
  for await (const chunk of zipOf(files)) {
    // Zeros are holes in the file already.
    if (chunk.length < 1 << 20) await handle.write(chunk, 0, chunk.length, at);
    at += chunk.length;
  }
  await handle.close();
  t.equal(at, zipSize(files));
  t.match((await run('zipinfo', ['-l', path, 'LARGE'])).stdout, ` ${size} `);
  t.equal((await run('unzip', ['-p', path, 'AFTER'])).stdout, 'behind it');
});

test('a file that gives other bytes than it announced ends the archive', async (t) => {
  const short = { ...file('F', Buffer.from('abc')), size: 4 };
  await t.rejects(async () => {
    for await (const chunk of zipOf([short])) t.ok(chunk);
  });
});
