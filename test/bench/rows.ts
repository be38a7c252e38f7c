import { readFile } from 'node:fs/promises';
import type { DimseAddress } from '../fixtures/dcmtk.ts';
import { get, send } from './client.ts';
import type { Series } from './data.ts';
import { dimseRows, push } from './dimse.ts';

/** A server that is measured. */
export interface Peer {
  name: string;
  dicomWeb: string;
  dimse: DimseAddress;
  pid: number;
  /** It takes C-STORE, and has no other row. */
  storesOnly?: true;
  /** Waits until it has done what it does after it answered, so that it does not disturb the next one. */
  settle(): Promise<void>;
  stop(): Promise<unknown>;
}

/** One line of the table: what is done, how much of it, and how. */
export interface Row {
  name: string;
  /** Writes want a series that the peer does not have yet. */
  writes: boolean;
  /** C-STORE, which peers that do nothing else are measured with too. */
  dimse?: true;
  run(peer: Peer, series: Series): Promise<unknown>;
}

const BATCH = 50;
const PARALLEL = 8;
const JSON_TYPE = 'application/dicom+json';
const PART10 = 'multipart/related; type="application/dicom"; transfer-syntax=*';
const FRAMES = 'multipart/related; type=application/octet-stream; transfer-syntax=*';

const seriesUrl = (peer: Peer, series: Series) =>
  `${peer.dicomWeb}/studies/${series.studyInstanceUID}/series/${series.seriesInstanceUID}`;

async function* multipart(files: readonly string[], boundary: string): AsyncGenerator<Buffer> {
  for (const file of files) {
    yield Buffer.from(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`);
    yield await readFile(file);
    yield Buffer.from('\r\n');
  }
  yield Buffer.from(`--${boundary}--\r\n`);
}

async function stowInBatches(peer: Peer, { files }: Series): Promise<void> {
  const boundary = 'bench-boundary-5f1d';
  const type = `multipart/related; type="application/dicom"; boundary=${boundary}`;
  for (let at = 0; at < files.length; at += BATCH) {
    await send(`${peer.dicomWeb}/studies`, type, multipart(files.slice(at, at + BATCH), boundary));
  }
}

/** Instances `count` of the series, by several clients at once. */
async function atOnce(series: Series, count: number, read: (sop: string) => Promise<unknown>): Promise<void> {
  const waiting = series.sopInstanceUIDs.slice(0, count);
  const reader = async () => {
    for (let sop = waiting.pop(); sop !== undefined; sop = waiting.pop()) await read(sop);
  };
  await Promise.all(Array.from({ length: PARALLEL }, reader));
}

function frames(peer: Peer, series: Series): Promise<void> {
  return atOnce(series, 300, (sop) => get(`${seriesUrl(peer, series)}/instances/${sop}/frames/1`, FRAMES));
}

/** Grows with every reading, so that no server has the image already. */
const windows = new WeakMap<Peer, number>();

function rendered(peer: Peer, series: Series): Promise<void> {
  const width = (windows.get(peer) ?? 400) + 1;
  windows.set(peer, width);
  const query = `rendered?window=500,${width},linear&quality=90`;
  return atOnce(series, 200, (sop) => get(`${seriesUrl(peer, series)}/instances/${sop}/${query}`, 'image/jpeg'));
}

async function framesOneByOne(peer: Peer, series: Series): Promise<void> {
  for (const sop of series.sopInstanceUIDs.slice(0, 200)) {
    await get(`${seriesUrl(peer, series)}/instances/${sop}/frames/1`, FRAMES);
  }
}

/** What is measured, in the order in which a study lives. */
export const rows: readonly Row[] = [
  { name: 'C-STORE, one association', writes: true, dimse: true, run: (peer, series) => push(peer, series, 1) },
  dimseRows.store,
  { name: `STOW, ${BATCH} instances a request`, writes: true, run: stowInBatches },
  {
    name: 'series metadata',
    writes: false,
    run: (peer, series) => get(`${seriesUrl(peer, series)}/metadata`, JSON_TYPE),
  },
  {
    name: 'QIDO, all instances of the series',
    writes: false,
    run: (peer, series) => get(`${seriesUrl(peer, series)}/instances?limit=${series.files.length}`, JSON_TYPE),
  },
  dimseRows.get,
  { name: 'whole series', writes: false, run: (peer, series) => get(seriesUrl(peer, series), PART10) },
  { name: `300 frames, ${PARALLEL} at a time`, writes: false, run: frames },
  { name: '200 frames, one by one', writes: false, run: framesOneByOne },
  { name: `200 rendered as JPEG, ${PARALLEL} at a time`, writes: false, run: rendered },
];
