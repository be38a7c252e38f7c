import type { FastifyRequest } from 'fastify';

const PROXY_HEADERS = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'];
const LOOPBACK = /^(?:::ffff:)?127(?:\.\d{1,3}){3}$|^::1$/;
const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;

/**
 * True for a request by a program of this machine: over loopback, not passed on by a proxy, and to a name of loopback, so
 * that no web page gets here by a name of its own that points to us.
 */
export function isFromThisMachine({ socket, headers }: FastifyRequest): boolean {
  if (!LOOPBACK.test(socket.remoteAddress ?? '')) return false;
  if (PROXY_HEADERS.some((name) => headers[name] !== undefined)) return false;
  return headers.host === undefined || LOOPBACK_HOST.test(headers.host);
}
