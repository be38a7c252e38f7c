import { test } from 'tap';
import type { FrameTable } from '../../../src/dicom/model.ts';
import { corpusFiles, readCorpusFile, skipCorpus } from '../../fixtures/corpus.ts';
import { type Encapsulated, JPEG_BASELINE, makeCtSlice, RLE, type SliceOptions } from '../../fixtures/dicom.ts';
import { scanBytes } from '../../fixtures/scanning.ts';

const small = { rows: 8, columns: 8 };
const VIDEO = '1.2.840.10008.1.2.4.102';

/** A pretended JPEG code stream, cut into as many fragments as asked. */
function jpeg(frame: number, pieces = 1, size = 120): Buffer[] {
  const bytes = Buffer.alloc(size, frame);
  bytes.writeUInt16BE(0xffd8, 0);
  bytes.writeUInt16BE(0xffd9, size - 2);
  const step = Math.ceil(size / pieces / 2) * 2;
  return Array.from({ length: pieces }, (_, i) => bytes.subarray(i * step, (i + 1) * step));
}

async function encapsulated(value: Encapsulated, frames: string | undefined, options: SliceOptions = {}) {
  const bytes = makeCtSlice({
    ...small,
    transferSyntaxUID: JPEG_BASELINE,
    ...options,
    encapsulated: value,
    overrides: { ...(frames !== undefined && { '00280008': ['IS', frames] as const }), ...options.overrides },
  });
  const scan = await scanBytes(bytes, 33);
  return { ...scan, bytes, contents: contentsOf(bytes, scan.frames) };
}

function contentsOf(bytes: Buffer, table: FrameTable): Buffer[] {
  if (table.kind !== 'encapsulated') return [];
  return table.frames.map((pairs) => {
    const parts: Buffer[] = [];
    for (let i = 0; i < pairs.length; i += 2) {
      const [offset = 0, length = 0] = pairs.slice(i);
      parts.push(bytes.subarray(offset, offset + length));
    }
    return Buffer.concat(parts);
  });
}

test('fragments become frames', async (t) => {
  const frames = [1, 2, 3].map((frame) => Buffer.concat(jpeg(frame)));
  const pieces = [...jpeg(1, 2), ...jpeg(2, 3), ...jpeg(3, 1)];
  const offsets = [0, 2 * (8 + 60), 2 * (8 + 60) + 3 * (8 + 40)];
  const table = (values: number[]): Buffer => {
    const out = Buffer.alloc(values.length * 8);
    values.forEach((value, i) => {
      out.writeBigUInt64LE(BigInt(value), i * 8);
    });
    return out;
  };
  const cases: [name: string, value: Encapsulated, frames: string, options?: SliceOptions][] = [
    ['one each', { fragments: frames }, '3'],
    ['one each, with a table', { fragments: frames, offsets: 'right' }, '3'],
    ['several each, with a table', { fragments: pieces, offsets }, '3'],
    ['several each, by their markers', { fragments: pieces }, '3'],
    ['no delimiter', { fragments: pieces, offsets, delimiter: false }, '3'],
    ['an extended table', { fragments: pieces }, '3', { overrides: { '7FE00001': ['OV', table(offsets)] } }],
  ];
  for (const [name, value, count, options] of cases) {
    const { contents, bulk, bytes } = await encapsulated(value, count, options);
    t.strictSame(contents, frames, name);
    const { offset = 0, length = 0 } = bulk['7FE00010'] ?? {};
    t.equal(bytes.readUInt32LE(offset), 0xe000fffe, 'the bulk value begins with the offset table');
    t.equal(offset + length + (value.delimiter === false ? 0 : 8), bytes.length, 'and ends before the delimiter');
  }
  const wholeFrame = await encapsulated({ fragments: pieces.slice(0, 2) }, undefined);
  t.strictSame(wholeFrame.contents, [frames[0]], 'one frame in several fragments');
  const video = await encapsulated({ fragments: pieces }, '50', { transferSyntaxUID: VIDEO });
  t.strictSame(video.contents, [Buffer.concat(pieces)], 'a video is one stream');
  t.strictSame(video.warnings, []);
});

test('lies about frames fall back to what is there', async (t) => {
  const frames = [1, 2].map((frame) => Buffer.concat(jpeg(frame)));
  const odd = [Buffer.alloc(20, 1), Buffer.alloc(20, 2), Buffer.alloc(20, 3)];
  const cases: [name: string, value: Encapsulated, frames: string, found: number, rule: RegExp, uid?: string][] = [
    ['offsets beyond the end', { fragments: frames, offsets: [0, 99999] }, '2', 2, /Offset Table/],
    ['offsets in no order', { fragments: frames, offsets: [128, 0] }, '2', 2, /Offset Table/],
    ['too many offsets', { fragments: frames, offsets: [0, 128, 256] }, '2', 2, /Offset Table/],
    ['more frames than fragments', { fragments: frames }, '5', 2, /Number of Frames differs/],
    ['2147483647 frames', { fragments: frames }, '2147483647', 2, /Number of Frames differs/],
    ['fewer frames than code streams', { fragments: [...frames, ...frames] }, '2', 4, /Number of Frames differs/],
    ['no number', { fragments: frames }, 'two', 2, /Not a positive integer/],
    ['nothing that tells', { fragments: odd }, '2', 0, /nothing that tells/, RLE],
    ['RLE with too few', { fragments: odd }, '5', 3, /Fewer fragments/, RLE],
    ['no fragments', { fragments: [] }, '1', 0, /No fragments/],
  ];
  for (const [name, value, count, found, rule, transferSyntaxUID = JPEG_BASELINE] of cases) {
    const { contents, warnings } = await encapsulated(value, count, { transferSyntaxUID });
    t.equal(contents.length, found, name);
    t.match(warnings.map((warning) => warning.rule).join('\n'), rule, name);
  }
});

test('native frames are those that lie in the value', async (t) => {
  const of = async (overrides: SliceOptions['overrides'], bytes: number) => {
    const pixels = { '7FE00010': ['OW', Buffer.alloc(bytes)] as const };
    const { frames, warnings } = await scanBytes(makeCtSlice({ ...small, overrides: { ...pixels, ...overrides } }));
    return { frames, rules: warnings.map(({ rule }) => rule).join('\n') };
  };
  const count = (n: number, bits = 1024) => ({ kind: 'native', count: n, bitsPerFrame: bits });
  t.match(await of({}, 128), { frames: count(1), rules: '' });
  t.match(await of({ '00280008': ['IS', '3'] }, 384), { frames: count(3), rules: '' });
  t.match(await of({ '00280008': ['IS', '3'] }, 383 - 1), { frames: count(2), rules: /Shorter/ });
  t.match(await of({ '00280008': ['IS', '2147483647'] }, 384), { frames: count(3), rules: /Shorter/ });
  t.match(await of({ '00280008': ['IS', '-1'] }, 384), { frames: count(3), rules: /positive/ });
  t.match(await of({}, 300), { frames: count(1), rules: /Longer/ });
  t.match(await of({ '00280010': ['US', 65535], '00280011': ['US', 65535] }, 128), {
    frames: { count: 0 },
    rules: /Shorter/,
  });
  t.match(await of({ '00280010': ['US', 0] }, 128), { frames: { kind: 'none' }, rules: /do not give a frame/ });
  t.match(await of({}, 0), { frames: { kind: 'none' }, rules: /empty/ });
  t.match(await of({ '00280100': ['US', 1], '00280008': ['IS', '3'], '00280010': ['US', 5] }, 16), {
    frames: count(3, 40),
    rules: '',
  });
  const ybr = { '00280002': ['US', 3], '00280004': ['CS', 'YBR_FULL_422'], '00280100': ['US', 8] } as const;
  t.match(await of({ ...ybr }, 128), { frames: count(1, 1024), rules: '' }, 'subsampled');
  t.match(await of({ ...ybr }, 192), { frames: count(1, 1536), rules: '' }, 'all samples');
});

test('frames of the corpus', { skip: skipCorpus }, async (t) => {
  for (const file of corpusFiles()) {
    if (!/^(transfer-syntax|multiframe|objects)\//.test(file.path)) continue;
    const { frames, header } = await scanBytes(readCorpusFile(file)).catch(() => ({ frames: undefined, header: {} }));
    if (frames?.kind !== 'encapsulated' || file.path.includes('video')) continue;
    const declared = header['00280008' as keyof typeof header] as { Value?: number[] } | undefined;
    t.equal(frames.frames.length, declared?.Value?.[0] ?? 1, file.path);
  }
});
