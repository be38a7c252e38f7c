import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { command } from '../edges/dimse/raw-peer.ts';
import { runTool, storescu } from '../fixtures/dcmtk.ts';
import { IMPLICIT_LE } from '../fixtures/dicom.ts';
import { freePorts } from '../fixtures/ports.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import type { Series } from './data.ts';
import type { Peer, Row } from './rows.ts';
import { openScu } from './scu.ts';

const FIND = '1.2.840.10008.5.1.4.1.2.2.1';
const ASSOCIATIONS = 4;

/** Pushes the series over `count` associations at one time, each with its share of the files. */
export async function push(peer: Peer, { files }: Series, count: number): Promise<void> {
  const shares = Array.from({ length: count }, (_, lane) => files.filter((__, i) => i % count === lane));
  const ran = await Promise.all(shares.map((share) => storescu(peer.dimse, share)));
  for (const { code, output } of ran) if (code !== 0) throw new Error(`storescu: ${output.slice(-500)}`);
}

/** C-GET by DCMTK's getscu, which throws away what it gets. @returns what it says */
async function getBy({ dimse }: Peer, keys: string[]): Promise<string> {
  const { output } = await runTool('getscu', [
    ...['-v', '-S', '--ignore', '-aec', dimse.aeTitle, dimse.host, String(dimse.port)],
    ...keys.flatMap((key) => ['-k', key]),
  ]);
  return output;
}

/** C-GET of a study. */
export async function getStudy(peer: Peer, studyInstanceUID: string): Promise<void> {
  const output = await getBy(peer, ['QueryRetrieveLevel=STUDY', `StudyInstanceUID=${studyInstanceUID}`]);
  if (!/Completed Suboperations\s*: [1-9]/.test(output)) throw new Error(`C-GET: ${output.slice(-500)}`);
}

async function getSeries(peer: Peer, { studyInstanceUID, seriesInstanceUID, files }: Series): Promise<void> {
  const keys = [`StudyInstanceUID=${studyInstanceUID}`, `SeriesInstanceUID=${seriesInstanceUID}`];
  const output = await getBy(peer, ['QueryRetrieveLevel=SERIES', ...keys]);
  const [, completed = '0'] = [...output.matchAll(/Completed Suboperations\s*: (\d+)/g)].at(-1) ?? [];
  if (Number(completed) !== files.length) throw new Error(`C-GET: ${completed} of ${files.length}`);
}

/** Rows of one series. */
export const dimseRows: { store: Row; get: Row } = {
  store: {
    name: `C-STORE, ${ASSOCIATIONS} associations`,
    writes: true,
    dimse: true,
    run: (peer, series) => push(peer, series, ASSOCIATIONS),
  },
  get: { name: 'C-GET of the series', writes: false, run: getSeries },
};

function element(tag: string, text: string): Buffer {
  const value = Buffer.from(text.length % 2 ? `${text} ` : text, 'latin1');
  const head = Buffer.alloc(8);
  Buffer.from(tag, 'hex').swap16().copy(head);
  head.writeUInt32LE(value.length, 4);
  return Buffer.concat([head, value]);
}

/** Study attributes that a workstation's list shows, with the values that are asked for. */
function identifier(keys: Record<string, string>): Buffer {
  const all: Record<string, string> = {
    '00080020': '',
    '00080030': '',
    '00080050': '',
    '00080052': 'STUDY',
    '00080061': '',
    '00100010': '',
    '00100020': '',
    '0020000D': '',
    ...keys,
  };
  return Buffer.concat(
    Object.keys(all)
      .sort()
      .map((tag) => element(tag, all[tag] as string)),
  );
}

/** C-FIND at study level: `questions` of them over one association, which give `least` answers each at least. */
export function find(
  name: string,
  keys: (question: number) => Record<string, string>,
  { questions = 1, least = 1 } = {},
): Row {
  return {
    name,
    writes: false,
    async run({ name: peer, dimse }) {
      const scu = await openScu(dimse, FIND, IMPLICIT_LE);
      const request = command({ 2: FIND, 256: 0x20, 272: 1, 1792: 0, 2048: 0 });
      for (let question = 0; question < questions; question++) {
        const { status, pending } = await scu.request(request, [identifier(keys(question))]);
        if (status !== 0 || pending < least)
          throw new Error(`${name}, ${peer}: ${pending} answers, ${status.toString(16)}`);
      }
      await scu.release();
    },
  };
}

/** DCMTK's storescp, which writes what comes into files and does nothing else: what the protocol and the disk cost. */
export async function startStorescp(): Promise<Peer> {
  const folder = await makeTempFolder();
  const [port] = (await freePorts(1)) as [number];
  const args = ['--fork', '-aet', 'STORESCP', '+B', '-pdu', '131072', '-od', folder, String(port)];
  const child = spawn('storescp', args, { env: { ...process.env, TCP_NODELAY: '1' }, stdio: 'ignore' });
  const exited = once(child, 'close');
  await sleep(500);
  return {
    name: 'storescp',
    dicomWeb: '',
    dimse: { host: '127.0.0.1', port, aeTitle: 'STORESCP' },
    pid: child.pid as number,
    storesOnly: true,
    async settle() {
      for (const name of await readdir(folder)) await rm(join(folder, name));
    },
    async stop() {
      child.kill('SIGTERM');
      await exited;
      await removeFolder(folder);
    },
  };
}
