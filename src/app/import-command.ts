import { createWriteStream, type WriteStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isDagpacsError } from '../kernel/errors.ts';
import { readConfig } from './config.ts';
import { DicomWebClient } from './dicomweb-client.ts';
import { type Found, type Source, sourcesOf } from './import-sources.ts';
import { COULD_NOT, NO, saying, UsageError } from './outcome.ts';
import { progressBar } from './progress-bar.ts';
import { runningBridge } from './running-bridge.ts';
import { baseOf, headersOf, numberOf } from './server-arguments.ts';

const USAGE = `Usage: dagpacs import [--to URL] [--header 'Name: value']... [--parallel 4] [--journal FILE] PATH...

Stores files, folders, zip archives and the files that a DICOMDIR lists in the bridge that runs on this data directory, or
in any DICOMweb server: --to is the base of its services. Files that are held already are stored once. With --journal, what is
stored, and where, is noted in a file, and passed over when the command is run again. What is refused, cannot be read or is no
DICOM is told line by line.

Exit: 0 all is stored, 1 some is refused or cannot be read, 2 could not be done
`;

interface Counts {
  found: number;
  stored: number;
  warned: number;
  before: number;
  skipped: number;
  refused: number;
  bytes: number;
}

/** `dagpacs import`. @returns the exit code */
export function importCommand(args: string[]): Promise<number> {
  return saying('dagpacs import', USAGE, async () => {
    const { positionals, values } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        to: { type: 'string' },
        header: { type: 'string', multiple: true },
        parallel: { type: 'string', default: '4' },
        journal: { type: 'string' },
      },
    });
    if (positionals.length === 0) throw new UsageError('a path is missing');
    const parallel = numberOf('parallel', values.parallel);
    const headers = headersOf(values.header ?? []);
    const to = baseOf('to', values.to);
    const own = to === undefined ? runningBridge('import') : undefined;
    const base = to ?? (own && `${own}/dicom-web`);
    if (base === undefined) return COULD_NOT;
    const client = new DicomWebClient({ base, headers }, parallel);
    for (const path of positionals) await stat(path);
    const target = to ?? resolve(readConfig().DAGPACS_DATA_DIR);
    const journal = values.journal === undefined ? undefined : await openJournal(values.journal, target);
    try {
      return await run(positionals, parallel, client, journal);
    } finally {
      client.close();
      await journal?.close();
    }
  });
}

async function run(paths: string[], parallel: number, client: DicomWebClient, journal?: Journal): Promise<number> {
  const counts: Counts = { found: 0, stored: 0, warned: 0, before: 0, skipped: 0, refused: 0, bytes: 0 };
  const bar = progressBar();
  const tell = (line: string) => void process.stdout.write(`${line}\n`);
  const files = all(paths);
  // One list for all: its turns are taken one after the other, and nothing is listed before it is needed.
  const worker = async () => {
    for await (const found of files) await importOne(found);
  };
  async function importOne(found: Found): Promise<void> {
    counts.found++;
    if ('skipped' in found) {
      counts.skipped++;
      return tell(`skipped ${found.name}: ${found.skipped}`);
    }
    if ('unreadable' in found) {
      counts.refused++;
      return tell(`refused ${found.name}: cannot be read: ${found.unreadable}`);
    }
    try {
      await storeOne(found);
    } finally {
      found.release?.();
    }
    const { stored, before, refused } = counts;
    bar.show(
      stored + before,
      counts.found,
      `${stored + before} stored, ${refused} refused, ${mebibytes(counts.bytes)}`,
    );
  }
  async function storeOne(found: Source): Promise<void> {
    if (journal?.has(found)) counts.before++;
    else {
      const outcome = await client.store(found.size, () => found.bytes());
      if (outcome.stored) {
        counts.stored++;
        counts.bytes += found.size;
        journal?.add(found);
        if (outcome.warning !== undefined) {
          counts.warned++;
          tell(`warning ${found.name}: ${outcome.warning}`);
        }
      } else {
        counts.refused++;
        tell(`refused ${found.name}: ${outcome.reason}`);
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: parallel }, worker));
  } catch (error) {
    if (isDagpacsError(error)) tell(`stopped after ${counts.stored} stored: ${error.message}`);
    throw error;
  } finally {
    bar.end();
  }
  const { stored, warned, before, skipped, refused } = counts;
  tell(
    `${stored} stored (${mebibytes(counts.bytes)}; ${warned} with a warning), ${before} noted as stored before, ` +
      `${skipped} skipped, ${refused} refused`,
  );
  return refused > 0 ? NO : 0;
}

async function* all(paths: readonly string[]): AsyncGenerator<Found> {
  for (const path of paths) yield* sourcesOf(path);
}

const mebibytes = (bytes: number) => `${(bytes / (1 << 20)).toFixed(1)} MiB`;

interface Journal {
  has(source: Source): boolean;
  add(source: Source): void;
  close(): Promise<void>;
}

/** A line of JSON for each file that is stored in `target`; a last line that was cut short does not count. */
async function openJournal(path: string, target: string): Promise<Journal> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const known = new Set(text.split('\n').slice(0, -1));
  const out: WriteStream = createWriteStream(path, { flags: 'a' });
  let failure: Error | undefined;
  out.on('error', (error) => {
    failure = error;
  });
  if (text !== '' && !text.endsWith('\n')) out.write('\n');
  const line = ({ name, stamp }: Source) => JSON.stringify([target, resolve(name), stamp]);
  return {
    has: (source) => known.has(line(source)),
    add(source) {
      if (failure) throw failure;
      out.write(`${line(source)}\n`);
    },
    close: () => new Promise((done, fail) => (failure ? fail(failure) : out.once('error', fail).end(done))),
  };
}
