import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { isUsableUID } from '../dicom/uid.ts';
import { type ZipFile, zipOf } from '../edges/http/zip.ts';
import { isDagpacsError } from '../kernel/errors.ts';
import { DicomWebClient } from './dicomweb-client.ts';
import { COULD_NOT, NO, saying, UsageError } from './outcome.ts';
import { progressBar } from './progress-bar.ts';
import { runningBridge } from './running-bridge.ts';
import { baseOf, headersOf, numberOf } from './server-arguments.ts';

const USAGE = `Usage: dagpacs export [--from URL] [--header 'Name: value']... [--parallel 4] STUDY (--to FOLDER | --zip FILE)

Fetches a study's instances, as they are stored, from the bridge that runs on this data directory, or from any DICOMweb
server: --from is the base of its services. Each becomes FOLDER/STUDY/SERIES/INSTANCE.dcm, or is in the archive under that name.
Run again, it fetches what is not there yet.

Exit: 0 all is there, 1 some could not be fetched (each is said), 2 could not be done
`;

const ATTEMPTS = 3;

interface Place {
  series: string;
  instance: string;
  /** Below the folder. */
  name: string;
}

/** `dagpacs export`. @returns the exit code */
export function exportCommand(args: string[]): Promise<number> {
  return saying('dagpacs export', USAGE, async () => {
    const { positionals, values } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        from: { type: 'string' },
        header: { type: 'string', multiple: true },
        parallel: { type: 'string', default: '4' },
        to: { type: 'string' },
        zip: { type: 'string' },
      },
    });
    const [study = '', ...rest] = positionals;
    if (rest.length > 0 || !isUsableUID(study)) throw new UsageError('STUDY is one Study Instance UID');
    if ((values.to === undefined) === (values.zip === undefined)) throw new UsageError('--to FOLDER or --zip FILE?');
    const parallel = numberOf('parallel', values.parallel);
    const headers = headersOf(values.header ?? []);
    const from = baseOf('from', values.from);
    const own = from === undefined ? runningBridge('export') : undefined;
    const base = from ?? (own && `${own}/dicom-web`);
    if (base === undefined) return COULD_NOT;
    const client = new DicomWebClient({ base, headers }, parallel);
    // An archive is made of files that are there: until then they lie beside it.
    const folder = values.to ?? `${values.zip}.parts`;
    try {
      const found = await client.instancesOf(study);
      const places = found.map(({ series, instance }) => ({
        series,
        instance,
        name: `${study}/${series}/${instance}.dcm`,
      }));
      const failed = await fetchAll(client, study, places, folder, parallel);
      if (failed > 0) return NO;
      if (values.zip !== undefined) {
        await writeZip(values.zip, folder, places);
        await rm(folder, { recursive: true });
      }
      process.stdout.write(`${places.length} instances in ${values.zip ?? join(folder, study)}\n`);
      return 0;
    } finally {
      client.close();
    }
  });
}

/** @returns how many could not be fetched */
async function fetchAll(
  client: DicomWebClient,
  study: string,
  places: readonly Place[],
  folder: string,
  parallel: number,
): Promise<number> {
  const waiting = [...places];
  const bar = progressBar();
  let done = 0;
  let failed = 0;
  const worker = async () => {
    for (let place = waiting.shift(); place; place = waiting.shift()) {
      const { series, instance, name } = place;
      const path = join(folder, name);
      try {
        if (!(await isThere(path))) await fetchOne(path, () => client.retrieve(study, series, instance));
        done++;
      } catch (error) {
        // A disk that is full, or a server that is gone, ends it; what is wrong with one instance does not.
        if (!isDagpacsError(error) || error.code === 'peer-unavailable') throw error;
        failed++;
        process.stdout.write(`not fetched ${name}: ${error.message}\n`);
      }
      bar.show(done, places.length, `${done} of ${places.length} instances`);
    }
  };
  try {
    await Promise.all(Array.from({ length: parallel }, worker));
  } finally {
    bar.end();
  }
  return failed;
}

/** What breaks off on its way is fetched again. */
async function fetchOne(path: string, bytes: () => AsyncIterable<Uint8Array>): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  for (let attempt = 1; ; attempt++) {
    try {
      return await writeWhole(path, bytes());
    } catch (error) {
      if (!isDagpacsError(error, 'sender-aborted') || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Under its name only once it is whole. */
async function writeWhole(path: string, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const partial = `${path}.part`;
  try {
    await pipeline(bytes, createWriteStream(partial));
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  await rename(partial, path);
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

async function writeZip(target: string, folder: string, places: readonly Place[]): Promise<void> {
  const files: ZipFile[] = [];
  for (const { name } of places) {
    const path = join(folder, name);
    const { size, mtime: modified } = await stat(path);
    files.push({ name, size, modified, bytes: () => createReadStream(path, { highWaterMark: 1 << 18 }) });
  }
  await writeWhole(target, zipOf(files));
}
