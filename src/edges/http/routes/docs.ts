import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../modules.ts';
import { codingFor } from '../negotiate.ts';
import * as schemas from '../schemas/docs.ts';
import { addRoute } from './route.ts';

const compress = promisify(gzip);
const { resolve } = createRequire(import.meta.url);

/** Nothing but this server is asked for anything, and no other page may show it. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
  "media-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>DagPACS: the HTTP API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
`;

/** HEAD and OPTIONS, which every resource has, would only hide the rest; the server is the one that the page came from. */
const START = `const base = location.pathname.replace(/\\/docs$/, '');
fetch(base + '/openapi.json').then((answer) => answer.json()).then((spec) => {
  spec.servers = [{ url: location.origin + base }];
  for (const item of Object.values(spec.paths)) {
    delete item.head;
    delete item.options;
  }
  SwaggerUIBundle({ spec, dom_id: '#api', deepLinking: true, docExpansion: 'list', validatorUrl: null, tryItOutEnabled: true });
});
`;

interface Asset {
  type: string;
  read(): Promise<Uint8Array>;
}

const fromPackage = (name: string) => () => readFile(resolve(`swagger-ui-dist/${name}`));
const ASSETS: Record<schemas.DocsAsset, Asset> = {
  'start.js': { type: 'text/javascript; charset=utf-8', read: async () => Buffer.from(START) },
  'swagger-ui.css': { type: 'text/css; charset=utf-8', read: fromPackage('swagger-ui.css') },
  'swagger-ui-bundle.js': { type: 'text/javascript; charset=utf-8', read: fromPackage('swagger-ui-bundle.js') },
};

/** The API's description as a page that works without any other server. */
export function addDocsRoutes(app: FastifyInstance, _context: RouteContext): void {
  addRoute(app, schemas.docs, ({ reply }) =>
    reply.header('content-security-policy', POLICY).type('text/html; charset=utf-8').send(PAGE),
  );
  addRoute(app, schemas.docsAsset, async ({ params, request, reply }) => {
    const { type, read } = ASSETS[params.asset];
    reply.type(type).header('vary', 'Accept-Encoding').header('cache-control', 'private, max-age=3600');
    const bytes = await read();
    if (codingFor(request.headers['accept-encoding'], ['gzip']) === 'identity') return reply.send(bytes);
    return reply.header('content-encoding', 'gzip').send(await compress(bytes, { level: constants.Z_BEST_SPEED }));
  });
}
