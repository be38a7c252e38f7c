import { hash } from 'node:crypto';
import type { FastifyReply } from 'fastify';

/** What tells one state of a resource from another (RFC 9110 §8.8). */
export interface Validators {
  /** Of an ETag, without quotes. */
  tag: string;
  /** Bytes are the same wherever the tag is: then a range may be asked for by it. */
  strong: boolean;
  /** ISO 8601: when it came to be; undefined where that is not known. */
  at?: string;
}

/** What a version of an instance is, and when it came. */
interface Source {
  sha256: Uint8Array;
  receivedAt: string;
}

/** Validators of what is made of `sources`, in the way that `form` says. */
export function validatorsOf(sources: readonly Source[], strong: boolean, ...form: (string | undefined)[]): Validators {
  let text = form.join('\n');
  let at = '';
  for (const { sha256, receivedAt } of sources) {
    text += Buffer.from(sha256.buffer, sha256.byteOffset, sha256.length).toString('latin1');
    if (receivedAt > at) at = receivedAt;
  }
  return { tag: hash('sha256', Buffer.from(text, 'latin1'), 'base64url'), strong, at };
}

/**
 * Sets ETag and Last-Modified, and tells whether the client has just that state (RFC 9110 §13.1.2, §13.1.3): then the answer
 * is 304. If-None-Match counts before If-Modified-Since.
 */
export function isFresh(reply: FastifyReply, { tag, strong, at }: Validators): boolean {
  reply.header('etag', `${strong ? '' : 'W/'}"${tag}"`);
  const modified = at === undefined ? Number.NaN : Date.parse(at);
  if (!Number.isNaN(modified)) reply.header('last-modified', new Date(modified).toUTCString());
  const { 'if-none-match': tags, 'if-modified-since': since } = reply.request.headers;
  if (tags !== undefined) return tags.trim() === '*' || listOf(tags).includes(tag);
  // Seconds are all that the header has.
  return since !== undefined && Math.floor(modified / 1000) * 1000 <= Date.parse(since);
}

/** The same for what is made of `sources` and chosen by Accept; `strong` and `form` as of {@link validatorsOf}. */
export function isKept(reply: FastifyReply, sources: readonly Source[], strong: boolean, ...form: string[]): boolean {
  reply.header('vary', [reply.getHeader('vary') ?? [], 'Accept'].flat().join(', '));
  return isFresh(reply, validatorsOf(sources, strong, ...form));
}

/** True where If-Range (RFC 9110 §13.1.5) is absent, or names the state that {@link isFresh} has set; a weak tag names none. */
export function allowsRange(reply: FastifyReply): boolean {
  const condition = reply.request.headers['if-range'];
  if (condition === undefined) return true;
  if (String(condition).startsWith('W/')) return false;
  return condition === (condition.includes('"') ? reply.getHeader('etag') : reply.getHeader('last-modified'));
}

function listOf(header: string): string[] {
  return [...header.matchAll(/(?:W\/)?"([^"]*)"/g)].map(([, tag = '']) => tag);
}
