import type { FastifyInstance } from 'fastify';
import type { Scope } from '../../../flows/serve/served.ts';
import { isFresh, validatorsOf } from '../conditional.ts';
import type { RouteContext } from '../modules.ts';
import { acceptedBy, codingFor, negotiateModel } from '../negotiate.ts';
import * as schemas from '../schemas/dicom-web.ts';
import { sendChunks, sendModels } from '../send.ts';
import { addRoute, type Call } from './route.ts';

/** Metadata of a study, series or instance (PS3.18 §10.4.1.1.2); compressed once, and sent so to all who take zstd, gzip or brotli. */
export function addMetadataRoutes(app: FastifyInstance, { serve, base, log }: RouteContext): void {
  async function sendMetadata({ params, query, request, reply }: Call<Scope, { accept?: string | undefined }>) {
    const { multipart, type } = negotiateModel(acceptedBy(request, query));
    const dicomWeb = `${base(request)}/dicom-web`;
    reply.header('vary', [reply.getHeader('vary') ?? [], 'Accept', 'Accept-Encoding'].flat().join(', '));
    const encoding = codingFor(request.headers['accept-encoding'], ['zstd', 'gzip', 'br']);
    const tag = validatorsOf([], false, serve.state(params), dicomWeb, type, encoding).tag;
    if (isFresh(reply, { tag, strong: false })) return reply.code(304).send();
    if (multipart) return sendModels(reply, log, serve.headers(params, dicomWeb));
    const body = await serve.metadata(params, dicomWeb, encoding);
    reply.type(type);
    if (encoding !== 'identity') reply.header('content-encoding', encoding);
    return sendChunks(reply, log, [body].flat());
  }
  addRoute(app, schemas.retrieveStudyMetadata, sendMetadata);
  addRoute(app, schemas.retrieveSeriesMetadata, sendMetadata);
  addRoute(app, schemas.retrieveInstanceMetadata, sendMetadata);
}
