import type { AddressInfo, Socket } from 'node:net';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { isDagpacsError } from '../../kernel/errors.ts';
import { PROBLEM_TYPE, type Problem, plainProblem, problemOf } from './errors.ts';
import type { HttpModules, RouteContext } from './modules.ts';
import { operationsOf } from './openapi.ts';
import type { HttpOptions } from './options.ts';
import { createBaseUrl } from './plugins/base-url.ts';
import { addBrowserAccess } from './plugins/browser-access.ts';
import { drain } from './plugins/request-body.ts';
import { addRequestChecks } from './plugins/request-checks.ts';
import { addArchiveRoutes } from './routes/archive.ts';
import { addBulkRoutes } from './routes/bulk.ts';
import { addCapabilityRoutes } from './routes/capabilities.ts';
import { addCommitmentRoutes } from './routes/commitment.ts';
import { addCustodyRoutes } from './routes/custody.ts';
import { addDeleteRoutes } from './routes/delete.ts';
import { addDocsRoutes } from './routes/docs.ts';
import { addGatewayRoutes } from './routes/gateway.ts';
import { addMetadataRoutes } from './routes/metadata.ts';
import { addRenderRoutes } from './routes/render.ts';
import { addRetrieveRoutes } from './routes/retrieve.ts';
import { routePath } from './routes/route.ts';
import { addSearchRoutes } from './routes/search.ts';
import { addServiceRoutes } from './routes/service.ts';
import { addStoreRoutes } from './routes/store.ts';
import { addTransferRoutes } from './routes/transfer.ts';
import { addWadoUriRoute } from './routes/wado-uri.ts';
import type { Operation } from './schemas/operation.ts';

/** Bytes of a request's header, URL included. */
const MAX_HEADER = 32 * 1024;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
const IDLE_CHECK_MS = 50;

/** The HTTP listener, once it listens. */
export interface HttpListener {
  address: { host: string; port: number };
  /** Takes no new connections and waits for what is in flight, at most `timeoutMs`; then closes. */
  drain(timeoutMs: number): Promise<void>;
  /** Drops every connection. */
  close(): Promise<void>;
}

/**
 * Starts the HTTP edge: DICOMweb under `/dicom-web`, custody under `/custody`, blocks under `/ipfs`, health under `/health`.
 * @throws the error of `listen` where the address cannot be had
 */
export async function startHttp(options: HttpOptions, modules: HttpModules): Promise<HttpListener> {
  const app = await createApp(options, modules);
  await app.listen({ host: options.host, port: options.port });
  const { address, port } = app.server.address() as AddressInfo;
  return {
    address: { host: address, port },
    async drain(timeoutMs) {
      const deadline = setTimeout(() => app.server.closeAllConnections(), timeoutMs);
      // Connections that were busy when the server closed become idle one by one.
      const idle = setInterval(() => app.server.closeIdleConnections(), IDLE_CHECK_MS);
      await app.close();
      clearTimeout(deadline);
      clearInterval(idle);
    },
    async close() {
      const closed = app.close();
      app.server.closeAllConnections();
      await closed;
    },
  };
}

/** The application with all its routes, not listening yet. */
export async function createApp(options: HttpOptions, modules: HttpModules): Promise<FastifyInstance> {
  const app = fastify({
    // URLs hold UIDs, so requests are not logged; errors are, by code and route.
    logger: false,
    trustProxy: options.trustProxy,
    connectionTimeout: options.idleTimeoutMs,
    keepAliveTimeout: options.idleTimeoutMs,
    requestTimeout: 0,
    http: {
      maxHeaderSize: MAX_HEADER,
      headersTimeout: options.headersTimeoutMs,
      // Node looks every 30 s, and so long would a connection with half a header keep its place.
      connectionsCheckingInterval: Math.min(options.headersTimeoutMs, 2000),
      requireHostHeader: false,
    },
    routerOptions: { maxParamLength: MAX_HEADER },
    frameworkErrors: (error, request, reply) => sendProblem(request, reply, problemOf(error)),
    clientErrorHandler: answerBrokenRequest,
  });
  app.server.maxConnections = options.maxConnections;
  const context: RouteContext = { ...modules, options, base: createBaseUrl(options) };

  const methods = [...new Set(['GET', 'HEAD', 'OPTIONS', ...operationsOf(options).map(({ method }) => method)])];
  addBrowserAccess(app, { origins: options.corsOrigins, methods, base: context.base });
  addRequestChecks(app, options);
  app.addHook('onRequest', (_, reply, done) => {
    reply.header('cache-control', 'private, no-cache');
    done();
  });
  app.addHook('onSend', async (request, reply, payload) => {
    if (!(await drain(request.raw))) reply.header('connection', 'close');
    return payload;
  });
  // Handlers read bodies themselves, as they arrive.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));

  app.setErrorHandler((error, request, reply) => {
    const problem = problemOf(error);
    if (problem.status >= 500) logFailure(error, request);
    if (problem.status === 503) {
      const after = isDagpacsError(error) ? error.subject.retryAfter : undefined;
      reply.header('retry-after', after ?? options.retryAfterSeconds);
    }
    return sendProblem(request, reply, problem);
  });
  app.setNotFoundHandler(
    (request, reply) =>
      refuseUnknownMethod(request, reply) ??
      sendProblem(request, reply, plainProblem(404, 'There is no such resource')),
  );

  function logFailure(error: unknown, request: FastifyRequest): void {
    const expected = isDagpacsError(error);
    modules.log.error('http-request-failed', {
      code: expected ? error.code : 'unexpected',
      method: request.method,
      route: request.routeOptions.url,
      // Frames only: a message may quote what was sent.
      ...(!expected && error instanceof Error && { at: error.stack?.match(/^ {4}at .*$/gm)?.slice(0, 8) }),
    });
  }

  addServiceRoutes(app, context);
  addDocsRoutes(app, context);
  addCapabilityRoutes(app, context);
  addSearchRoutes(app, context);
  addRetrieveRoutes(app, context);
  addBulkRoutes(app, context);
  addMetadataRoutes(app, context);
  addDeleteRoutes(app, context);
  addRenderRoutes(app, context);
  addWadoUriRoute(app, context);
  addCommitmentRoutes(app, context);
  addCustodyRoutes(app, context);
  addArchiveRoutes(app, context);
  addGatewayRoutes(app, context);
  addTransferRoutes(app, context);
  await app.register((scope) => addStoreRoutes(scope, context));
  const refuseUnknownMethod = refuseOtherMethods(app, operationsOf(options));
  await app.ready();
  return app;
}

type Refusal = (request: FastifyRequest, reply: FastifyReply) => FastifyReply | undefined;

/**
 * 405 for the methods that a path does not have (RFC 9110 §15.5.6).
 * @returns the same for the methods that no path has, of which the router knows nothing
 */
function refuseOtherMethods(app: FastifyInstance, operations: readonly Operation[]): Refusal {
  const taken = new Map<string, Set<string>>();
  for (const { path, method } of operations) {
    const methods = taken.get(routePath(path)) ?? new Set(['OPTIONS']);
    taken.set(routePath(path), methods.add(method));
    if (method === 'GET') methods.add('HEAD');
  }
  const patterns: [path: RegExp, allow: string][] = [];
  const refuse = (request: FastifyRequest, reply: FastifyReply, allow: string) => {
    reply.header('allow', allow);
    return sendProblem(request, reply, plainProblem(405, `This resource has the methods ${allow}`));
  };
  for (const [url, methods] of taken) {
    const others = METHODS.filter((method) => !methods.has(method));
    const allow = [...methods].sort().join(', ');
    patterns.push([new RegExp(`^${url.replace(/[.]/g, '\\.').replace(/:\w+/g, '[^/]*').replace('*', '.*')}$`), allow]);
    app.route({ method: [...others], url, handler: (request, reply) => refuse(request, reply, allow) });
  }
  return (request, reply) => {
    if (METHODS.some((method) => method === request.method) || request.method === 'OPTIONS') return undefined;
    const [path = ''] = request.url.split('?', 1);
    const allow = patterns.find(([pattern]) => pattern.test(path))?.[1];
    return allow === undefined ? undefined : refuse(request, reply, allow);
  };
}

function sendProblem(_request: FastifyRequest, reply: FastifyReply, problem: Problem): FastifyReply {
  return reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
}

/** A request that is no HTTP, whose header is too large, or that did not come in time. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
  const problem = plainProblem(status);
  const body = JSON.stringify(problem);
  const head = `HTTP/1.1 ${status} ${problem.title}\r\nContent-Type: ${PROBLEM_TYPE}\r\nContent-Length: ${body.length}`;
  socket.end(`${head}\r\nConnection: close\r\n\r\n${body}`);
}
