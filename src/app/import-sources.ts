import { createReadStream } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { openPromise as openZip } from 'yauzl';
import { DagpacsError } from '../kernel/errors.ts';

/** A file to be stored. */
export interface Source {
  /** For people: path, and the place in an archive. */
  name: string;
  size: number;
  /** Changes when the file does. */
  stamp: string;
  bytes(): AsyncIterable<Uint8Array>;
}

/** What is found under a path: a file to store, or why there is nothing to store. */
export type Found = Source | { name: string; skipped: string };

const HEAD = 132;
const ZIP = Buffer.from('PK\x03\x04', 'latin1');

/** Everything that is DICOM under a path: files, folders, archives, and the files that a DICOMDIR lists. */
export async function* sourcesOf(path: string): AsyncGenerator<Found> {
  const info = await stat(path);
  if (info.isDirectory()) {
    const entries = await readdir(path, { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      // The files of a file-set are found by themselves; a link could lead in a circle.
      if (entry.isSymbolicLink() || entry.name.toUpperCase() === 'DICOMDIR') continue;
      yield* sourcesOf(join(path, entry.name));
    }
    return;
  }
  if (!info.isFile()) return;
  const head = await headOf(path);
  if (head.subarray(0, 4).equals(ZIP)) yield* zipSources(path, info.mtimeMs);
  else if (basename(path).toUpperCase().startsWith('DICOMDIR')) yield* directorySources(path);
  else if (!isDicom(head)) yield { name: path, skipped: 'not a DICOM file' };
  else {
    const stamp = `${info.size} ${info.mtimeMs}`;
    yield { name: path, size: info.size, stamp, bytes: () => createReadStream(path, { highWaterMark: 1 << 18 }) };
  }
}

/** A preamble, or a data set that begins as one without it does: group 0002 or 0008, little-endian. */
function isDicom(head: Buffer): boolean {
  if (head.length >= HEAD && head.toString('latin1', 128, 132) === 'DICM') return true;
  return head.length >= 8 && (head[0] === 2 || head[0] === 8) && head[1] === 0 && head[3] === 0;
}

async function headOf(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD), 0, HEAD, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** The files that a DICOMDIR's records name (PS3.3 F.3), whatever case their names have on this disk. */
async function* directorySources(path: string): AsyncGenerator<Found> {
  const { default: dcmjs } = await import('dcmjs');
  let records: Record<string, { Value?: unknown[] }>[];
  try {
    const bytes = await readFile(path);
    const whole = new Uint8Array(bytes).buffer;
    records = dcmjs.data.DicomMessage.readFile(whole).dict['00041220']?.Value ?? [];
  } catch (cause) {
    throw new DagpacsError('malformed-dataset', `${path} is not a DICOMDIR that can be read`, {}, { cause });
  }
  for (const record of records) {
    const parts = (record['00041500']?.Value ?? []).map(String);
    if (parts.length === 0) continue;
    const file = await onDisk(dirname(path), parts);
    if (file === undefined) yield { name: `${path}: ${parts.join('/')}`, skipped: 'the file is not there' };
    else yield* sourcesOf(file);
  }
}

async function onDisk(folder: string, parts: readonly string[]): Promise<string | undefined> {
  let at = folder;
  for (const part of parts) {
    const names = await readdir(at).catch(() => []);
    const plain = (name: string) => name.toUpperCase().replace(/;1$/, '').replace(/\.$/, '');
    const name = names.find((each) => each === part) ?? names.find((each) => plain(each) === part.toUpperCase());
    if (name === undefined) return undefined;
    at = join(at, name);
  }
  return at;
}

async function* zipSources(path: string, mtimeMs: number): AsyncGenerator<Found> {
  // It stays open until the command ends: an entry is read, and perhaps read again, after the next one is asked for.
  const archive = await openZip(path, { autoClose: false }).catch((cause) => {
    throw new DagpacsError('malformed-dataset', `${path} is not a zip archive that can be read`, {}, { cause });
  });
  for await (const entry of archive.eachEntry()) {
    if (entry.fileName.endsWith('/') || /(^|\/)DICOMDIR$/i.test(entry.fileName)) continue;
    const name = `${path}: ${entry.fileName}`;
    const stamp = `${entry.uncompressedSize} ${entry.crc32} ${mtimeMs}`;
    // yauzl gives as many bytes as the archive announces: more or fewer are an error, so that no entry grows without end.
    const bytes = async function* () {
      yield* await archive.openReadStreamPromise(entry);
    };
    if (isDicom(await beginning(bytes()))) yield { name, size: entry.uncompressedSize, stamp, bytes };
    else yield { name, skipped: 'not a DICOM file' };
  }
}

async function beginning(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    chunks.push(chunk);
    size += chunk.length;
    if (size >= HEAD) break;
  }
  return Buffer.concat(chunks);
}
