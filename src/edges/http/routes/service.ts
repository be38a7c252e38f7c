import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../modules.ts';
import { openApiDocument } from '../openapi.ts';
import * as schemas from '../schemas/service.ts';
import { addRoute } from './route.ts';

/** Health, the API's description, and a root that says what this is (and leaves every other path free for a viewer). */
export function addServiceRoutes(app: FastifyInstance, { base, ready }: RouteContext): void {
  const document = JSON.stringify(openApiDocument());

  addRoute(app, schemas.live, () => ({ status: 'live' }));
  addRoute(app, schemas.ready, ({ reply }) => {
    const isReady = ready();
    return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'ready' : 'not-ready' });
  });
  addRoute(app, schemas.openApi, ({ reply }) => reply.type('application/json').send(document));
  addRoute(app, schemas.root, ({ request }) => {
    const url = base(request);
    return {
      name: 'DagPACS',
      dicomweb: `${url}/dicom-web`,
      custody: `${url}/custody/status`,
      health: `${url}/health/ready`,
      openapi: `${url}/openapi.json`,
      docs: `${url}/docs`,
    };
  });
}
