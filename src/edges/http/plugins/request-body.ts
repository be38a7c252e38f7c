import type { IncomingMessage } from 'node:http';
import { pipeline, Readable, type Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import { DagpacsError } from '../../../kernel/errors.ts';

/** What is still read of a body that nobody wants, so that its sender gets to read the answer. */
const MAX_DRAIN_BYTES = 64 * 1024 * 1024;
const MAX_DRAIN_MS = 5_000;

/** Requests whose sender waits for 100 Continue (RFC 9110 §10.1.1), and how to say it. */
const waiting = new WeakMap<IncomingMessage, () => void>();

/** The sender of a request waits with its body for `say`, which is called when the body is wanted. */
export function awaitContinue(request: IncomingMessage, say: () => void): void {
  waiting.set(request, say);
}

/** Asks for the body of a request whose sender waits with it. */
export function askForBody(request: IncomingMessage): void {
  waiting.get(request)?.();
  waiting.delete(request);
}

/**
 * A request's body as it arrives. Leaving the loop early leaves the connection open, and the rest of the body unread.
 * @throws DagpacsError `sender-aborted`
 */
export async function* bytesOf(request: IncomingMessage): AsyncGenerator<Uint8Array, void, undefined> {
  if (request.readableEnded) return;
  askForBody(request);
  try {
    yield* request.iterator({ destroyOnReturn: false });
  } catch (cause) {
    throw new DagpacsError('sender-aborted', 'The sender went away before the last byte', {}, { cause });
  }
}

/** The setting that bounds bodies of STOW requests. */
export const STOW_MAX = 'DAGPACS_STOW_MAX_BYTES';
/** Content codings (RFC 9110 §8.4.1) that a request's body may have. */
const CODINGS: Record<string, () => Transform> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
};
/** A body that unfolds to more than the first, and to more than that many times itself, is a bomb. */
const HARMLESS_BYTES = 64 * 1024 * 1024;
const MAX_UNFOLDING = 250;

/**
 * A request's body of at most `maxBytes`, without its content coding.
 * @throws DagpacsError `too-large`, `unsupported-media-type` at once; the iterator `too-large`, `malformed-multipart`,
 *   `sender-aborted`
 */
export function bodyOf(
  request: IncomingMessage,
  maxBytes: number,
  setting?: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge('Content-Length', maxBytes, setting);
  const coding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (coding === 'identity') return bounded(bytesOf(request), maxBytes, setting);
  const open = Object.hasOwn(CODINGS, coding) ? CODINGS[coding] : undefined;
  if (open) return bounded(unfolded(request, open()), maxBytes, setting);
  const rule = `one of ${Object.keys(CODINGS).join(', ')} (RFC 9110 §8.4.1)`;
  throw new DagpacsError('unsupported-media-type', `Content-Encoding is ${rule}`, {
    attribute: 'Content-Encoding',
    rule,
  });
}

async function* bounded(
  bytes: AsyncGenerator<Uint8Array>,
  maxBytes: number,
  setting: string | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge('body', maxBytes, setting);
    yield chunk;
  }
}

async function* unfolded(request: IncomingMessage, decoder: Transform): AsyncGenerator<Uint8Array, void, undefined> {
  let folded = 0;
  async function* counted() {
    for await (const chunk of bytesOf(request)) {
      folded += chunk.length;
      yield chunk;
    }
  }
  let size = 0;
  try {
    // Errors reach the loop below, since they destroy the decoder.
    for await (const chunk of pipeline(Readable.from(counted(), { objectMode: false }), decoder, () => undefined)) {
      size += chunk.length;
      if (size > HARMLESS_BYTES && size > folded * MAX_UNFOLDING) {
        const rule = `a body unfolds to at most ${MAX_UNFOLDING} times its bytes`;
        throw new DagpacsError('too-large', 'The compressed body unfolds too far', {
          attribute: 'Content-Encoding',
          rule,
        });
      }
      yield chunk;
    }
  } catch (cause) {
    if (cause instanceof DagpacsError) throw cause;
    const rule = 'the body is whole, and compressed as Content-Encoding says (RFC 9110 §8.4)';
    const subject = { attribute: 'Content-Encoding', rule };
    throw new DagpacsError('malformed-multipart', 'The body cannot be decompressed', subject, { cause });
  }
}

/** The refusal of a body that has more bytes than a setting, or the route, allows. */
export function tooLarge(attribute: string, maxBytes: number, setting?: string): DagpacsError {
  const rule = `a request has at most ${maxBytes} bytes${setting === undefined ? '' : ` (${setting})`}`;
  return new DagpacsError('too-large', 'The body is too large', { attribute, rule });
}

/** True where the request announces a body. */
export function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length'];
  return headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/**
 * Reads and drops what is left of a body, within bounds: a connection that is closed with bytes unread is reset, and the
 * answer may be lost with it. False where something is left, or is not sent before it is asked for.
 */
export function drain(request: IncomingMessage): Promise<boolean> {
  if (request.readableEnded || !hasBody(request)) return Promise.resolve(true);
  if (request.destroyed || waiting.has(request)) return Promise.resolve(false);
  return new Promise((resolve) => {
    let bytes = 0;
    const onData = (chunk: Uint8Array) => {
      bytes += chunk.length;
      if (bytes > MAX_DRAIN_BYTES) finish(false);
    };
    const onEnd = () => finish(true);
    const onClose = () => finish(false);
    const deadline = setTimeout(onClose, MAX_DRAIN_MS);
    const finish = (all: boolean) => {
      clearTimeout(deadline);
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose).pause();
      resolve(all);
    };
    request.on('data', onData).once('end', onEnd).once('close', onClose).once('error', onClose).resume();
  });
}
