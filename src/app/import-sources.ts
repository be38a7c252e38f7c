import { createReadStream } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
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
  /** To be called when it is read no more: an archive is closed after the last of its files. */
  release?(): void;
}

/** What is found under a path: a file to store, why there is nothing to store, or why it cannot be read. */
export type Found = Source | { name: string; skipped: string } | { name: string; unreadable: string };

const PREFIX_END = 132;
const HEAD = 1024;
const ZIP = Buffer.from('PK\x03\x04', 'latin1');
/** Media Storage SOP Class UID (0002,0002) of a DICOMDIR. */
const DIRECTORY = Buffer.from('\x02\x00\x02\x00UI\x14\x001.2.840.10008.1.3.10', 'latin1');

/**
 * Everything that is DICOM under a path: files, folders, archives, and the files that a DICOMDIR lists. Links are followed, and
 * no folder is looked at twice. What cannot be read is told, and the rest goes on.
 */
export function sourcesOf(path: string): AsyncGenerator<Found> {
  return look(path, { seen: new Set(), given: true });
}

interface Place {
  /** Folders that were looked at, by device and number. */
  seen: Set<string>;
  /** Named by the user: the files of a DICOMDIR that lies in a folder are found by themselves. */
  given: boolean;
}

async function* look(path: string, place: Place): AsyncGenerator<Found> {
  try {
    yield* lookInto(path, place);
  } catch (error) {
    yield { name: path, unreadable: (error as Error).message };
  }
}

async function* lookInto(path: string, { seen, given }: Place): AsyncGenerator<Found> {
  const info = await stat(path);
  if (info.isDirectory()) {
    const identity = `${info.dev} ${info.ino}`;
    if (seen.has(identity)) return yield { name: path, skipped: 'looked at already under another name' };
    seen.add(identity);
    const names = await readdir(path);
    for (const name of names.sort()) yield* look(join(path, name), { seen, given: false });
    return;
  }
  if (!info.isFile()) return yield { name: path, skipped: 'neither a file nor a folder' };
  const head = await headOf(path);
  if (head.subarray(0, 4).equals(ZIP)) yield* zipSources(path, info.mtimeMs);
  else if (!isDicom(head)) yield { name: path, skipped: 'not a DICOM file' };
  else if (head.includes(DIRECTORY)) {
    if (given) yield* directorySources(path, seen);
  } else {
    const stamp = `${info.size} ${info.mtimeMs}`;
    yield { name: path, size: info.size, stamp, bytes: () => createReadStream(path, { highWaterMark: 1 << 18 }) };
  }
}

/** A preamble, or a data set that begins as one without it does: group 0002 or 0008, little-endian. */
function isDicom(head: Buffer): boolean {
  if (head.length >= PREFIX_END && head.toString('latin1', 128, PREFIX_END) === 'DICM') return true;
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
async function* directorySources(path: string, seen: Set<string>): AsyncGenerator<Found> {
  const { default: dcmjs } = await import('dcmjs');
  let records: Record<string, { Value?: unknown[] }>[];
  try {
    const bytes = await readFile(path);
    const whole = new Uint8Array(bytes).buffer;
    records = dcmjs.data.DicomMessage.readFile(whole).dict['00041220']?.Value ?? [];
  } catch (cause) {
    throw new DagpacsError('malformed-dataset', 'not a DICOMDIR that can be read', {}, { cause });
  }
  for (const record of records) {
    const parts = (record['00041500']?.Value ?? []).map(String);
    if (parts.length === 0) continue;
    const file = await onDisk(dirname(path), parts);
    if (file === undefined) yield { name: `${path}: ${parts.join('/')}`, unreadable: 'the file is not there' };
    else yield* look(file, { seen, given: false });
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
  const archive = await openZip(path, { autoClose: false }).catch((cause) => {
    throw new DagpacsError('malformed-dataset', 'not a zip archive that can be read', {}, { cause });
  });
  // It stays open as long as an entry is read, and perhaps read again.
  let users = 1;
  const release = () => {
    users -= 1;
    if (users === 0) archive.close();
  };
  try {
    for await (const entry of archive.eachEntry()) {
      if (entry.fileName.endsWith('/')) continue;
      const name = `${path}: ${entry.fileName}`;
      const stamp = `${entry.uncompressedSize} ${entry.crc32} ${mtimeMs}`;
      // yauzl gives as many bytes as the archive announces: more or fewer are an error, so that no entry grows without end.
      const bytes = async function* () {
        let sum = 0;
        for await (const chunk of await archive.openReadStreamPromise(entry)) {
          sum = crc32(chunk, sum);
          yield chunk as Uint8Array;
        }
        if (sum !== entry.crc32) throw new Error('its bytes are not those that its CRC-32 is of');
      };
      const head = await beginning(bytes()).catch((error: Error) => error);
      if (head instanceof Error) yield { name, unreadable: head.message };
      else if (!isDicom(head)) yield { name, skipped: 'not a DICOM file' };
      else if (!head.includes(DIRECTORY)) {
        users += 1;
        yield { name, size: entry.uncompressedSize, stamp, bytes, release };
      }
    }
  } finally {
    release();
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
  return Buffer.concat(chunks).subarray(0, HEAD);
}
