import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { KuboAddress } from './api-address.ts';
import { firstLine } from './unavailable.ts';

/** What a request brings beside its path. */
export interface Body {
  headers: Record<string, string | number>;
  /** Hands the body to the request, but for its end. */
  write(request: ClientRequest): void;
}

/** The RPC API of a Kubo over Node's own HTTP client, with connections that are kept. */
export interface KuboHttp {
  /**
   * Posts to a command such as `dag/import?…`.
   * @returns the answer's bytes
   * @throws Error for a status other than 200, more than `limit` bytes, an error in the trailer, or a connection that broke
   */
  post(command: string, limit: number, signal: AbortSignal, body?: Body): Promise<Buffer>;
  /** Drops the connections. */
  close(): void;
}

/** Kubo refused: an answer in its form. */
export class KuboRefusal extends Error {}

export function createKuboHttp({ url, headers }: KuboAddress, connections: number): KuboHttp {
  const secure = url.protocol === 'https:';
  const agent = new (secure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: connections });
  const start = secure ? httpsRequest : httpRequest;

  function once(command: string, limit: number, signal: AbortSignal, body?: Body): Promise<Buffer> {
    const request = start(`${url.href}/${command}`, {
      method: 'POST',
      agent,
      signal,
      headers: { ...headers, ...(body?.headers ?? { 'content-length': 0 }) },
    });
    const answer = answerOf(request, limit);
    body?.write(request);
    request.end();
    return answer;
  }

  return {
    async post(command, limit, signal, body) {
      try {
        return await once(command, limit, signal, body);
      } catch (error) {
        // A kept connection that the other side closed while it was idle says nothing about the node: once more.
        if (!(error instanceof StaleConnection)) throw signal.aborted ? signal.reason : error;
        return once(command, limit, signal, body);
      }
    },
    close: () => agent.destroy(),
  };
}

class StaleConnection extends Error {}

function answerOf(request: ClientRequest, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let answered = false;
    request.on('error', (error: NodeJS.ErrnoException) => {
      // A refusal may come before all is sent; then the answer counts and not the pipe that broke.
      if (answered && (error.code === 'EPIPE' || error.code === 'ECONNRESET')) return;
      const stale = request.reusedSocket && error.code === 'ECONNRESET';
      reject(stale ? new StaleConnection('the connection was lost', { cause: error }) : error);
    });
    request.on('response', (response) => {
      answered = true;
      readAll(response, limit).then((bytes) => {
        if (response.statusCode === 200) return resolve(bytes);
        const text = bytes.toString();
        const message = messageIn(text);
        const words = `answered HTTP status ${response.statusCode}: ${firstLine(message ?? text)}`;
        reject(message === undefined ? new Error(words) : new KuboRefusal(words));
      }, reject);
    });
  });
}

async function readAll(response: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > limit) throw new Error('the answer is not that of a Kubo RPC API: it is too long');
  }
  const streamError = response.trailers['x-stream-error'];
  if (streamError !== undefined) throw new Error(firstLine(String(streamError)));
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, size);
}

/** The `Message` of Kubo's error body; undefined for a body that is not Kubo's. */
function messageIn(text: string): string | undefined {
  try {
    const { Message } = JSON.parse(text) as { Message?: unknown };
    return typeof Message === 'string' ? Message : undefined;
  } catch {
    return undefined; // Not JSON: its own words will have to do.
  }
}
