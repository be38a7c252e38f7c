import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PROBLEM_TYPE, plainProblem } from '../errors.ts';
import type { BaseUrl } from './base-url.ts';

const METHODS = 'GET, HEAD, POST, OPTIONS';
const EXPOSED = 'Content-Length, Content-Location, Content-Range, Content-Type, ETag, Retry-After, Warning';
const PREFLIGHT_SECONDS = 600;

/**
 * What web pages may do: pages of other origins read and write only where their origin is allowed (the Fetch standard's
 * CORS protocol). A browser sends a form to anyone without asking first, so that a POST from an origin which is neither
 * ours nor allowed is refused here.
 */
export function addBrowserAccess(
  app: FastifyInstance,
  { origins, base }: { origins: readonly string[]; base: BaseUrl },
) {
  const any = origins.includes('*');
  const allowed = new Set(origins);

  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-content-type-options', 'nosniff');
    const { origin } = request.headers;
    if (origin !== undefined) {
      if (any || allowed.has(origin)) allow(request, reply, any ? '*' : origin);
      else if (request.method !== 'GET' && request.method !== 'HEAD' && !isOwn(origin, request)) {
        const problem = plainProblem(403, 'Pages of this origin may not do this: it is not among the allowed origins');
        reply.code(403).type(PROBLEM_TYPE).send(JSON.stringify(problem));
        return;
      }
    }
    if (request.method === 'OPTIONS') {
      reply.code(204).header('allow', METHODS).send();
      return;
    }
    done();
  });

  function isOwn(origin: string, request: FastifyRequest): boolean {
    const host = origin.replace(/^https?:\/\//, '');
    return host === request.headers.host || origin === new URL(base(request)).origin;
  }
}

function allow(request: FastifyRequest, reply: FastifyReply, origin: string): void {
  reply.header('access-control-allow-origin', origin).header('access-control-expose-headers', EXPOSED);
  if (origin !== '*') reply.header('vary', 'Origin');
  if (request.method !== 'OPTIONS') return;
  reply
    .header('access-control-allow-methods', METHODS)
    .header('access-control-allow-headers', request.headers['access-control-request-headers'] ?? '*')
    .header('access-control-max-age', PREFLIGHT_SECONDS);
}
