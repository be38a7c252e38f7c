import type { IncomingMessage } from 'node:http';
import { DagpacsError } from '../../../kernel/errors.ts';

/** What is still read of a body that nobody wants, so that its sender gets to read the answer. */
const MAX_DRAIN_BYTES = 64 * 1024 * 1024;
const MAX_DRAIN_MS = 5_000;

/**
 * A request's body as it arrives. Leaving the loop early leaves the connection open, and the rest of the body unread.
 * @throws DagpacsError `sender-aborted`
 */
export async function* bytesOf(request: IncomingMessage): AsyncGenerator<Uint8Array, void, undefined> {
  if (request.readableEnded) return;
  try {
    yield* request.iterator({ destroyOnReturn: false });
  } catch (cause) {
    throw new DagpacsError('sender-aborted', 'The sender went away before the last byte', {}, { cause });
  }
}

/** True where the request announces a body. */
export function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length'];
  return headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/**
 * Reads and drops what is left of a body, within bounds: a connection that is closed with bytes unread is reset, and the
 * answer may be lost with it. False where something is left.
 */
export function drain(request: IncomingMessage): Promise<boolean> {
  if (request.readableEnded || !hasBody(request)) return Promise.resolve(true);
  if (request.destroyed) return Promise.resolve(false);
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
