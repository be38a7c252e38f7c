import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PROBLEM_TYPE, plainProblem } from '../errors.ts';
import type { BaseUrl } from './base-url.ts';

const EXPOSED = 'Content-Length, Content-Location, Content-Range, Content-Type, ETag, Retry-After, Warning';
const PREFLIGHT_SECONDS = 600;

/**
 * What web pages may do: pages of other origins read and write only where their origin is allowed (the Fetch standard's
 * CORS protocol). A browser sends a form to anyone without asking first, so that a POST from an origin which is neither
 * ours nor allowed is refused here.
 */
export function addBrowserAccess(
  app: FastifyInstance,
  { origins, methods, base }: { origins: readonly string[]; methods: readonly string[]; base: BaseUrl },
) {
  const any = origins.includes('*');
  const allowed = new Set(origins);

  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-content-type-options', 'nosniff');
    const { origin } = request.headers;
    if (origin !== undefined) {
      if (any || allowed.has(origin)) allow(request, reply, any ? '*' : origin, methods);
      else if (!['GET', 'HEAD', 'OPTIONS'].includes(request.method) && !isOwn(origin, request)) {
        const problem = plainProblem(403, 'Pages of this origin may not do this: it is not among the allowed origins');
        reply.code(403).type(PROBLEM_TYPE).send(JSON.stringify(problem));
        return;
      }
    }
    if (isPreflight(request)) {
      reply.code(204).header('allow', methods.join(', ')).send();
      return;
    }
    done();
  });

  function isOwn(origin: string, request: FastifyRequest): boolean {
    const host = origin.replace(/^https?:\/\//, '');
    return host === request.headers.host || origin === new URL(base(request)).origin;
  }
}

/** A browser's question whether a page may; any other OPTIONS is Retrieve Capabilities. */
function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
}

function allow(request: FastifyRequest, reply: FastifyReply, origin: string, methods: readonly string[]): void {
  reply.header('access-control-allow-origin', origin).header('access-control-expose-headers', EXPOSED);
  if (origin !== '*') reply.header('vary', 'Origin');
  if (!isPreflight(request)) return;
  reply
    .header('access-control-allow-methods', methods.join(', '))
    .header('access-control-allow-headers', request.headers['access-control-request-headers'] ?? '*')
    .header('access-control-max-age', PREFLIGHT_SECONDS);
}
