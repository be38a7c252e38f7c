import { readFileSync } from 'node:fs';
import { command } from '../edges/dimse/raw-peer.ts';
import { EXPLICIT_LE } from '../fixtures/dicom.ts';
import { send } from './client.ts';
import { bigDataset, bigRequest } from './data.ts';
import { startBridgePeer } from './peers.ts';
import { openScu } from './scu.ts';

/** Peak resident memory of a process in MiB, as Linux has it. */
export function peakMemory(pid: number): number {
  const [, kib = '0'] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1024;
}

export interface BigResult {
  seconds: number;
  /** Peak of the bridge before the request and after it, in MiB. */
  before: number;
  after: number;
}

const MULTI_FRAME = '1.2.840.10008.5.1.4.1.1.7.3';

/** Sends a multi-frame object of `size` bytes over each of so many associations at once, to a new bridge. */
export async function measureAssociations(associations: number, size: number): Promise<BigResult> {
  const peer = await startBridgePeer({ kubo: false });
  try {
    const before = peakMemory(peer.pid);
    const started = performance.now();
    const send = async (instance: number): Promise<void> => {
      const scu = await openScu(peer.dimse, MULTI_FRAME, EXPLICIT_LE);
      const { sopInstanceUID, chunks } = bigDataset(instance, size);
      const store = command({ 2: MULTI_FRAME, 256: 1, 272: 1, 1792: 0, 2048: 0, 4096: sopInstanceUID });
      const { status } = await scu.request(store, chunks);
      if (status !== 0) throw new Error(`C-STORE: ${status.toString(16)}`);
      await scu.release();
    };
    await Promise.all(Array.from({ length: associations }, (_, i) => send(i + 1)));
    return { seconds: (performance.now() - started) / 1000, before, after: peakMemory(peer.pid) };
  } finally {
    await peer.stop();
  }
}

/** Sends one STOW request of `total` bytes to a new bridge. */
export async function measureBigRequest(parts: number, total: number): Promise<BigResult> {
  const peer = await startBridgePeer({ kubo: false });
  try {
    const before = peakMemory(peer.pid);
    const boundary = 'bench-boundary-5f1d';
    const started = performance.now();
    const type = `multipart/related; type="application/dicom"; boundary=${boundary}`;
    await send(`${peer.dicomWeb}/studies`, type, bigRequest(boundary, parts, total));
    return { seconds: (performance.now() - started) / 1000, before, after: peakMemory(peer.pid) };
  } finally {
    await peer.stop();
  }
}
