import type { FastifyInstance } from 'fastify';
import type { z } from 'zod';
import { parseAccept, type Representation } from '../../../dicom/accept.ts';
import { parseQuality, parseRegion, parseWindowPair, type Viewport } from '../../../dicom/render-parameters.ts';
import type { ImageFormat } from '../../../dicom/rendering.ts';
import type { Renderable, RenderParameters } from '../../../flows/serve/rendered.ts';
import { DagpacsError, isDagpacsError } from '../../../kernel/errors.ts';
import type { InstanceUIDs } from '../../../ports/index.ts';
import { isKept } from '../conditional.ts';
import { NotAcceptable } from '../errors.ts';
import type { RouteContext } from '../modules.ts';
import { negotiate } from '../negotiate.ts';
import * as schemas from '../schemas/wado-uri.ts';
import { inMemory, type OutgoingPart, sendSingle } from '../send.ts';
import { addRoute } from './route.ts';

type WadoQuery = z.output<typeof schemas.wadoUri.query>;

const DICOM = 'application/dicom';
const FORMATS: readonly ImageFormat[] = ['image/jpeg', 'image/png', 'image/gif'];
const MOVING: ImageFormat = 'image/gif';
/** Parameters of images only (PS3.18 §9.1.2.3). */
const OF_IMAGES = ['frameNumber', 'rows', 'columns', 'region', 'windowCenter', 'windowWidth', 'imageQuality'] as const;

/** WADO-URI (PS3.18 §9): one instance by query parameters, as DICOM or in a consumer format. */
export function addWadoUriRoute(app: FastifyInstance, context: RouteContext): void {
  const { serve, transcode, render, base, log } = context;

  addRoute(app, schemas.wadoUri, async ({ query, request, reply }) => {
    const uids: InstanceUIDs = {
      studyInstanceUID: query.studyUID,
      seriesInstanceUID: query.seriesUID,
      sopInstanceUID: query.objectUID,
    };
    const parameters = parametersOf(query);
    const asked = query.contentType !== undefined ? 'contentType' : 'Accept';
    const accepted = parseAccept(query.contentType ?? request.headers.accept, asked);
    const [instance] = serve.instances(uids);
    if (!instance) throw new TypeError('an instance in scope is not there');
    const document = await render.document(uids);
    const image = document ? undefined : renderable(uids);
    const images = image ? FORMATS.map((type): Representation => ({ multipart: false, type })) : [];
    const files = [instance.transferSyntaxUID, ...transcode.instanceSyntaxes(uids)].map(
      (transferSyntaxUID): Representation => ({ multipart: false, type: DICOM, transferSyntaxUID }),
    );
    const consumer = document ? [{ multipart: false, type: document.type }] : images;
    const named = OF_IMAGES.find((name) => query[name] !== undefined);
    const first = image?.count === 1 || named !== undefined || document ? consumer : [];
    const form = negotiate(accepted, [...first, ...files, ...consumer], asked);

    const study = `${base(request)}/dicom-web/studies/${uids.studyInstanceUID}`;
    const location = `${study}/series/${uids.seriesInstanceUID}/instances/${uids.sopInstanceUID}`;
    if (form.type === DICOM) {
      if (named) throw misplaced(named, 'image formats');
      const asStored = query.transferSyntax === undefined || query.transferSyntax === '*';
      const syntax = asStored ? form.transferSyntaxUID : query.transferSyntax;
      const file = files.find(({ transferSyntaxUID }) => transferSyntaxUID === syntax);
      if (!file)
        throw new NotAcceptable(
          files.flatMap((each) => each.transferSyntaxUID ?? []),
          'transferSyntax',
        );
      if (isKept(reply, [instance], syntax === instance.transferSyntaxUID, DICOM, syntax ?? ''))
        return reply.code(304).send();
      return sendSingle(reply, log, fileOf(file));
    }
    if (query.transferSyntax !== undefined) throw misplaced('transferSyntax', DICOM);
    if (document) {
      if (named) throw misplaced(named, 'image formats');
      const { part } = document;
      if (isKept(reply, [instance], true, form.type)) return reply.code(304).send();
      return sendSingle(reply, log, {
        form,
        location: `${location}/rendered`,
        size: part.size,
        bytes: (start, end) => part.bytes(start, end),
      });
    }
    const numbers = framesOf(query, image as Renderable, form.type);
    const how = { ...parameters, format: form.type as ImageFormat };
    // A picture may come out in other bytes after the next start.
    if (isKept(reply, [instance], false, JSON.stringify([how, numbers]))) return reply.code(304).send();
    const pictured = `${location}/frames/${numbers.join(',')}/rendered`;
    if (form.type === MOVING) {
      const bytes = () => render.moving(uids, numbers, how);
      return sendSingle(reply, log, { form, location: pictured, size: undefined, bytes });
    }
    const bytes = await render.image(uids, numbers[0] ?? 1, how);
    return sendSingle(reply, log, inMemory(form, pictured, bytes));

    function fileOf(file: Representation): OutgoingPart {
      const { transferSyntaxUID = '' } = file;
      const stored = instance;
      if (stored && transferSyntaxUID === stored.transferSyntaxUID)
        return { form: file, location, size: stored.size, bytes: (start, end) => stored.bytes(start, end) };
      async function* made() {
        yield* (await transcode.instance(uids, transferSyntaxUID)).bytes();
      }
      return { form: file, location, size: undefined, bytes: made };
    }
  });

  function renderable(uids: InstanceUIDs): Renderable | undefined {
    try {
      return render.representative(uids);
    } catch (error) {
      if (isDagpacsError(error, 'undecodable')) return undefined;
      throw error;
    }
  }
}

function misplaced(attribute: string, type: string): DagpacsError {
  const rule = `is for ${type} only (PS3.18 §9.1.2)`;
  return new DagpacsError('invalid-parameter', `The parameter ${attribute} ${rule}`, { attribute, rule });
}

/** The frame that is asked for, or that stands for the image; all of them where they move. */
function framesOf({ frameNumber }: WadoQuery, { count, representative }: Renderable, type: string): number[] {
  if (frameNumber === undefined) {
    return type === MOVING ? Array.from({ length: count }, (_, i) => i + 1) : [representative];
  }
  if (frameNumber > count) {
    const rule = `the instance has ${count} ${count === 1 ? 'frame' : 'frames'}`;
    throw new DagpacsError('invalid-parameter', `There is no such frame: ${rule}`, { attribute: 'frameNumber', rule });
  }
  return [frameNumber];
}

/** @throws DagpacsError `invalid-parameter` */
function parametersOf(query: WadoQuery): Omit<RenderParameters, 'format'> {
  const { rows, columns, imageQuality } = query;
  const window = parseWindowPair(query.windowCenter, query.windowWidth);
  const region = query.region === undefined ? undefined : parseRegion(query.region);
  const sized = rows !== undefined || columns !== undefined;
  const viewport: Viewport = {
    width: columns ?? Number.POSITIVE_INFINITY,
    height: rows ?? Number.POSITIVE_INFINITY,
    source: {},
    parameter: rows === undefined ? 'columns' : 'rows',
    ...(region && { region }),
  };
  return {
    ...((sized || region) && { viewport, enlarge: sized }),
    ...(window && { window }),
    ...(imageQuality !== undefined && { quality: parseQuality(imageQuality, 'imageQuality') }),
  };
}
