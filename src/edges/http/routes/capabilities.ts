import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../modules.ts';
import { acceptedBy, negotiate } from '../negotiate.ts';
import { openApiDocument, operationsOf } from '../openapi.ts';
import { CAPABILITIES_TYPES, DICOM_WEB } from '../schemas/capabilities.ts';
import { wadlOf } from '../wadl.ts';
import { routePath } from './route.ts';

/**
 * Retrieve Capabilities (PS3.18 §8.9): OPTIONS tells what a resource can do, the whole API at `/`, all of DICOMweb at its
 * base; from the operations that the routes and the OpenAPI document are made of.
 */
export function addCapabilityRoutes(app: FastifyInstance, { base, options }: RouteContext): void {
  const operations = operationsOf(options);
  const paths = new Set(['/', DICOM_WEB, ...operations.map(({ path }) => path)]);
  const document = openApiDocument() as { paths: Record<string, object> };

  for (const path of paths) {
    const own = operations.filter((operation) => operation.path === path);
    const whole = path === '/' || path === DICOM_WEB;
    const told = whole ? operations.filter((operation) => operation.path.startsWith(path)) : own;
    const allow = [
      ...new Set(['OPTIONS', ...own.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))]),
    ];
    app.options(routePath(path), (request, reply) => {
      const offers = CAPABILITIES_TYPES.map((type) => ({ multipart: false, type }));
      const { type } = negotiate(acceptedBy(request, request.query as { accept?: string }), offers);
      reply.header('allow', allow.sort().join(', ')).header('vary', 'Accept').type(type);
      if (type.endsWith('wadl+xml')) return reply.send(Buffer.from(wadlOf(told, base(request))));
      const names = new Set(told.map((operation) => operation.path.replace('...}', '}')));
      const kept = Object.entries(document.paths).filter(([name]) => names.has(name));
      return reply.send(Buffer.from(JSON.stringify({ ...document, paths: Object.fromEntries(kept) })));
    });
  }
}
