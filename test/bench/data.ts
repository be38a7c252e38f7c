import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sliceDataset, uid, writePart10 } from '../fixtures/dicom.ts';
import { datasetOf } from '../fixtures/part10.ts';

/** A series on disk. */
export interface Series {
  studyInstanceUID: string;
  seriesInstanceUID: string;
  sopInstanceUIDs: string[];
  files: string[];
  /** Bytes of all files. */
  size: number;
}

const ROWS = 512;
const COLUMNS = 512;
const base = new Uint16Array(ROWS * COLUMNS);

/** Like a CT: a smooth body, and noise of 5 bits that no two slices share, so that it compresses about as a real one. */
function pixels(seed: number): Uint8Array {
  if (base[0] === 0) {
    for (let i = 0; i < base.length; i++) {
      const x = (i % COLUMNS) / COLUMNS - 0.5;
      const y = Math.floor(i / COLUMNS) / ROWS - 0.5;
      base[i] = 64 + Math.round(1000 * Math.exp(-8 * (x * x + y * y)));
    }
  }
  const out = Uint16Array.from(base);
  let state = seed * 2654435761 + 1;
  for (let i = 0; i < out.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    out[i] = (out[i] as number) + ((state >>> 24) & 31);
  }
  return new Uint8Array(out.buffer);
}

/** Writes `count` slices of one series into a new folder; `name` tells the UIDs of one series from another's. */
export async function makeBenchSeries(folder: string, name: string, count: number): Promise<Series> {
  await mkdir(folder, { recursive: true });
  const series: Series = {
    studyInstanceUID: uid('study', name),
    seriesInstanceUID: uid('series', name, 'CT', 1),
    sopInstanceUIDs: [],
    files: [],
    size: 0,
  };
  for (let instance = 1; instance <= count; instance++) {
    const overrides = { '7FE00010': ['OW', pixels(instance)] as const };
    const bytes = writePart10(sliceDataset({ study: name, instance, rows: ROWS, columns: COLUMNS, overrides }));
    const file = join(folder, `${String(instance).padStart(5, '0')}.dcm`);
    await writeFile(file, bytes);
    series.files.push(file);
    series.sopInstanceUIDs.push(uid('instance', name, 'CT', 1, instance));
    series.size += bytes.length;
  }
  return series;
}

/** A multi-frame object of about `total` bytes: what stands before its pixels, and how long those are. */
function bigHeader(instance: number, total: number): { header: Buffer; value: number } {
  const frameBytes = ROWS * COLUMNS * 2;
  const frames = Math.floor(total / frameBytes);
  const overrides = {
    '00080016': ['UI', '1.2.840.10008.5.1.4.1.1.7.3'] as const,
    '00280008': ['IS', String(frames)] as const,
    '7FE00010': ['OW', Buffer.alloc(0)] as const,
  };
  const header = writePart10(sliceDataset({ study: 'big', instance, rows: ROWS, columns: COLUMNS, overrides }));
  // Pixel Data is the last element: its length is the last four bytes of the header.
  header.writeUInt32LE(frames * frameBytes, header.length - 4);
  return { header, value: frames * frameBytes };
}

/** `length` bytes that repeat one megabyte, which costs the sender nothing. */
function* bigValue(length: number): Generator<Buffer> {
  const chunk = Buffer.concat([createHash('sha512').digest(), Buffer.from(pixels(1)), Buffer.from(pixels(2))]).subarray(
    0,
    1 << 20,
  );
  for (let sent = 0; sent < length; sent += chunk.length)
    yield chunk.subarray(0, Math.min(chunk.length, length - sent));
}

/** The data set of a multi-frame object, made as it is read. */
export function bigDataset(instance: number, total: number): { sopInstanceUID: string; chunks: Iterable<Buffer> } {
  const { header, value } = bigHeader(instance, total);
  const chunks = function* () {
    yield datasetOf(header);
    yield* bigValue(value);
  };
  return { sopInstanceUID: uid('instance', 'big', 'CT', 1, instance), chunks: chunks() };
}

/** A multipart body of `parts` multi-frame instances, `total` bytes in all, made as it is read: nothing of it is held. */
export async function* bigRequest(boundary: string, parts: number, total: number): AsyncGenerator<Buffer> {
  for (let part = 1; part <= parts; part++) {
    const { header, value } = bigHeader(part, total / parts);
    yield Buffer.from(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`);
    yield header;
    yield* bigValue(value);
    yield Buffer.from('\r\n');
  }
  yield Buffer.from(`--${boundary}--\r\n`);
}
