import { test } from 'tap';
import { type BulkPart, type BulkSource, makeInstance } from '../../../src/dicom/make-instance.ts';
import type { DicomJson, Scan } from '../../../src/dicom/model.ts';
import { transferSyntax } from '../../../src/dicom/transfer-syntax.ts';
import { corpusFiles, readCorpusFile, skipCorpus } from '../../fixtures/corpus.ts';
import { outcome, scanBytes } from '../../fixtures/scanning.ts';

async function* once(bytes: Uint8Array) {
  yield bytes;
}

/** Gives a file's own bulk values. */
function bulkOf(scan: Scan, file: Buffer): BulkSource {
  const taken = new Set<string>();
  const bulkValue = (uri: string) => {
    const value = scan.bulk[uri.slice('bulk:/'.length)];
    return value && file.subarray(value.offset, value.offset + value.length);
  };
  const look = async (uri: string): Promise<BulkPart | undefined> => {
    const bytes = taken.has(uri) ? undefined : bulkValue(uri);
    if (!bytes) return undefined;
    return { type: 'application/octet-stream', transferSyntaxUID: undefined, size: bytes.length, bytes: once(bytes) };
  };
  return {
    look,
    async take(uri) {
      const part = await look(uri);
      taken.add(uri);
      return part;
    },
    whole: async (uri) => bulkValue(uri),
  };
}

test('a file that is made of its metadata and bulk data says the same', { skip: skipCorpus }, async (t) => {
  let made = 0;
  for (const file of corpusFiles()) {
    const bytes = readCorpusFile(file);
    const { scan } = await outcome(bytes);
    const syntax = scan && transferSyntax(scan.transferSyntaxUID);
    if (!scan || !syntax || syntax.bigEndian || syntax.bigEndianPixels || syntax.deflated) continue;
    // Decimal strings of more than 16 characters come out shorter.
    if (/^bad\/|float32_pixel/.test(file.path)) continue;
    // Compressed pixels are OB, whatever the file calls them (PS3.5 §A.4).
    if (syntax.encapsulated && scan.header['7FE00010']) scan.header['7FE00010'].vr = 'OB';
    const metadata: DicomJson = {
      '00020010': { vr: 'UI', Value: [scan.transferSyntaxUID] },
      ...(JSON.parse(JSON.stringify(scan.header)) as DicomJson),
    };
    const chunks: Uint8Array[] = [];
    for await (const chunk of makeInstance(metadata, bulkOf(scan, bytes))) chunks.push(Buffer.from(chunk));
    const whole = Buffer.concat(chunks);
    const again = await scanBytes(whole);
    t.strictSame(comparable(again.header), comparable(scan.header), file.path);
    t.equal(again.sopInstanceUID, scan.sopInstanceUID);
    t.equal(again.frames.kind, scan.frames.kind, file.path);
    const before = scan.bulk['7FE00010'];
    const after = again.bulk['7FE00010'];
    // An odd length is made even.
    if (before && after) {
      t.ok(
        whole
          .subarray(after.offset, after.offset + before.length)
          .equals(bytes.subarray(before.offset, before.offset + before.length)),
        `pixels of ${file.path}`,
      );
    }
    made += 1;
  }
  t.ok(made > 60, `${made} files`);
});

/** Without the character set, which is UTF-8 now, and without group lengths. */
function comparable(header: DicomJson): unknown {
  return JSON.parse(
    JSON.stringify(header, (key, value) =>
      key === '00080005' || key === '00083002' || /^[\dA-F]{4}0000$/.test(key) ? undefined : value,
    ),
  );
}
