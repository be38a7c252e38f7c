import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type MediaType, parseContentType } from '../../../dicom/accept.ts';
import { type MultipartPart, parseMultipart } from '../../../dicom/multipart.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import { formFiles } from '../form-files.ts';
import type { RouteContext } from '../modules.ts';
import { acceptedBy, negotiateJson } from '../negotiate.ts';
import { bytesOf } from '../plugins/request-body.ts';
import * as schemas from '../schemas/dicom-web.ts';
import { storeParts } from '../store-parts.ts';
import { storeResponse } from '../store-response.ts';
import { addRoute, type Call } from './route.ts';

const DICOM = 'application/dicom';
/** What browsers and curl call a file that they do not know. */
const FORM_TYPES = [DICOM, 'application/octet-stream'];

/**
 * STOW-RS (PS3.18 §10.5): `multipart/related`, one instance as the body itself, or an HTML form. A body that cannot be read
 * as any instances is a problem (400, 415); everything else is told part by part in the Store Instances Response.
 */
export async function addStoreRoutes(app: FastifyInstance, context: RouteContext): Promise<void> {
  const { base, options } = context;
  await app.register(multipart, {
    // The size of an instance is the ingest's business; the rest of a form is nobody's.
    limits: { fileSize: Infinity, files: Infinity, parts: Infinity, fields: 100, fieldSize: 65_536, headerPairs: 100 },
  });

  async function store({
    params,
    query,
    request,
    reply,
  }: Call<{ studyInstanceUID?: string }, { accept?: string | undefined }>) {
    const answerType = negotiateJson(acceptedBy(request, query));
    const media = mediaOf(request);
    const storing = {
      from: `http:${request.ip}`,
      studyInstanceUID: params.studyInstanceUID,
      types: media.type === 'multipart/form-data' ? FORM_TYPES : [DICOM],
      window: options.storeWindow,
    };
    const outcomes = await storeParts(partsOf(request, media), storing, context);
    const { status, dataset, overload } = storeResponse(outcomes, `${base(request)}/dicom-web`);
    if (overload) reply.header('retry-after', overload.subject.retryAfter ?? options.retryAfterSeconds);
    return reply
      .code(status)
      .type(answerType)
      .send(Buffer.from(JSON.stringify(dataset)));
  }

  addRoute(app, schemas.storeInstances, store);
  addRoute(app, schemas.storeStudyInstances, store);
}

/** The request's media type. @throws DagpacsError `unsupported-media-type` for one that holds no Part 10 files */
function mediaOf({ headers }: FastifyRequest): MediaType {
  const media = parseContentType(headers['content-type'] ?? '');
  const root = media?.parameters.get('type')?.toLowerCase() ?? DICOM;
  const related = media?.type === 'multipart/related' && root === DICOM;
  if (media === undefined || !(related || media.type === DICOM || media.type === 'multipart/form-data')) {
    const rule =
      'multipart/related; type="application/dicom", application/dicom or multipart/form-data (PS3.18 §10.5.2)';
    throw new DagpacsError('unsupported-media-type', `The body's Content-Type is not one that is stored: ${rule}`, {
      attribute: 'Content-Type',
      rule,
    });
  }
  const coding = headers['content-encoding'] ?? 'identity';
  if (coding !== 'identity') {
    const rule = 'a body without content coding (RFC 9110 §8.4)';
    throw new DagpacsError('unsupported-media-type', `The body is compressed; what is stored is ${rule}`, {
      attribute: 'Content-Encoding',
      rule,
    });
  }
  return media;
}

function partsOf(request: FastifyRequest, media: MediaType): AsyncIterable<MultipartPart> {
  if (media.type === 'multipart/form-data') return formFiles(request);
  const body = bytesOf(request.raw);
  if (media.type === DICOM) return wholeBody(body);
  return parseMultipart(body, media.parameters.get('boundary'));
}

async function* wholeBody(body: AsyncGenerator<Uint8Array, void, undefined>): AsyncGenerator<MultipartPart> {
  yield { headers: new Map([['content-type', DICOM]]), body };
  await body.return();
}
