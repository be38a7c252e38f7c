import { test } from 'tap';
import { writeFileMeta } from '../../../src/dicom/meta.ts';
import { reencode } from '../../../src/dicom/reencode.ts';
import { Scanner } from '../../../src/dicom/scan.ts';
import { type TransferSyntax, transferSyntax } from '../../../src/dicom/transfer-syntax.ts';
import { corpusFiles, readCorpusFile, skipCorpus } from '../../fixtures/corpus.ts';
import { EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, makeSlice } from '../../fixtures/dicom.ts';
import { datasetOf, metaOf } from '../../fixtures/part10.ts';

const NATIVE = [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE];
const syntaxOf = (uid: string) => transferSyntax(uid) as TransferSyntax;

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield Buffer.from(bytes.subarray(at, at + size));
}

async function convert(dataset: Buffer, from: string, to: string, size = 4096): Promise<Buffer> {
  const out: Uint8Array[] = [];
  for await (const chunk of reencode(pieces(dataset, size), syntaxOf(from), syntaxOf(to))) out.push(chunk);
  return Buffer.concat(out);
}

/** What a scan says of a data set, and of its pixels in the order that they have. */
function contentOf(dataset: Buffer, transferSyntaxUID: string) {
  const meta = writeFileMeta({ sopClassUID: '1.2', sopInstanceUID: '1.2.3', transferSyntaxUID });
  const scanner = new Scanner({ maxInlineBinary: 1 << 20 });
  scanner.write(Buffer.concat([meta, dataset]));
  const scan = scanner.end() as Exclude<ReturnType<Scanner['end']>, Promise<unknown>>;
  const pixels = scan.bulk['7FE00010'];
  const at = (pixels?.offset ?? meta.length) - meta.length;
  const bytes = Buffer.from(dataset.subarray(at, at + (pixels?.length ?? 0)));
  if (syntaxOf(transferSyntaxUID).bigEndian && pixels?.vr === 'OW') bytes.swap16();
  // Private values without a VR of their own become UN.
  const header = Object.entries(scan.header).filter(([tag]) => Number.parseInt(tag.slice(0, 4), 16) % 2 === 0);
  return { header: JSON.stringify(header.map(([tag, { BulkDataURI: _, ...rest }]) => [tag, rest])), pixels: bytes };
}

test('from each native transfer syntax to each other, in pieces of any size', async (t) => {
  for (const from of NATIVE) {
    for (const undefinedLength of [false, true]) {
      const options = { rows: 8, columns: 8, transferSyntaxUID: from, undefinedLength };
      const dataset = datasetOf(makeSlice({ ...options, overrides: { '00280107': ['SS', -2000] } }));
      const expected = contentOf(dataset, from);
      for (const to of NATIVE) {
        for (const size of [1, 7, 4096]) {
          const { header, pixels } = contentOf(await convert(dataset, from, to, size), to);
          t.equal(header, expected.header, `${from} to ${to} in pieces of ${size}`);
          t.ok(pixels.equals(expected.pixels));
        }
      }
    }
  }
});

test('a data set that ends too early, or lies about its lengths', async (t) => {
  const dataset = datasetOf(makeSlice({ rows: 8, columns: 8 }));
  const failed = { code: 'malformed-dataset' };
  await t.rejects(convert(dataset.subarray(0, -1), EXPLICIT_LE, IMPLICIT_LE), failed);
  await t.rejects(convert(dataset.subarray(0, 300), EXPLICIT_LE, IMPLICIT_LE), failed);
  const lies = Buffer.from([
    8, 0, 0x15, 0x11, 0x53, 0x51, 0, 0, 12, 0, 0, 0, 0xfe, 0xff, 0, 0xe0, 9, 0, 0, 0, 1, 2, 3, 4,
  ]);
  await t.rejects(convert(lies, EXPLICIT_LE, IMPLICIT_LE), failed);
});

test('the native files of the corpus, there and back', { skip: skipCorpus }, async (t) => {
  let count = 0;
  for (const file of corpusFiles()) {
    if (file.path.startsWith('bad/') || !NATIVE.includes(file.transferSyntaxUID ?? '')) continue;

    const bytes = readCorpusFile(file);
    if (bytes.toString('latin1', 128, 132) !== 'DICM') continue;
    const from = metaOf(bytes)['00020010'] ?? '';
    const dataset = datasetOf(bytes);
    // Implicit VR loses what a file has of its own choice of VRs.
    const to = from === EXPLICIT_LE ? EXPLICIT_BE : EXPLICIT_LE;
    let converted: Buffer;
    let before: ReturnType<typeof contentOf>;
    try {
      before = contentOf(dataset, from);
      converted = await convert(dataset, from, to, 65_536);
    } catch (error) {
      t.comment(`${file.path}: ${(error as { subject?: { rule?: string } }).subject?.rule}`);
      continue;
    }
    count++;
    const after = contentOf(converted, to);
    t.equal(after.pixels.equals(before.pixels), true, file.path);
    t.equal(after.header === before.header, true, file.path);
  }
  t.ok(count > 20, `${count} files`);
});
