import type { Scope } from './served.ts';

/** How the sending of instances to another DICOM node stands. */
export interface TransferProgress {
  remaining: number;
  completed: number;
  failed: number;
  /** Stored, but not quite as they came. */
  warning: number;
  /** SOP Instance UIDs of what failed. */
  failedUIDs: string[];
}

/**
 * Verifies a known application entity by C-ECHO (PS3.4 Annex A).
 * @returns milliseconds from connecting to the answer
 * @throws DagpacsError `not-found` where there is no such entity, `peer-unavailable` where it does not answer, or refuses
 */
export type Echo = (aeTitle: string) => Promise<number>;

/**
 * Sends what is in scope to a known application entity: yields how it stands while it goes on, and at last how it ended.
 * Aborting `signal` ends it.
 * @throws DagpacsError `not-found` where there is no such entity, or nothing in scope
 */
export type Transfer = (aeTitle: string, scope: Scope, signal: AbortSignal) => AsyncIterable<TransferProgress>;
