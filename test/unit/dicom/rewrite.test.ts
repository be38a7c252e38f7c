import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { writeFileMeta } from '../../../src/dicom/meta.ts';
import type { DicomJson, Scan } from '../../../src/dicom/model.ts';
import { rewriteDataset } from '../../../src/dicom/rewrite.ts';
import { Scanner } from '../../../src/dicom/scan.ts';
import { transferSyntax } from '../../../src/dicom/transfer-syntax.ts';
import { isDagpacsError } from '../../../src/kernel/errors.ts';
import { corpusFiles, readCorpusFile, skipCorpus } from '../../fixtures/corpus.ts';
import { runTool } from '../../fixtures/dcmtk.ts';
import { makeTempFolder, removeFolder } from '../../fixtures/temp.ts';
import { skipWithout } from '../../fixtures/tools.ts';

const EXPLICIT_LE = '1.2.840.10008.1.2.1';

async function scan(file: Uint8Array): Promise<Scan> {
  const scanner = new Scanner();
  await scanner.write(file);
  return scanner.end();
}

/** The data set in pieces of `size` bytes, so that every place is a border once. */
async function* inPieces(bytes: Uint8Array, size: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function rewrite(file: Uint8Array, stored: Scan, size: number): Promise<Buffer> {
  const { implicit = false, bigEndian = false } = transferSyntax(stored.transferSyntaxUID) ?? {};
  const chunks: Uint8Array[] = [writeFileMeta({ ...stored, transferSyntaxUID: EXPLICIT_LE })];
  const source = inPieces(file.subarray(stored.datasetOffset), size);
  const signed = stored.header['00280103']?.Value?.[0] === 1;
  const how = { implicit, bigEndian, offset: stored.datasetOffset, signed, changes: new Map() };
  for await (const chunk of rewriteDataset(source, how)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A header without what cannot be the same: group lengths, and the places of bulk data. */
function comparable(header: DicomJson): unknown {
  return JSON.parse(
    JSON.stringify(header, (key, value) => {
      if (/^[0-9A-F]{4}0000$/.test(key)) return undefined;
      return value?.BulkDataURI ? { vr: value.vr, bulk: true } : value;
    }),
  );
}

test('every native file of the corpus says the same once it is written anew', { skip: skipCorpus }, async (t) => {
  let count = 0;
  for (const { path, transferSyntaxUID = '' } of corpusFiles()) {
    const syntax = transferSyntax(transferSyntaxUID);
    if (!syntax || syntax.deflated || syntax.encapsulated || path.startsWith('bad/')) continue;
    const file = readCorpusFile(path);
    let stored: Scan;
    try {
      stored = await scan(file);
    } catch (error) {
      if (!isDagpacsError(error)) throw error;
      continue;
    }
    const written = await rewrite(file, stored, file.length > 500_000 ? 65_536 : 61);
    const again = await scan(written);
    t.strictSame(comparable(again.header), comparable(stored.header), path);
    const lengths = (of: Scan) =>
      Object.entries(of.bulk).map(([key, { vr, length }]) => `${key} ${vr} ${length + (length % 2)}`);
    if (![stored, again].some(({ bulk }) => Object.values(bulk).some(({ vr }) => vr === 'SQ' || vr === 'UN')))
      t.strictSame(lengths(again), lengths(stored), `${path}: bulk data`);
    count += 1;
  }
  t.ok(count > 100, `${count} files`);
});

test('DCMTK reads what was written anew as it reads what was stored', {
  skip: skipCorpus || skipWithout('dcmdump', 'dcmconv'),
}, async (t) => {
  const folder = await makeTempFolder();
  t.teardown(() => removeFolder(folder));
  const names = ['CTImage_1.2.dcm', 'CTImage_1.2.2.dcm', 'MR_small_bigendian.dcm', 'MR_small_implicit.dcm'];
  for (const name of names) {
    const file = readCorpusFile(`transfer-syntax/${name}`);
    const stored = await scan(file);
    const ours = join(folder, 'ours.dcm');
    const theirs = join(folder, 'theirs.dcm');
    const source = join(folder, 'source.dcm');
    await writeFile(source, file);
    await writeFile(ours, await rewrite(file, stored, 4096));
    await runTool('dcmconv', ['+te', '-e', '-g', source, theirs]);
    const [mine, reference] = await Promise.all(
      [ours, theirs].map(async (each) =>
        (await readFile(each)).subarray((await scan(await readFile(each))).datasetOffset),
      ),
    );
    t.ok(mine?.equals(reference as Buffer), `${name}: the data set is the one that dcmconv writes, byte for byte`);
  }
});
