import { readFileSync } from 'node:fs';
import { send } from './client.ts';
import { bigRequest } from './data.ts';
import { startBridgePeer } from './peers.ts';

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
