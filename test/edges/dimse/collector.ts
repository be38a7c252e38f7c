import { type DimseListener, type DimseModules, startDimse } from '../../../src/edges/dimse/listener.ts';
import { type DimseOptions, dimseDefaults } from '../../../src/edges/dimse/options.ts';
import type { Transcoder } from '../../../src/edges/dimse/outgoing.ts';
import type { Accepted, Ingest, Received, Refused } from '../../../src/flows/ingest/received.ts';
import { DagpacsError, isDagpacsError } from '../../../src/kernel/errors.ts';
import type { DimseAddress } from '../../fixtures/dcmtk.ts';

/** An instance as the ingest was given it. */
export interface Collected {
  from: string;
  expect: Received['expect'];
  bytes: Buffer;
}

export interface Collector {
  listener: DimseListener;
  to: DimseAddress;
  instances: Collected[];
  /** What cut a stream short. */
  errors: unknown[];
  /** Events of the log, with their fields. */
  logged: { event: string; fields: object }[];
}

/** A listener on a free port before an ingest that keeps what it reads, or before the one that is given. */
export async function startCollector(
  options: Partial<DimseOptions> = {},
  ingest?: Ingest,
  modules: Partial<DimseModules> = {},
): Promise<Collector> {
  const collector: Omit<Collector, 'listener' | 'to'> = { instances: [], errors: [], logged: [] };
  const keep: Ingest = async (received) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of received.bytes) chunks.push(Buffer.from(chunk));
    } catch (error) {
      collector.errors.push(error);
      return refused(isDagpacsError(error) ? error : new DagpacsError('storage-failed', 'unexpected'));
    }
    collector.instances.push({ from: received.from, expect: received.expect, bytes: Buffer.concat(chunks) });
    return accepted();
  };
  const note = (event: string, fields: object = {}) => void collector.logged.push({ event, fields });
  const listener = await startDimse(
    { ...dimseDefaults, port: 0, ...options },
    {
      ingest: ingest ?? keep,
      index: {
        query: () => ({ rows: [], more: false }),
        versions: () => [],
        getValue: () => undefined,
        setValue: () => undefined,
      },
      serve: { instances: () => [] },
      transcoder: noTranscoder,
      log: { info: note, warn: note, error: note },
      ...modules,
    },
  );
  return { ...collector, listener, to: { ...listener.address, aeTitle: 'DAGPACS' } };
}

/** Has nothing to offer but what is stored. */
export const noTranscoder: Transcoder = {
  datasetSyntaxes: () => [],
  dataset: () => Promise.reject(new DagpacsError('undecodable', 'no')),
};

/** Reads a stream to its end. */
export async function consume(bytes: AsyncIterable<Uint8Array>): Promise<number> {
  let size = 0;
  for await (const chunk of bytes) size += chunk.length;
  return size;
}

export function accepted(): Accepted {
  const uids = { sopClassUID: '', sopInstanceUID: '', studyInstanceUID: '', seriesInstanceUID: '' };
  return { outcome: 'stored', ...uids, warnings: [] };
}

export function refused(error: DagpacsError): Refused {
  return { outcome: 'refused', error };
}
