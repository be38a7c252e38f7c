import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { codecDefaults } from '../../src/adapters/codecs/options.ts';
import { openCodecs } from '../../src/adapters/codecs/pool.ts';
import {
  type Compression,
  compressionOf,
  decodedLayout,
  ENCODINGS,
  encodedLayout,
} from '../../src/dicom/compression.ts';
import { readJpegXlSize } from '../../src/dicom/jpeg-xl.ts';
import { frameBytes, fromPlanes, type PixelLayout, sampleBytes } from '../../src/dicom/pixels.ts';
import { isDagpacsError } from '../../src/kernel/errors.ts';
import { corpusFiles, corpusPath, skipCorpus } from '../fixtures/corpus.ts';
import { runTool } from '../fixtures/dcmtk.ts';
import { encapsulatedFile, type FileFrames, framesOf, identified, nativeFile } from '../fixtures/frames.ts';
import { type Decoded, decodeByReference, MAX_FRAMES, REFERENCE_TOOLS } from '../fixtures/reference-decoders.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

const log = { info() {}, warn() {}, error() {} };
const codecs = openCodecs(codecDefaults, { log });
const skip = skipCorpus || skipWithout(...Object.values(REFERENCE_TOOLS));

/** Differences that the decoders' arithmetic allows: what no standard defines to the bit. */
const TOLERANCE: Record<string, number> = {
  // HTJ2K with the 9/7 wavelet in floating point: OpenJPH and OpenJPEG round differently.
  'htj2k_lossy_4.203.dcm': 1,
  'HTJ2K_08_RGB.dcm': 1,
  // JPEG XL: another version of libjxl, whose inverse transform and colour conversion are in floating point.
  'will-jxl.dcm': 1,
  'jxl_jpeg_recompression_4.111.dcm': 1,
  'jxl_lossy_4.112.dcm': 1,
};

/** The file, or a copy that can be identified: some files of other projects lack a preamble or a Study Instance UID. */
async function usable(path: string, folder: string): Promise<string> {
  const file = await readFile(path);
  try {
    await framesOf(file);
    return path;
  } catch (error) {
    if (!isDagpacsError(error)) throw error;
    const copy = join(folder, 'file.dcm');
    await writeFile(copy, identified(file));
    return copy;
  }
}

/** The frames that are compared, with their samples by pixel. */
async function decodeSome({ frames, layout, transferSyntaxUID }: FileFrames): Promise<Uint8Array[]> {
  const samples = layout.samplesPerPixel;
  return Promise.all(
    frames.slice(0, MAX_FRAMES).map(async (bytes) => {
      const pixels = await codecs.decode({ transferSyntaxUID, bytes: new Uint8Array(bytes), layout });
      return layout.planar ? fromPlanes(pixels, samples, sampleBytes(layout)) : pixels;
    }),
  );
}

function worst(ours: Uint8Array, theirs: Uint8Array, bytes: number): number {
  if (Buffer.compare(ours, theirs) === 0) return 0;
  if (ours.length !== theirs.length) return Number.POSITIVE_INFINITY;
  const sample = (of: Uint8Array, at: number) =>
    bytes === 2 ? (of[at] as number) + 256 * (of[at + 1] as number) : (of[at] as number);
  let found = 0;
  for (let at = 0; at < ours.length; at += bytes)
    found = Math.max(found, Math.abs(sample(ours, at) - sample(theirs, at)));
  return found;
}

test('every file of the corpus is decoded as DCMTK, GDCM, OpenJPEG and libjxl decode it', { skip }, async (t) => {
  const folder = await makeTempFolder();
  t.teardown(() => removeFolder(folder));
  let compared = 0;
  for (const { path, transferSyntaxUID = '' } of corpusFiles('transfer-syntax/')) {
    const compression = compressionOf(transferSyntaxUID);
    if (compression === undefined || compression === 'deflate' || transferSyntaxUID.endsWith('.99')) continue;
    if (transferSyntaxUID.endsWith('.98')) continue;
    const name = path.split('/')[1] as string;
    const file = await usable(corpusPath(path), folder);
    const stored = await framesOf(await readFile(file));
    const ours = await decodeSome(stored);
    const theirs = await decodeByReference(file, compression, folder);
    t.ok(ours.length > 0 && theirs.length >= ours.length, `${name}: frames`);
    const layout = decodedLayout(transferSyntaxUID, stored.layout);
    ours.forEach((pixels, i) => {
      const reference = theirs[i] as Decoded;
      const difference = worst(pixels, reference.pixels, sampleBytes(layout));
      t.ok(difference <= (TOLERANCE[name] ?? 0), `${name}, frame ${i + 1}: differs by ${difference}`);
      t.equal(layout.photometric, reference.layout.photometric, `${name}: photometric interpretation`);
    });
    compared += 1;
  }
  t.ok(compared > 60, `${compared} files`);
});

/** A frame of noise on a slope, which no coder finds easy, within Bits Stored. */
function madeFrame(layout: PixelLayout): Uint8Array {
  const bytes = sampleBytes(layout);
  const pixels = new Uint8Array(frameBytes(layout));
  const span = 2 ** layout.bitsStored;
  const low = layout.signed ? -span / 2 : 0;
  let state = 1;
  for (let at = 0; at < pixels.length; at += bytes) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    let value = low + ((Math.floor(at / 7) + (state >>> 27)) % span);
    for (let byte = 0; byte < bytes; byte++, value = Math.floor(value / 256)) pixels[at + byte] = value & 0xff;
  }
  return pixels;
}

function layoutsToEncode(): PixelLayout[] {
  const grey = { rows: 37, columns: 53, samplesPerPixel: 1, planar: false, photometric: 'MONOCHROME2' };
  const layouts: PixelLayout[] = [];
  for (const [bitsAllocated, bitsStored] of [
    [8, 8],
    [8, 7],
    [16, 10],
    [16, 12],
    [16, 16],
    [32, 32],
  ] as const)
    for (const signed of [false, true]) layouts.push({ ...grey, bitsAllocated, bitsStored, signed });
  for (const photometric of ['RGB', 'YBR_FULL'])
    for (const planar of [false, true])
      for (const bitsAllocated of [8, 16]) {
        layouts.push({
          ...grey,
          samplesPerPixel: 3,
          bitsAllocated,
          bitsStored: bitsAllocated,
          signed: false,
          planar,
          photometric,
        });
      }
  layouts.push({ ...grey, bitsAllocated: 8, bitsStored: 8, signed: false, photometric: 'PALETTE COLOR' });
  return layouts;
}

function described(layout: PixelLayout): string {
  const { bitsAllocated, bitsStored, signed, samplesPerPixel, planar, photometric } = layout;
  return `${photometric} ${samplesPerPixel} × ${bitsStored}/${bitsAllocated}${signed ? ' signed' : ''}${planar ? ' planar' : ''}`;
}

const EXPLICIT_LE = '1.2.840.10008.1.2.1';

test('what is encoded is what the reference decoders read', {
  skip: skipWithout(...Object.values(REFERENCE_TOOLS)),
}, async (t) => {
  const folder = await makeTempFolder();
  t.teardown(() => removeFolder(folder));
  for (const layout of layoutsToEncode()) {
    const pixels = madeFrame(layout);
    for (const syntax of ENCODINGS) {
      const target = encodedLayout(syntax, layout);
      const name = `${described(layout)} as ${syntax}`;
      const frame = { transferSyntaxUID: EXPLICIT_LE, bytes: new Uint8Array(pixels), layout };
      if (target === undefined) {
        await t.rejects(codecs.transcode(frame, syntax), { code: 'undecodable' }, name);
        continue;
      }
      const encoded = await codecs.transcode(frame, syntax);
      const file = join(folder, 'encoded.dcm');
      // GDCM wants the tables of a palette; to the coders its indices are grey.
      const photometric = target.photometric.replace('PALETTE COLOR', 'MONOCHROME2');
      await writeFile(file, encapsulatedFile(syntax, { ...target, photometric }, [encoded]));
      const [theirs] = await decodeByReference(file, compressionOf(syntax) as Compression, folder);
      const byPixel = layout.planar ? fromPlanes(pixels, 3, sampleBytes(layout)) : pixels;
      t.equal(worst((theirs as Decoded).pixels, byPixel, sampleBytes(layout)), 0, name);
    }
  }
});

test('JPEG of every process that DCMTK can write', { skip: skip || skipWithout('dcmcjpeg') }, async (t) => {
  const folder = await makeTempFolder();
  t.teardown(() => removeFolder(folder));
  const grey = { rows: 64, columns: 80, samplesPerPixel: 1, planar: false, signed: false, photometric: 'MONOCHROME2' };
  const layouts: PixelLayout[] = [
    { ...grey, bitsAllocated: 8, bitsStored: 8 },
    { ...grey, bitsAllocated: 16, bitsStored: 12 },
    { ...grey, bitsAllocated: 16, bitsStored: 16, signed: true },
    { ...grey, bitsAllocated: 8, bitsStored: 8, samplesPerPixel: 3, photometric: 'RGB' },
  ];
  const processes = [
    ['+e1'],
    ['+eb'],
    ['+ee'],
    ['+es'],
    ['+ep'],
    ...[1, 2, 3, 4, 5, 6, 7].map((n) => ['+el', '+sv', `${n}`]),
  ];
  for (const layout of layouts) {
    const source = join(folder, 'source.dcm');
    await writeFile(source, nativeFile(layout, [madeFrame(layout)]));
    for (const options of processes) {
      const file = join(folder, 'jpeg.dcm');
      const { code } = await runTool('dcmcjpeg', [...options, source, file]);
      if (code !== 0) continue; // Eight bits only, or colour only.
      const stored = await framesOf(await readFile(file));
      const [ours] = await decodeSome(stored);
      const [theirs] = await decodeByReference(file, 'jpeg', folder);
      const name = `${described(layout)} ${options.join(' ')}`;
      t.equal(worst(ours as Uint8Array, (theirs as Decoded).pixels, sampleBytes(layout)), 0, name);
    }
  }
});

test('frames that lie cost nothing but an error', async (t) => {
  const layout = {
    rows: 64,
    columns: 64,
    samplesPerPixel: 1,
    bitsAllocated: 16,
    bitsStored: 12,
    signed: false,
    planar: false,
    photometric: 'MONOCHROME2',
  };
  const pixels = madeFrame(layout);
  const native = () => ({ transferSyntaxUID: EXPLICIT_LE, bytes: new Uint8Array(pixels), layout });
  const undecodable = { code: 'undecodable' };
  for (const syntax of [...ENCODINGS, '1.2.840.10008.1.2.4.50', '1.2.840.10008.1.2.4.110', '1.2.840.10008.1.2.8.1']) {
    const made = ENCODINGS.includes(syntax) ? await codecs.transcode(native(), syntax) : new Uint8Array(0);
    const wrong: [string, Uint8Array][] = [
      ['empty', new Uint8Array(0)],
      ['one byte', Uint8Array.of(0xff)],
      ['zeros', new Uint8Array(5000)],
      ['native pixels', new Uint8Array(pixels)],
      ['a header alone', made.slice(0, 100)],
    ];
    for (const [what, bytes] of wrong)
      await t.rejects(codecs.decode({ transferSyntaxUID: syntax, bytes, layout }), undecodable, `${syntax}: ${what}`);
    for (const larger of [{ rows: 65535, columns: 65535 }, { rows: 65 }, { samplesPerPixel: 3 }])
      await t.rejects(
        codecs.decode({ transferSyntaxUID: syntax, bytes: new Uint8Array(made), layout: { ...layout, ...larger } }),
        undecodable,
        `${syntax}: a header that says more`,
      );
    // Every byte damaged in turn may still give an image, but never anything else than an image or an error.
    for (let at = 0; at < made.length; at += Math.ceil(made.length / 60)) {
      const bytes = new Uint8Array(made);
      bytes[at] = (bytes[at] as number) ^ 0xff;
      const size = await codecs.decode({ transferSyntaxUID: syntax, bytes, layout }).then(
        ({ length }) => length,
        (error) => error.code,
      );
      t.ok(size === frameBytes(layout) || size === 'undecodable', `${syntax}: byte ${at} damaged`);
    }
  }
  t.same(await codecs.decode(native()), pixels, 'the threads are as good as new');
});

test('a JPEG XL frame that is larger than the header says is not decoded', { skip: skipCorpus }, async (t) => {
  for (const name of ['jxl_lossless_4.110.dcm', 'jxl_lossy_4.112.dcm', 'will-jxl.dcm']) {
    const { frames, layout, transferSyntaxUID } = await framesOf(await readFile(corpusPath(`transfer-syntax/${name}`)));
    const bytes = frames[0] as Uint8Array;
    const size = readJpegXlSize(bytes);
    t.same(size, { rows: layout.rows, columns: layout.columns }, name);
    const smaller = { ...layout, rows: layout.rows - 1 };
    await t.rejects(codecs.decode({ transferSyntaxUID, bytes, layout: smaller }), { code: 'undecodable' });
  }
});

test('a thread that takes too long is replaced, and a full queue pushes back', async (t) => {
  const slow = openCodecs({ ...codecDefaults, threads: 1, timeoutMs: 1, maxQueue: 1 }, { log });
  const layout = {
    rows: 3000,
    columns: 3000,
    samplesPerPixel: 1,
    bitsAllocated: 16,
    bitsStored: 16,
    signed: false,
    planar: false,
    photometric: 'MONOCHROME2',
  };
  const job = () =>
    slow.transcode({ transferSyntaxUID: EXPLICIT_LE, bytes: madeFrame(layout), layout }, '1.2.840.10008.1.2.4.90');
  const running = job();
  const waiting = job();
  await t.rejects(job(), { code: 'pushback' });
  await t.rejects(running, { code: 'undecodable', subject: { rule: /in time/ } });
  await t.rejects(waiting, { code: 'undecodable' }, 'another thread took it up');
  await slow.close();
  await t.rejects(job(), { code: 'pushback' }, 'closed');
});

test('teardown', async () => codecs.close());
