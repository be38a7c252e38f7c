import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import { contentTypeOf, type Representation } from '../../dicom/accept.ts';
import type { DicomJson } from '../../dicom/model.ts';
import { nativeModelOf } from '../../dicom/native-model.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { allowsRange } from './conditional.ts';
import { parseRange } from './range.ts';

/** One resource on its way out. */
export interface OutgoingPart {
  form: Representation;
  /** Absolute URL, where the part has one. */
  location?: string;
  /** Undefined where it shows only when the bytes are made: then the answer is sent in chunks, without ranges. */
  size: number | undefined;
  /** Chunks must stay unchanged after they are yielded: they wait in the socket's queue. */
  bytes(start?: number, end?: number): AsyncIterable<Uint8Array>;
}

/** A resource that was made already. */
export function inMemory(form: Representation, location: string, bytes: Uint8Array): OutgoingPart {
  return {
    form,
    location,
    size: bytes.length,
    async *bytes(start = 0, end = bytes.length) {
      yield bytes.subarray(start, end);
    },
  };
}

/** Text, then bytes: what a body is made of. */
interface Piece {
  /** ASCII. */
  text: string;
  size: number | undefined;
  bytes?: () => AsyncIterable<Uint8Array>;
}

/** Bytes that may wait in the socket's queue before the source is left to wait. */
const HIGH_WATER = 1024 * 1024;

/** Bytes that are gathered for one write: what one read of a sealed object gives. */
const WRITE_SIZE = 1024 * 1024;

/** Sends parts as `multipart/related` (PS3.18 §8.6.1.2) with a random boundary. Resolves when the body is handed over or the client is gone. */
export async function sendMultipart(
  reply: FastifyReply,
  log: Log,
  parts: readonly OutgoingPart[],
): Promise<FastifyReply> {
  const boundary = randomBytes(18).toString('hex');
  const pieces = parts.map((part, index): Piece => {
    const start = `${index === 0 ? '' : '\r\n'}--${boundary}\r\n`;
    const length = part.size === undefined ? '' : `Content-Length: ${part.size}\r\n`;
    const header = `Content-Type: ${contentTypeOf(part.form)}\r\n${length}`;
    const location = part.location === undefined ? '' : `Content-Location: ${part.location}\r\n`;
    const text = `${start}${header}${location}\r\n`;
    return { text, size: part.size, bytes: () => part.bytes() };
  });
  pieces.push({ text: `\r\n--${boundary}--\r\n`, size: 0 });
  reply.header('content-type', `multipart/related; type="${parts[0]?.form.type}"; boundary=${boundary}`);
  return sendPieces(reply, log, pieces);
}

/** Sends one resource as the whole body, or the one range of its bytes that is asked for (RFC 9110 §14). */
export async function sendSingle(reply: FastifyReply, log: Log, part: OutgoingPart): Promise<FastifyReply> {
  const { size } = part;
  if (size === undefined) {
    describe(reply, part);
    return sendPieces(reply, log, [{ text: '', size, bytes: () => part.bytes() }]);
  }
  reply.header('accept-ranges', 'bytes');
  const ranged = reply.request.method === 'GET' && allowsRange(reply);
  const range = ranged ? parseRange(reply.request.headers.range, size) : undefined;
  if (range === 'unsatisfiable') {
    return reply.code(416).header('content-range', `bytes */${size}`).send();
  }
  const { start, end } = range ?? { start: 0, end: size };
  if (range !== undefined) reply.code(206).header('content-range', `bytes ${start}-${end - 1}/${size}`);
  describe(reply, part);
  return sendPieces(reply, log, [{ text: '', size: end - start, bytes: () => part.bytes(start, end) }]);
}

function describe(reply: FastifyReply, { form, location }: OutgoingPart): void {
  reply.header('content-type', contentTypeOf(form));
  if (location !== undefined) reply.header('content-location', location);
}

/**
 * Sends data sets as Native DICOM Models, a part each (PS3.18 §8.7.3.2), made one after the other and at the turn of everybody
 * else; 204 where there are none.
 */
export function sendModels(reply: FastifyReply, log: Log, datasets: Iterable<DicomJson>): unknown {
  const iterator = datasets[Symbol.iterator]();
  const first = iterator.next();
  if (first.done) return reply.code(204).send();
  const boundary = randomBytes(18).toString('hex');
  async function* parts() {
    for (let next: IteratorResult<DicomJson> = first; !next.done; next = iterator.next()) {
      yield Buffer.from(`--${boundary}\r\nContent-Type: application/dicom+xml\r\n\r\n${nativeModelOf(next.value)}\r\n`);
      await turn();
    }
    yield Buffer.from(`--${boundary}--\r\n`);
  }
  reply.header('content-type', `multipart/related; type="application/dicom+xml"; boundary=${boundary}`);
  return sendBody(reply, log, undefined, parts);
}

/** Sends bytes, in chunks where `size` is undefined; the headers that describe them are set already. */
export function sendBody(
  reply: FastifyReply,
  log: Log,
  size: number | undefined,
  bytes: () => AsyncIterable<Uint8Array>,
): Promise<FastifyReply> {
  return sendPieces(reply, log, [{ text: '', size, bytes }]);
}

/** Sends chunks that are in memory already. */
export function sendChunks(reply: FastifyReply, log: Log, chunks: readonly Uint8Array[]): Promise<FastifyReply> {
  const pieces = chunks.map((chunk): Piece => {
    return {
      text: '',
      size: chunk.length,
      bytes: async function* () {
        yield chunk;
      },
    };
  });
  return sendPieces(reply, log, pieces);
}

/** Sends a body as it is made; `size` where it is known before its end. */
export function sendStream(
  reply: FastifyReply,
  log: Log,
  body: AsyncIterable<Uint8Array>,
  size?: number,
): Promise<FastifyReply> {
  return sendPieces(reply, log, [{ text: '', size, bytes: () => body }]);
}

/**
 * Writes to the response itself, with its length where it is known: no stream in between. The first bytes are asked for
 * before the header goes out, so that an error in them still gets its status; one that comes later can only cut the
 * connection, which a client tells from the length or from the last chunk that is missing.
 */
async function sendPieces(reply: FastifyReply, log: Log, pieces: readonly Piece[]): Promise<FastifyReply> {
  const { raw } = reply;
  const length = pieces.reduce((sum, { text, size }) => sum + text.length + (size ?? Number.NaN), 0);
  if (!Number.isNaN(length)) reply.header('content-length', length);
  let started = false;
  const start = () => {
    started = true;
    const headers = reply.getHeaders();
    reply.hijack();
    raw.writeHead(reply.statusCode, headers as Record<string, string>);
  };
  if (reply.request.method === 'HEAD') {
    start();
    raw.end();
    return reply;
  }
  let ahead = open(pieces[0]);
  try {
    for (const [index, piece] of pieces.entries()) {
      const opened = ahead;
      ahead = open(pieces[index + 1]);
      if (!(await writePiece(raw, piece, opened, started ? undefined : start))) return reply;
    }
    raw.end();
  } catch (error) {
    if (!started) {
      for (const name of ['content-type', 'content-length', 'content-location', 'content-range', 'accept-ranges']) {
        reply.removeHeader(name);
      }
      throw error;
    }
    const code = isDagpacsError(error) ? error.code : 'unexpected';
    log.error('http-answer-cut', { code, route: reply.request.routeOptions.url });
    raw.destroy();
  } finally {
    await ahead?.source.return?.();
  }
  return reply;
}

/** A piece whose first bytes are on their way. */
interface Opened {
  source: AsyncIterator<Uint8Array>;
  first: Promise<IteratorResult<Uint8Array>>;
}

/** Asks for the first bytes of a piece while the one before is written: the disk and this thread work side by side. */
function open(piece: Piece | undefined): Opened | undefined {
  const source = piece?.bytes?.()[Symbol.asyncIterator]();
  if (!source) return undefined;
  const first = source.next();
  // Whoever writes the piece meets its failure; a client that is gone does not.
  first.catch(() => undefined);
  return { source, first };
}

/** False where the client is gone; then nothing more is read. */
async function writePiece(
  raw: ServerResponse,
  piece: Piece,
  opened: Opened | undefined,
  start: (() => void) | undefined,
): Promise<boolean> {
  let left = piece.size ?? Number.POSITIVE_INFINITY;
  let next = await opened?.first;
  start?.();
  // Text and chunks leave in few writes: each costs the kernel's way through TCP and wakes the client.
  raw.cork();
  if (piece.text !== '') raw.write(piece.text, 'latin1');
  while (next !== undefined && !next.done) {
    const chunk: Uint8Array = next.value;
    left -= chunk.length;
    if (left < 0) throw new Error('a source gave more bytes than it announced');
    raw.write(chunk);
    if (raw.writableLength >= WRITE_SIZE) {
      raw.uncork();
      if (raw.writableLength > HIGH_WATER) await drained(raw);
      raw.cork();
    }
    if (raw.destroyed) {
      await opened?.source.return?.();
      return false;
    }
    next = await opened?.source.next();
  }
  raw.uncork();
  if (raw.writableLength > HIGH_WATER) await drained(raw);
  if (piece.size !== undefined && left > 0) throw new Error('a source gave fewer bytes than it announced');
  return !raw.destroyed;
}

function drained(raw: ServerResponse): Promise<void> {
  if (raw.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      raw.off('drain', done).off('close', done);
      resolve();
    };
    raw.on('drain', done).on('close', done);
  });
}
