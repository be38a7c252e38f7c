import { createHash } from 'node:crypto';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import type { Query } from '../../../src/dicom/query.ts';
import type { HttpModules } from '../../../src/edges/http/modules.ts';
import { type HttpOptions, httpDefaults } from '../../../src/edges/http/options.ts';
import { type HttpListener, startHttp } from '../../../src/edges/http/server.ts';
import { createCommitmentRequests } from '../../../src/flows/commitment/requests.ts';
import type { Ingest } from '../../../src/flows/ingest/received.ts';
import type { CustodyView, InstanceCustody } from '../../../src/flows/serve/custody.ts';
import type { Render } from '../../../src/flows/serve/rendered.ts';
import type { Scope, Serve, ServedInstance, ServedValue } from '../../../src/flows/serve/served.ts';
import type { Transcode } from '../../../src/flows/serve/transcoded.ts';
import { DagpacsError } from '../../../src/kernel/errors.ts';
import type { InstanceUIDs } from '../../../src/ports/index.ts';

/** The flows of the bridge over memory: what the HTTP edge is tested against without the parts behind them. */
export interface MemoryBridge extends HttpListener {
  url: string;
  dicomWeb: string;
  /** What was stored, in the order of its acceptance. */
  stored: Stored[];
  /** Queries that the index was asked. */
  queries: Query[];
  /** Log events with their fields. */
  events: { event: string; fields: object }[];
  /** Bytes that sources have yielded so far, and sources that were left early. */
  sent: { bytes: number; left: number };
}

export interface Stored extends InstanceUIDs {
  transferSyntaxUID: string;
  from: string;
  bytes: Buffer;
}

export interface MemoryOptions {
  http?: Partial<HttpOptions>;
  modules?: Partial<HttpModules>;
  rows?: string[];
  more?: boolean;
  /** What frames and bulk data are. */
  part?: { bytes: Buffer; transferSyntaxUID: string };
}

/** An "instance" of these tests: a line of its UIDs and what is to become of it, then any bytes. */
export function instance(
  { study = '1.2', series = '1.2.3', sop = '1.2.3.4', syntax = '1.2.840.10008.1.2.1', fate = '' },
  bytes: Uint8Array = Buffer.from('pixels'),
): Buffer {
  return Buffer.concat([Buffer.from(`INSTANCE ${study} ${series} ${sop} ${syntax} ${fate}\n`), bytes]);
}

/** Starts the HTTP edge on a free port. */
export async function startMemoryBridge(options: MemoryOptions = {}): Promise<MemoryBridge> {
  const stored: Stored[] = [];
  const queries: Query[] = [];
  const events: MemoryBridge['events'] = [];
  const sent = { bytes: 0, left: 0 };
  const record = (event: string, fields: object = {}) => void events.push({ event, fields });
  const modules: HttpModules = {
    ingest: memoryIngest(stored),
    serve: memoryServe(stored, sent, options),
    transcode: nothingElse,
    render: nothingToSee,
    fileSet: async () => [],
    index: {
      query(query) {
        queries.push(query);
        return { rows: options.rows ?? [], more: options.more ?? false };
      },
    },
    custody: memoryCustody(stored),
    reject: async () => {
      throw new DagpacsError('not-found', 'nothing is held there');
    },
    commitments: createCommitmentRequests(
      { commitAfter: 'stored', commitWaitMs: 1000, commitKeepMs: 1000 },
      { versions: () => [], getValue: () => undefined, setValue: () => undefined },
    ),
    archive: { exportStudy: nothingHeld, importCar: noCar },
    scrub: { run: noCar },
    gateway: { holds: () => false, block: nothingHeld, car: nothingHeld },
    log: { info: record, warn: record, error: record },
    echo: refuse,
    transfer: () => {
      throw new DagpacsError('not-found', 'There is no such application entity');
    },
    ready: () => true,
    ...options.modules,
  };
  const listener = await startHttp({ ...httpDefaults, port: 0, ...options.http }, modules);
  const url = `http://127.0.0.1:${listener.address.port}`;
  return { ...listener, url, dicomWeb: `${url}/dicom-web`, stored, queries, events, sent };
}

const refuse = async () => {
  throw new DagpacsError('undecodable', 'There are no codecs');
};
const nothingHeld = async () => {
  throw new DagpacsError('not-found', 'There are no blocks');
};
// biome-ignore lint/correctness/useYield: it refuses before the first report.
async function* noCar(): AsyncGenerator<never> {
  throw new DagpacsError('invalid-parameter', 'That is no CAR');
}
const nothingElse: Transcode = {
  instanceSyntaxes: () => [],
  datasetSyntaxes: () => [],
  frameSyntaxes: () => [],
  instance: refuse,
  dataset: refuse,
  frames: refuse,
};
const none = (): never => {
  throw new DagpacsError('undecodable', 'There are no codecs');
};
const nothingToSee: Render = {
  renderable: none,
  representative: none,
  document: async () => undefined,
  image: refuse,
  moving: none,
};

function memoryIngest(stored: Stored[]): Ingest {
  return async ({ bytes, from, expect }) => {
    const chunks: Uint8Array[] = [];
    try {
      for await (const chunk of bytes) {
        chunks.push(Buffer.from(chunk));
        if (chunks.length === 1 && Buffer.from(chunk).includes(' refuse-early\n')) break;
      }
    } catch (error) {
      if (error instanceof DagpacsError) return { outcome: 'refused', error };
      throw error;
    }
    const whole = Buffer.concat(chunks);
    const [word, study = '', series = '', sop = '', syntax = '', fate = ''] = whole
      .toString('latin1', 0, Math.max(0, whole.indexOf('\n')))
      .split(' ');
    if (word !== 'INSTANCE') {
      return {
        outcome: 'refused',
        error: new DagpacsError('not-dicom', 'It is not a DICOM Part 10 file', { rule: 'PS3.10 §7.1' }),
      };
    }
    const uids = { studyInstanceUID: study, seriesInstanceUID: series, sopInstanceUID: sop, sopClassUID: '1.9' };
    const refused = (error: DagpacsError) =>
      ({ outcome: 'refused', error, sopClassUID: '1.9', sopInstanceUID: sop }) as const;
    if (expect?.studyInstanceUID !== undefined && expect.studyInstanceUID !== study) {
      const subject = { attribute: 'StudyInstanceUID', tag: '0020000D', rule: 'the study of the path (PS3.18 §10.5)' };
      return refused(new DagpacsError('study-mismatch', 'The instance is of another study', subject));
    }
    if (fate === 'pushback') return refused(new DagpacsError('pushback', 'Too much waits', { retryAfter: 7 }));
    if (fate === 'refuse-early' || fate === 'refuse') {
      const subject = { attribute: 'SOPClassUID', tag: '00080016', rule: 'it has a value (PS3.5 §7.4.1)' };
      return refused(new DagpacsError('missing-attribute', 'An attribute is missing', subject));
    }
    if (fate === 'crash') throw new Error('a fault of ours');
    await new Promise((resolve) => setTimeout(resolve, 5)); // A commit.
    stored.push({ ...uids, transferSyntaxUID: syntax, from, bytes: whole });
    const rule = 'it should not be empty';
    const warnings = fate === 'warn' ? [{ attribute: 'PatientID', tag: '00100020', rule }] : [];
    return { outcome: 'stored', ...uids, warnings };
  };
}

function memoryServe(stored: Stored[], sent: MemoryBridge['sent'], options: MemoryOptions): Serve {
  async function* cut(bytes: Buffer, start = 0, end = bytes.length): AsyncGenerator<Uint8Array> {
    let done = false;
    try {
      for (let at = start; at < end; at += 65_536) {
        const chunk = bytes.subarray(at, Math.min(end, at + 65_536));
        sent.bytes += chunk.length;
        yield chunk;
        if (bytes.includes(' damaged\n')) throw new DagpacsError('block-damaged', 'Stored bytes fail their tag');
      }
      done = true;
    } finally {
      if (!done) sent.left++;
    }
  }
  function served({ from: _, bytes, ...uids }: Stored): ServedInstance {
    return {
      ...uids,
      sopClassUID: '1.9',
      size: bytes.length,
      datasetOffset: 0,
      sha256: createHash('sha256').update(bytes).digest(),
      receivedAt: '2024-01-01T00:00:00.000Z',
      bytes: (start, end) => cut(bytes, start, end),
    };
  }
  function find(scope: Partial<Scope>): ServedInstance[] {
    const names = ['studyInstanceUID', 'seriesInstanceUID', 'sopInstanceUID'] as const;
    const inScope = stored.filter((item) => names.every((name) => [undefined, item[name]].includes(scope[name])));
    if (inScope.length === 0) throw new DagpacsError('not-found', 'nothing is held there');
    return inScope.map(served);
  }
  const { bytes: partBytes, transferSyntaxUID } = options.part ?? {
    bytes: Buffer.from('pixels'),
    transferSyntaxUID: '1.2.840.10008.1.2.1',
  };
  function part(bytes: Buffer): ServedValue {
    const of = { sha256: createHash('sha256').update(bytes).digest(), receivedAt: '2024-01-01T00:00:00.000Z' };
    return { of, size: bytes.length, transferSyntaxUID, bytes: (start, end) => cut(bytes, start, end) };
  }
  return {
    instances: find,
    version: (sopInstanceUID, n) => {
      const version = find({ sopInstanceUID })[n - 1];
      if (version === undefined) throw new DagpacsError('not-found', 'no such version');
      return version;
    },
    async metadata(scope, base, encoding) {
      const texts = find(scope).map(({ sopInstanceUID }) => ({
        '00081190': { vr: 'UR', Value: [`${base}/${sopInstanceUID}`] },
      }));
      const text = Buffer.from(JSON.stringify(texts));
      const encode = { gzip: gzipSync, br: brotliCompressSync, zstd: zstdCompressSync };
      return encoding !== 'identity' ? encode[encoding](text) : [text.subarray(0, 10), text.subarray(10)];
    },
    state: (scope) => String(find(scope).length),
    headers: (scope, base) =>
      find(scope).map(({ sopInstanceUID }) => ({ '00081190': { vr: 'UR', Value: [`${base}/${sopInstanceUID}`] } })),
    async frames(uids, numbers) {
      find({ ...uids });
      if (numbers.some((number) => number > 3)) {
        const subject = { attribute: 'frames', rule: 'the instance has 3 frames' };
        throw new DagpacsError('invalid-parameter', 'There is no such frame', subject);
      }
      return numbers.map((number) => part(Buffer.concat([partBytes, Buffer.from(String(number))])));
    },
    contents: (uids) => {
      find({ ...uids });
      return { frames: 3, bulk: ['7FE00010'], pixels: '7FE00010' };
    },
    async bulkData(uids, path) {
      find({ ...uids });
      return part(Buffer.from(`value of ${path}`));
    },
  };
}

function memoryCustody(stored: Stored[]): CustodyView {
  const batch = {
    id: `0x${'ab'.repeat(32)}`,
    sequence: 0,
    record: 'bafy',
    merkleRoot: `0x${'cd'.repeat(32)}`,
    previousRoot: `0x${'00'.repeat(32)}`,
    count: 1,
    closedAt: '2024-01-01T00:00:00.000Z',
    replicatedAt: null,
    confirmations: [],
    finalAt: null,
    transactions: [],
    anchor: null,
  };
  return {
    async status() {
      return {
        counts: { studies: 1, series: 1, instances: stored.length, versions: stored.length },
        stages: { stored: stored.length, replicated: 0, anchored: 0, final: 0 },
        outbox: { pending: stored.length, waiting: stored.length, limit: 1000, oldest: null, problem: null },
        chain: { state: 'unreachable', reason: 'no node answers' },
        swarm: {
          state: 'off',
          peers: 0,
          nodes: [],
          copies: 1,
          waiting: 0,
          problem: null,
          owed: [],
          reads: { fetched: 0, repaired: 0, failed: 0 },
        },
        scrub: { state: 'off', current: null, last: null },
        disk: { packs: 1, blocks: 2, bytes: 3, free: 4 },
      };
    },
    async instance(sopInstanceUID) {
      const found = stored.find((item) => item.sopInstanceUID === sopInstanceUID);
      if (found === undefined) throw new DagpacsError('not-found', 'no such instance');
      const { studyInstanceUID, seriesInstanceUID } = found;
      return { studyInstanceUID, seriesInstanceUID, sopInstanceUID, versions: [] } satisfies InstanceCustody;
    },
    async receipt() {
      throw new DagpacsError('not-anchored', 'not anchored yet');
    },
    history: async () => [],
    async studyReceipt() {
      throw new DagpacsError('not-anchored', 'not anchored yet');
    },
    batches: async (limit, before) =>
      [batch].slice(0, limit).filter(({ sequence }) => before === undefined || sequence < before),
    async batch(id) {
      if (id !== batch.id) throw new DagpacsError('not-found', 'no such batch');
      return batch;
    },
  };
}
