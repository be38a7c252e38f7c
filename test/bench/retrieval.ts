import { startBridge } from '../fixtures/bridge.ts';
import { uid } from '../fixtures/dicom.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import { closeConnections, get, send } from './client.ts';
import { bigRequest } from './data.ts';
import { getStudy } from './dimse.ts';
import { peakMemory } from './memory.ts';
import type { Peer } from './rows.ts';
import { formatTable } from './table.ts';

const RLE = '1.2.840.10008.1.2.5';
const JPEG_LS = '1.2.840.10008.1.2.4.80';
const JPEG_2000 = '1.2.840.10008.1.2.4.90';
const study = uid('study', 'big');
const series = `/studies/${study}/series/${uid('series', 'big', 'CT', 1)}`;
const instance = (number: number) => `${series}/instances/${uid('instance', 'big', 'CT', 1, number)}`;
const DICOM = 'multipart/related; type="application/dicom"';
const OCTETS = 'multipart/related; type="application/octet-stream"';

type Retrieval = (
  get: (path: string, accept: string) => Promise<unknown>,
  peer: Peer,
  parts: number,
) => Promise<unknown>;

function each(parts: number, work: (number: number) => Promise<unknown>): Promise<unknown> {
  return Promise.all(Array.from({ length: parts }, (_, i) => work(i + 1)));
}

/** Ways to have a study that is larger than memory should ever be. */
const RETRIEVALS: Record<string, Retrieval> = {
  'whole study': (get) => get(`/studies/${study}`, DICOM),
  'whole study four times at once': (get) => each(4, () => get(`/studies/${study}`, DICOM)),
  'every instance at once': (get, _, parts) => each(parts, (number) => get(instance(number), 'application/dicom')),
  'as a zip': (get) => get(`/studies/${study}`, 'application/zip'),
  'pixel data': (get) => get(`/studies/${study}/pixeldata`, OCTETS),
  metadata: (get) => get(`/studies/${study}/metadata`, 'application/dicom+json'),
  'frames, eight at a time': async (get) => {
    for (let from = 1; from <= 400; from += 8)
      await each(8, (number) => get(`${instance(1)}/frames/${from + number - 1}`, OCTETS));
  },
  'whole study as RLE': (get) => get(`/studies/${study}`, `${DICOM}; transfer-syntax=${RLE}`),
  'an instance as JPEG-LS': (get) => get(instance(1), `application/dicom; transfer-syntax=${JPEG_LS}`),
  'frames as JPEG 2000': (get, _, parts) =>
    each(parts, (number) =>
      get(`${instance(number)}/frames/1,2,3,4`, `multipart/related; type="image/jp2"; transfer-syntax=${JPEG_2000}`),
    ),
  'a GIF of an instance': (get) => get(`${instance(1)}/rendered`, 'image/gif'),
  'rendered, every frame': (get) => get(`${instance(1)}/rendered`, 'multipart/related; type="image/jpeg"'),
  'C-GET': (_, peer) => getStudy(peer, study),
};

/**
 * Stores a study of `total` bytes in `parts` instances and retrieves it in each way, from a bridge that was just started.
 * @returns a table of seconds and peak resident memory
 */
export async function measureRetrievals(parts: number, total: number): Promise<string> {
  const dataDir = await makeTempFolder();
  const lines = [['', 's', 'peak MiB']];
  try {
    const boundary = 'bench-boundary-5f1d';
    const storing = await startBridge({ dataDir, kubo: false });
    const type = `multipart/related; type="application/dicom"; boundary=${boundary}`;
    await send(`${storing.dicomWeb}/studies`, type, bigRequest(boundary, parts, total));
    closeConnections();
    await storing.stop();
    for (const [name, retrieve] of Object.entries(RETRIEVALS)) {
      const { dicomWeb, dimse, pid, stop } = await startBridge({ dataDir, kubo: false });
      const started = performance.now();
      const peer: Peer = {
        name,
        dicomWeb,
        dimse,
        pid,
        stop: async () => void (await stop()),
        settle: async () => undefined,
      };
      await retrieve((path, accept) => get(`${dicomWeb}${path}`, accept), peer, parts);
      lines.push([name, ((performance.now() - started) / 1000).toFixed(1), peakMemory(pid).toFixed(0)]);
      closeConnections();
      await stop();
    }
  } finally {
    await removeFolder(dataDir);
  }
  return formatTable(lines);
}
