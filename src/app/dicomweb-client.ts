import { randomUUID } from 'node:crypto';
import { Agent as HttpAgent, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { buffer, json } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseContentType } from '../dicom/accept.ts';
import type { DicomJson } from '../dicom/model.ts';
import { parseMultipart } from '../dicom/multipart.ts';
import { isUsableUID } from '../dicom/uid.ts';
import { DagpacsError } from '../kernel/errors.ts';

/** A DICOMweb server, ours or another. */
export interface ServerOptions {
  /** Base of its services, such as `http://127.0.0.1:8080/dicom-web`. */
  base: string;
  /** Sent with every request, such as Authorization. */
  headers: Record<string, string>;
}

/** What became of a file: refused with the server's words. */
export type Stored = { stored: true; warning?: string } | { stored: false; reason: string };

const JSON_TYPE = 'application/dicom+json';
const PAGE = 1000;
const ATTEMPTS = 6;
const MAX_WAIT_S = 60;
const SILENCE_MS = 120_000;

/** What is to be sent cannot be read: no fault of the server, and no reason to try again. */
class SourceFailure extends Error {}

/** STOW-RS, QIDO-RS and WADO-RS as a client (PS3.18 §10), by what every server has of them. */
export class DicomWebClient {
  readonly #options: ServerOptions;
  readonly #agent: HttpAgent;
  readonly #request: typeof requestHttp;

  constructor(options: ServerOptions, parallel: number) {
    const secure = options.base.startsWith('https:');
    this.#options = { ...options, base: options.base.replace(/\/+$/, '') };
    this.#agent = new (secure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: parallel });
    this.#request = secure ? requestHttps : requestHttp;
  }

  close(): void {
    this.#agent.destroy();
  }

  /**
   * Stores one file of `size` bytes; overload and broken connections are tried again. One that cannot be read to its end counts
   * as refused.
   * @throws DagpacsError `peer-unavailable` where the server cannot be reached
   */
  async store(size: number, bytes: () => AsyncIterable<Uint8Array>): Promise<Stored> {
    const boundary = randomUUID();
    const head = Buffer.from(`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`);
    const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
    async function* body() {
      yield head;
      yield* exactly(size, bytes());
      yield tail;
    }
    const headers = {
      'content-type': `multipart/related; type="application/dicom"; boundary=${boundary}`,
      'content-length': head.length + size + tail.length,
      accept: JSON_TYPE,
    };
    try {
      const answer = await this.#send({ method: 'POST', path: '/studies', headers }, body);
      return outcomeOf(answer.statusCode ?? 0, (await buffer(answer)).toString());
    } catch (error) {
      if (!(error instanceof SourceFailure)) throw error;
      return { stored: false, reason: `cannot be read: ${error.message}` };
    }
  }

  /** Series and SOP Instance UIDs of a study, page by page. @throws DagpacsError `not-found`, `storage-failed`, `peer-unavailable` */
  async instancesOf(study: string): Promise<{ series: string; instance: string }[]> {
    const found = new Map<string, { series: string; instance: string }>();
    for (;;) {
      const path = `/studies/${study}/instances?limit=${PAGE}&offset=${found.size}`;
      const answer = await this.#send({ method: 'GET', path, headers: { accept: JSON_TYPE } });
      if (answer.statusCode === 204 || answer.statusCode === 404) answer.resume();
      else if (answer.statusCode !== 200) throw await unexpected(answer);
      const page = answer.statusCode === 200 ? ((await json(answer)) as DicomJson[]) : [];
      const before = found.size;
      for (const each of page) {
        const [series = '', instance = ''] = ['0020000E', '00080018'].map((tag) => String(each[tag]?.Value?.[0] ?? ''));
        // They are names of files.
        if (isUsableUID(series) && isUsableUID(instance)) found.set(instance, { series, instance });
      }
      // A server may give fewer at a time than it is asked for, and one that knows no offset gives the same again.
      if (found.size === before) break;
    }
    if (found.size === 0) throw new DagpacsError('not-found', 'the server has no such study');
    return [...found.values()];
  }

  /**
   * An instance's bytes in the transfer syntax that it is stored in.
   * @throws DagpacsError `not-found`, `storage-failed` (the server's own fault), `malformed-multipart`, `sender-aborted` (the
   *   answer broke off), `peer-unavailable`
   */
  async *retrieve(study: string, series: string, instance: string): AsyncGenerator<Uint8Array> {
    const path = `/studies/${study}/series/${series}/instances/${instance}`;
    const accept = 'multipart/related; type="application/dicom"; transfer-syntax=*';
    const answer = await this.#send({ method: 'GET', path, headers: { accept } });
    if (answer.statusCode !== 200) throw await unexpected(answer);
    const media = parseContentType(answer.headers['content-type'] ?? '');
    if (media?.type === 'application/dicom') return yield* wholeOf(answer);
    for await (const part of parseMultipart(wholeOf(answer), media?.parameters.get('boundary')))
      return yield* part.body;
    throw new DagpacsError('malformed-multipart', 'the answer has no part');
  }

  async #send(
    options: RequestOptions & { path: string },
    body?: () => AsyncIterable<Uint8Array>,
  ): Promise<IncomingMessage> {
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.#once(options, body);
        if (answer.statusCode !== 503 || attempt === ATTEMPTS) return answer;
        answer.resume();
        await sleep(1000 * Math.min(MAX_WAIT_S, Number(answer.headers['retry-after']) || 2 ** attempt));
      } catch (error) {
        if (error instanceof SourceFailure) throw error;
        const { code } = error as NodeJS.ErrnoException;
        if (attempt === ATTEMPTS || code === 'ECONNREFUSED' || code === 'ENOTFOUND') {
          const words = `the server cannot be reached${code === undefined ? '' : ` (${code})`}`;
          throw new DagpacsError('peer-unavailable', words, {}, { cause: error });
        }
        await sleep(250 * 2 ** attempt);
      }
    }
  }

  async #once(
    { path, headers, ...options }: RequestOptions & { path: string },
    body?: () => AsyncIterable<Uint8Array>,
  ): Promise<IncomingMessage> {
    const url = `${this.#options.base}${path}`;
    const all = { ...this.#options.headers, ...(headers as Record<string, string>) };
    const outgoing = this.#request(url, { ...options, headers: all, agent: this.#agent });
    outgoing.setTimeout(SILENCE_MS, () => outgoing.destroy(new Error('the server is silent')));
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once('response', resolve);
      outgoing.once('error', reject);
    });
    if (!body) {
      outgoing.end();
      return answered;
    }
    let failure: unknown;
    const watched = async function* () {
      try {
        yield* body();
      } catch (error) {
        failure = error;
        throw error;
      }
    };
    // An early answer ends the sending, and counts.
    pipeline(watched(), outgoing).catch((error: Error) => outgoing.destroy(error));
    return answered.catch((error: Error) => {
      throw failure ?? error;
    });
  }
}

/** As many bytes as the header of the request has announced. @throws SourceFailure */
async function* exactly(size: number, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let left = size;
  try {
    for await (const chunk of bytes) {
      left -= chunk.length;
      if (left < 0) break;
      yield chunk;
    }
  } catch (error) {
    throw new SourceFailure((error as Error).message);
  }
  if (left !== 0) throw new SourceFailure('its size changed while it was read');
}

/** An answer's body. @throws DagpacsError `sender-aborted` where it ends early */
async function* wholeOf(answer: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    yield* answer;
  } catch (cause) {
    throw new DagpacsError('sender-aborted', 'the answer broke off', {}, { cause });
  }
}

async function unexpected(answer: IncomingMessage): Promise<DagpacsError> {
  const reason = reasonOf((await buffer(answer)).toString());
  const code = answer.statusCode === 404 || answer.statusCode === 410 ? 'not-found' : 'storage-failed';
  return new DagpacsError(code, `the server answers ${answer.statusCode}${reason ? `: ${reason}` : ''}`);
}

/** What a Store Instances Response (PS3.18 Annex I) of one instance says. */
function outcomeOf(status: number, text: string): Stored {
  const answer = parse(text);
  const dataset = (Array.isArray(answer) ? answer[0] : answer) as DicomJson | undefined;
  const item = (tag: string) => dataset?.[tag]?.Value?.[0] as DicomJson | undefined;
  const [failed, stored] = [item('00081198'), item('00081199')];
  const words = (of: DicomJson) => String(of['00000902']?.Value?.[0] ?? '');
  const code = (of: DicomJson, tag: string) =>
    Number(of[tag]?.Value?.[0] ?? 0)
      .toString(16)
      .toUpperCase();
  if (failed) return { stored: false, reason: words(failed) || `Failure Reason ${code(failed, '00081197')}` };
  if (status !== 200 && status !== 202) return { stored: false, reason: reasonOf(text) || `HTTP status ${status}` };
  if (!stored?.['00081196']) return { stored: true };
  return { stored: true, warning: words(stored) || `Warning Reason ${code(stored, '00081196')}` };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Some servers answer in words, or with nothing.
  }
}

function reasonOf(text: string): string {
  const { detail, title, Message, Details } = (parse(text) ?? {}) as Record<string, string>;
  return [detail ?? title ?? Message, Details].filter(Boolean).join(': ');
}
