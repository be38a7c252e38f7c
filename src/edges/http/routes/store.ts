import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type MediaType, parseContentType } from '../../../dicom/accept.ts';
import { type MultipartPart, parseMultipart } from '../../../dicom/multipart.ts';
import { nativeModelOf } from '../../../dicom/native-model.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import { formFiles } from '../form-files.ts';
import { DICOM_JSON, DICOM_XML, instancesOf } from '../metadata-parts.ts';
import type { RouteContext } from '../modules.ts';
import { acceptedBy, negotiate } from '../negotiate.ts';
import { bodyOf, STOW_MAX } from '../plugins/request-body.ts';
import * as schemas from '../schemas/dicom-web.ts';
import { type StorePart, storeParts } from '../store-parts.ts';
import { storeResponse } from '../store-response.ts';
import { addRoute, type Call } from './route.ts';

const DICOM = 'application/dicom';
/** What browsers and curl call a file that they do not know. */
const FORM_TYPES = [DICOM, 'application/octet-stream'];
const ANSWERS = [DICOM_JSON, 'application/json', DICOM_XML].map((type) => ({ multipart: false, type }));

/**
 * STOW-RS (PS3.18 §10.5): `multipart/related` of files, or of metadata with bulk data; one of them as the body itself; or an
 * HTML form. A body that cannot be read as any instances is a problem (400, 413, 415); everything else is told part by part in
 * the Store Instances Response.
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
    const { type: answerType } = negotiate(acceptedBy(request, query), ANSWERS);
    const media = mediaOf(request);
    const storing = {
      from: `http:${request.ip}`,
      studyInstanceUID: params.studyInstanceUID,
      types: media.type === 'multipart/form-data' ? FORM_TYPES : [DICOM],
      window: options.storeWindow,
    };
    const outcomes = await storeParts(partsOf(request, media, options.storeMaxBytes), storing, context);
    const { status, dataset, overload } = storeResponse(outcomes, `${base(request)}/dicom-web`);
    if (overload) reply.header('retry-after', overload.subject.retryAfter ?? options.retryAfterSeconds);
    return reply
      .code(status)
      .type(answerType)
      .send(Buffer.from(answerType === DICOM_XML ? nativeModelOf(dataset) : JSON.stringify(dataset)));
  }

  addRoute(app, schemas.storeInstances, store);
  addRoute(app, schemas.storeStudyInstances, store);
}

/** What a body is made of, where it is a single part or `multipart/related`. */
type Root = typeof DICOM | typeof DICOM_JSON | typeof DICOM_XML;

function rootOf({ type, parameters }: MediaType): Root | undefined {
  const root = type === 'multipart/related' ? (parameters.get('type')?.toLowerCase() ?? DICOM) : type;
  return [DICOM, DICOM_JSON, DICOM_XML].find((known): known is Root => known === root);
}

/** The request's media type. @throws DagpacsError `unsupported-media-type` for one that holds no instances */
function mediaOf({ headers }: FastifyRequest): MediaType {
  const media = parseContentType(headers['content-type'] ?? '');
  const isForm = media?.type === 'multipart/form-data';
  const coded = (headers['content-encoding'] ?? 'identity') !== 'identity';
  if (media === undefined || !(isForm || rootOf(media))) {
    const rule = `multipart/related or single part of ${DICOM}, ${DICOM_JSON} or ${DICOM_XML}, or multipart/form-data (PS3.18 §10.5.2)`;
    throw unsupported(`The body's Content-Type is not one that is stored: ${rule}`, 'Content-Type', rule);
  }
  if (isForm && coded) {
    const rule = 'a form comes without content coding';
    throw unsupported(`The body is compressed: ${rule}`, 'Content-Encoding', rule);
  }
  return media;
}

function unsupported(message: string, attribute: string, rule: string): DagpacsError {
  return new DagpacsError('unsupported-media-type', message, { attribute, rule });
}

function partsOf(request: FastifyRequest, media: MediaType, maxBytes: number): AsyncIterable<StorePart> {
  const root = rootOf(media);
  if (root === undefined) return formFiles(request, maxBytes);
  const body = bodyOf(request.raw, maxBytes, STOW_MAX);
  const parts = media.type === root ? wholeBody(body, root) : parseMultipart(body, media.parameters.get('boundary'));
  return root === DICOM ? parts : instancesOf(parts, root);
}

async function* wholeBody(
  body: AsyncGenerator<Uint8Array, void, undefined>,
  type: string,
): AsyncGenerator<MultipartPart> {
  yield { headers: new Map([['content-type', type]]), body };
  await body.return();
}
