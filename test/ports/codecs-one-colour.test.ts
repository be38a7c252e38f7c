import { test } from 'tap';
import { codecDefaults } from '../../src/adapters/codecs/options.ts';
import { openCodecs } from '../../src/adapters/codecs/pool.ts';
import { JPEG_LS_LOSSLESS } from '../../src/dicom/compression.ts';
import { frameBytes } from '../../src/dicom/pixels.ts';
import { EXPLICIT_LE } from '../fixtures/dicom.ts';

const log = { info() {}, warn() {}, error() {} };

/** Rows, columns and samples of a pixel, and how many times smaller it becomes. */
const CASES = [
  [8192, 16, 1, 110],
  [8192, 1024, 1, 7000],
  [64, 65535, 1, 50_000],
  [2048, 64, 3, 1000],
] as const;

test('a frame of one colour is read, though JPEG-LS makes nearly nothing of it', async (t) => {
  const codecs = openCodecs({ ...codecDefaults, threads: 1 }, { log });
  for (const [rows, columns, samplesPerPixel, times] of CASES) {
    const layout = {
      rows,
      columns,
      samplesPerPixel,
      bitsAllocated: 8,
      bitsStored: 8,
      signed: false,
      planar: false,
      photometric: samplesPerPixel === 1 ? 'MONOCHROME2' : 'RGB',
    };
    const plain = new Uint8Array(frameBytes(layout));
    const frame = { transferSyntaxUID: EXPLICIT_LE, bytes: plain.slice(), layout };
    const coded = await codecs.transcode(frame, JPEG_LS_LOSSLESS);
    t.ok(coded.length * times < plain.length, `${rows} × ${columns} × ${samplesPerPixel}: ${coded.length} bytes`);
    const bytes = new Uint8Array(coded);
    const decoded = await codecs.decode({ transferSyntaxUID: JPEG_LS_LOSSLESS, bytes, layout });
    t.ok(Buffer.from(decoded).equals(plain));
  }
  await codecs.close();
});
