import type { MultipartPart } from '../../dicom/multipart.ts';
import type { Ingest, Refused } from '../../flows/ingest/received.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Outcome } from './store-response.ts';

/** A part that is to become an instance, with the UIDs that are known of it before it is read. */
export interface StorePart extends MultipartPart {
  sopClassUID?: string;
  sopInstanceUID?: string;
}

export interface StoreOptions {
  /** For custody: `http:<address>`. */
  from: string;
  /** The study that the request's path names. */
  studyInstanceUID: string | undefined;
  /** Media types that a part may have. */
  types: readonly string[];
  /** Instances that may wait for their commit while the next ones are read. */
  window: number;
}

/**
 * Hands each part to the ingest, in order. A part's bytes are read to their end before the next part begins, but its commit
 * is not waited for: up to `window` instances share the fsyncs. A part that fails is refused by itself; where the body
 * breaks off, so is the part that was not complete, and what came before stays stored.
 * @throws DagpacsError `malformed-multipart`, `too-large` where the body breaks before its first part; `sender-aborted`
 */
export async function storeParts(
  source: AsyncIterable<StorePart>,
  { from, studyInstanceUID, types, window }: StoreOptions,
  { ingest, log }: { ingest: Ingest; log: Log },
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let parts = 0;
  const pending = new Set<Promise<void>>();
  const expect = studyInstanceUID === undefined ? {} : { expect: { studyInstanceUID } };
  let broken: unknown;

  function take(part: StorePart): Promise<void> {
    const index = parts++;
    const problem = part.error ?? typeProblem(part.headers.get('content-type'), types);
    if (problem !== undefined) {
      outcomes[index] = refusal(problem);
      return Promise.resolve();
    }
    const body = new WatchedBody(part.body);
    const taken = ingest({ bytes: body, from, ...expect })
      .then((outcome) => {
        // What broke in the body counts more than what the ingest made of its end.
        const settled =
          outcome.outcome === 'refused' && isDagpacsError(body.failure) ? { ...outcome, error: body.failure } : outcome;
        // A sender that went away is no refusal of ours.
        if (settled.outcome === 'refused' && settled.error.code !== 'sender-aborted') {
          log.warn('store-refused', { peer: from, code: settled.error.code });
        }
        const { sopClassUID, sopInstanceUID } = part;
        const known = { ...(sopClassUID && { sopClassUID }), ...(sopInstanceUID && { sopInstanceUID }) };
        outcomes[index] = settled.outcome === 'refused' ? { ...known, ...settled } : settled;
      })
      .catch((error: unknown) => {
        log.error('store-failed', { code: isDagpacsError(error) ? error.code : 'unexpected' });
        outcomes[index] = refusal(new DagpacsError('storage-failed', 'The instance was not stored'));
      })
      .finally(() => pending.delete(taken));
    pending.add(taken);
    return Promise.race([body.left, taken]);
  }

  try {
    for await (const part of source) {
      await take(part);
      if (pending.size >= window) await Promise.race(pending);
    }
  } catch (error) {
    broken = error;
  }
  await Promise.all(pending);
  if (broken === undefined) return outcomes;
  if (!(isDagpacsError(broken, 'malformed-multipart') || isDagpacsError(broken, 'too-large'))) throw broken;
  if (outcomes.length === 0) throw broken;
  const last = outcomes.at(-1);
  // The part that was cut has its refusal already; a break between parts has none.
  if (last?.outcome !== 'refused' || last.error !== broken) outcomes.push(refusal(broken));
  return outcomes;
}

function refusal(error: DagpacsError): Refused {
  return { outcome: 'refused', error };
}

function typeProblem(header: string | undefined, types: readonly string[]): DagpacsError | undefined {
  const [type = ''] = (header ?? '').split(';');
  if (types.includes(type.trim().toLowerCase())) return undefined;
  const rule = `the Content-Type of a part is ${types.join(' or ')} (PS3.18 §10.5.2)`;
  const code = header === undefined ? 'malformed-multipart' : 'unsupported-media-type';
  return new DagpacsError(code, `A part breaks a rule: ${rule}`, { attribute: 'Content-Type', rule });
}

/** A part's bytes, and the moment from which they are not read any more: at their end, by an error, or by leaving the loop. */
class WatchedBody implements AsyncIterableIterator<Uint8Array> {
  readonly left: Promise<void>;
  failure: unknown;
  readonly #source: AsyncIterator<Uint8Array>;
  #leave: () => void = () => {};

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#source = body[Symbol.asyncIterator]();
    this.left = new Promise((resolve) => {
      this.#leave = resolve;
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    try {
      const result = await this.#source.next();
      if (result.done) this.#leave();
      return result;
    } catch (error) {
      this.failure = error;
      this.#leave();
      throw error;
    }
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.#leave();
    return { done: true, value: undefined };
  }
}
