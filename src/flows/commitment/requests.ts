import { DagpacsError } from '../../kernel/errors.ts';
import type { Index } from '../../ports/index.ts';
import { type CommitAfter, judge, type Reference, type Verdict } from './judge.ts';

export interface CommitmentRequestOptions {
  /** What "committed" means. */
  commitAfter: CommitAfter;
  /** Milliseconds after which what is still not true is told as failed. */
  commitWaitMs: number;
  /** Milliseconds for which a request can be asked about. */
  commitKeepMs: number;
}

/** What is to be said of a request now. `waiting` among the failed ones: too long. */
export type CommitmentResult =
  | { done: false }
  | { done: true; committed: Reference[]; failed: (Reference & { verdict: Exclude<Verdict, 'committed'> })[] };

/** Storage commitment for those who come back for the result (PS3.18 §13). */
export interface CommitmentRequests {
  /** @throws DagpacsError `transaction-in-use`, `pushback` where too much is asked already */
  request(transactionUID: string, references: Reference[]): CommitmentResult;
  /** @throws DagpacsError `not-found` */
  check(transactionUID: string): CommitmentResult;
}

/** References of all requests that are kept. */
const MAX_REFERENCES = 100_000;
const MAX_REQUESTS = 1000;
const RETRY_AFTER_SECONDS = 3600;
const NAME = 'web.commitments';

interface Kept {
  transactionUID: string;
  references: Reference[];
  /** Milliseconds since 1970. */
  askedAt: number;
}

/** Requests are kept over restarts; what is said of them is judged anew each time, as it is for DIMSE. */
export function createCommitmentRequests(
  { commitAfter, commitWaitMs, commitKeepMs }: CommitmentRequestOptions,
  index: Pick<Index, 'versions' | 'getValue' | 'setValue'>,
): CommitmentRequests {
  const all = new Map<string, Kept>();
  for (const kept of JSON.parse(index.getValue(NAME) ?? '[]') as Kept[]) all.set(kept.transactionUID, kept);

  function forgetOld(): void {
    for (const [uid, { askedAt }] of all) if (Date.now() - askedAt > commitKeepMs) all.delete(uid);
  }

  function resultOf({ references, askedAt }: Kept): CommitmentResult {
    const overdue = Date.now() - askedAt > commitWaitMs;
    const result = {
      done: true as const,
      committed: [] as Reference[],
      failed: [] as (Reference & { verdict: Verdict })[],
    };
    for (const reference of references) {
      const verdict = judge(reference, commitAfter, index);
      if (verdict === 'waiting' && !overdue) return { done: false };
      if (verdict === 'committed') result.committed.push(reference);
      else result.failed.push({ ...reference, verdict });
    }
    return result as CommitmentResult;
  }

  return {
    request(transactionUID, references) {
      forgetOld();
      if (all.has(transactionUID)) {
        const subject = { attribute: 'transactionUID', rule: 'is used once (PS3.18 §13.4)' };
        throw new DagpacsError('transaction-in-use', 'The transaction UID is in use', subject);
      }
      const held = [...all.values()].reduce((sum, kept) => sum + kept.references.length, 0);
      if (all.size >= MAX_REQUESTS || held + references.length > MAX_REFERENCES) {
        const rule = `at most ${MAX_REQUESTS} requests of ${MAX_REFERENCES} instances are kept`;
        throw new DagpacsError('pushback', 'Too many commitments are asked for', {
          rule,
          retryAfter: RETRY_AFTER_SECONDS,
        });
      }
      const kept = { transactionUID, references, askedAt: Date.now() };
      all.set(transactionUID, kept);
      index.setValue(NAME, JSON.stringify([...all.values()]));
      return resultOf(kept);
    },
    check(transactionUID) {
      forgetOld();
      const kept = all.get(transactionUID);
      if (!kept) throw new DagpacsError('not-found', 'no such request for commitment, or its time is over');
      return resultOf(kept);
    },
  };
}
