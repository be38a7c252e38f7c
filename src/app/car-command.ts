import { createWriteStream, openAsBlob } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { openCarFile } from '../adapters/blocks/car-file.ts';
import { exportStudy } from '../flows/upkeep/car-export.ts';
import type { CarImport } from '../flows/upkeep/car-import.ts';
import { DagpacsError, isDagpacsError } from '../kernel/errors.ts';
import { createLog } from '../kernel/log.ts';
import { linesOf, refusalOf } from './bridge-api.ts';
import { type Config, readConfig } from './config.ts';
import { openOffline, runningBridge } from './offline.ts';
import { NO, saying, UsageError } from './outcome.ts';
import { progressBar } from './progress-bar.ts';
import { importFile } from './study-archive.ts';

const USAGE = `Usage: dagpacs car export STUDY [--out FILE]
       dagpacs car import FILE

A study's sealed blocks as one CARv1 file with one root, which \`ipfs dag import\` takes too. The keys are not in it.
Without --out the file goes to standard output. An import checks every block, puts right what is missing or damaged here,
takes versions that are not held where the study's key is in the vault, and can be repeated. With or without a bridge that
runs.

Exit: 0 all is there, 1 something is missing or damaged (each is said), 2 could not be done
`;

const MEBIBYTE = 1 << 20;

/** `dagpacs car`. @returns the exit code */
export function carCommand(args: string[]): Promise<number> {
  return saying('dagpacs car', USAGE, async () => {
    const { positionals, values } = parseArgs({ args, allowPositionals: true, options: { out: { type: 'string' } } });
    const [verb, what, ...rest] = positionals;
    if ((verb !== 'export' && verb !== 'import') || what === undefined || rest.length > 0) {
      throw new UsageError('export STUDY or import FILE?');
    }
    const config = readConfig();
    const base = await runningBridge(config);
    const undo: (() => unknown)[] = [];
    try {
      if (verb === 'import') return await tellImport(await importing(what, base, config, undo));
      return await write(await exporting(what, base, config, undo), values.out);
    } catch (error) {
      if (!isDagpacsError(error, 'block-missing') && !isDagpacsError(error, 'block-damaged')) throw error;
      process.stderr.write(`dagpacs car: the study is not whole, nothing is kept: ${error.message}\n`);
      return NO;
    } finally {
      for (const step of undo.reverse()) await step();
    }
  });
}

interface Outgoing {
  /** Bytes, a little less than there are. */
  size: number;
  versions: number;
  bytes: AsyncIterable<Uint8Array>;
}

async function exporting(
  study: string,
  base: string | undefined,
  config: Config,
  undo: (() => unknown)[],
): Promise<Outgoing> {
  if (base === undefined) {
    const { size, versions, bytes } = await exportStudy(study, await openOffline(config, quietLog(config), undo));
    return { size, versions, bytes: bytes() };
  }
  const response = await fetch(`${base}/custody/studies/${encodeURIComponent(study)}/car`);
  if (!response.ok || !response.body) throw await refusalOf(response);
  const size = Number(response.headers.get('x-dagpacs-size'));
  return { size, versions: Number(response.headers.get('x-dagpacs-versions')), bytes: response.body };
}

/** Writes to a file beside `out` that takes its name when it is whole. */
async function write({ size, versions, bytes }: Outgoing, out: string | undefined): Promise<number> {
  const bar = progressBar();
  let done = 0;
  async function* counted() {
    for await (const chunk of bytes) {
      done += chunk.length;
      bar.show(done, size, `${(done / MEBIBYTE).toFixed(0)} of ${(size / MEBIBYTE).toFixed(0)} MiB`);
      yield chunk;
    }
  }
  const part = out === undefined ? undefined : `${out}.part`;
  const target = part === undefined ? process.stdout : createWriteStream(part, { mode: 0o600, flush: true });
  try {
    await pipeline(counted, target, { end: part !== undefined });
  } catch (error) {
    if (part !== undefined) await rm(part, { force: true });
    // The bridge has cut its answer.
    if ((error as Error).name !== 'TypeError') throw error;
    throw new DagpacsError('block-missing', "a block cannot be had: the bridge's log and dagpacs scrub say more");
  } finally {
    bar.end();
  }
  if (part !== undefined && out !== undefined) await rename(part, out);
  process.stderr.write(`${versions} versions, ${done} bytes\n`);
  return 0;
}

async function importing(
  path: string,
  base: string | undefined,
  config: Config,
  undo: (() => unknown)[],
): Promise<AsyncIterable<CarImport>> {
  if (base === undefined) {
    const modules = await openOffline(config, quietLog(config), undo);
    return importFile(await openCarFile(path), { ...modules, onStored: () => undefined });
  }
  const response = await fetch(`${base}/custody/car`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.ipld.car' },
    body: await openAsBlob(path),
  });
  if (!response.ok || !response.body) throw await refusalOf(response);
  return linesOf<CarImport>(response.body);
}

async function tellImport(steps: AsyncIterable<CarImport>): Promise<number> {
  const bar = progressBar();
  let last: CarImport | undefined;
  for await (const step of steps) {
    last = step;
    bar.show(step.versions, step.ofVersions, `${step.versions}/${step.ofVersions} versions`);
  }
  bar.end();
  if (!last) throw new DagpacsError('storage-failed', 'the bridge broke the import off: see its log, and try again');
  const { ofVersions, added, held, repaired, stored, failed, faults } = last;
  for (const { cid, reason } of faults) process.stdout.write(`fault: ${cid}: ${reason}\n`);
  process.stdout.write(`${ofVersions} versions, ${added} of them new; `);
  process.stdout.write(`blocks: ${held} held, ${repaired} repaired, ${stored} stored\n`);
  process.stdout.write(failed === 0 ? 'no faults\n' : `${failed} faults\n`);
  return failed === 0 ? 0 : NO;
}

/** What is to be said of a command's work is said by the command. */
function quietLog({ DAGPACS_LOG_LEVEL }: Config) {
  return createLog(DAGPACS_LOG_LEVEL === 'info' ? 'info' : 'error', (line) => process.stderr.write(line));
}
