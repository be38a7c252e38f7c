import { DagpacsError } from './errors.ts';

const SQLITE_FULL = 13;
const RETRY_AFTER_SECONDS = 60;

/** Whether the operating system or SQLite refused to write for want of space. */
export function isDiskFull(error: unknown): boolean {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  return code === 'ENOSPC' || code === 'EDQUOT' || (typeof errcode === 'number' && (errcode & 0xff) === SQLITE_FULL);
}

/** What is told then: overload, which ends when there is room again. */
export function diskFull(cause: unknown): DagpacsError {
  const subject = { rule: 'the data directory must have room', retryAfter: RETRY_AFTER_SECONDS };
  return new DagpacsError('pushback', 'the disk is full', subject, { cause });
}
