import type { FastifyInstance } from 'fastify';
import { acceptTextOf, chooseRepresentation, type MediaRange } from '../../../dicom/accept.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN } from '../../../dicom/transfer-syntax.ts';
import type { Scope, ServedInstance } from '../../../flows/serve/served.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import type { InstanceUIDs } from '../../../ports/index.ts';
import { isKept } from '../conditional.ts';
import { NotAcceptable } from '../errors.ts';
import { type InstanceForm, offersOfFrames } from '../frame-forms.ts';
import type { RouteContext } from '../modules.ts';
import { acceptedBy } from '../negotiate.ts';
import * as schemas from '../schemas/bulk.ts';
import { type OutgoingPart, sendMultipart } from '../send.ts';
import { addRoute, type Call } from './route.ts';

type BulkCall = Call<Scope, { accept?: string | undefined }>;

/** What the parts of one answer are kept in mind for. */
const MAX_PARTS = 100_000;

/** One value of an answer, whose bytes are looked for when its turn comes. */
interface Value {
  instance: InstanceUIDs;
  /** Under the instance's URL. */
  path: string;
  form: InstanceForm;
  bytes(): AsyncIterable<Uint8Array>;
}

/** WADO-RS: the bulk data and the pixel data of all instances in scope (PS3.18 §10.4.1.1.5, §10.4.1.1.6). */
export function addBulkRoutes(app: FastifyInstance, context: RouteContext): void {
  const { serve, transcode, base, log } = context;

  function pixelValues(instance: ServedInstance, accepted: readonly MediaRange[]): Value[] {
    const { frames, pixels } = serve.contents(instance);
    if (frames === 0) return [];
    const stored = pixels === undefined ? instance.transferSyntaxUID : EXPLICIT_VR_LITTLE_ENDIAN;
    const offers = offersOfFrames(stored, false);
    const form = chooseRepresentation(accepted, offers);
    if (form && pixels !== undefined) return [bulkValue(instance, pixels, form)];
    if (form) return frameValues(instance, frames, form, (number) => serve.frames(instance, [number]));
    const others = transcode.frameSyntaxes(instance).flatMap((uid) => offersOfFrames(uid, false));
    const made = chooseRepresentation(accepted, others);
    if (!made) throw new NotAcceptable([...new Set([...offers, ...others].map(acceptTextOf))]);
    return frameValues(instance, frames, made, (number) =>
      transcode.frames(instance, [number], made.transferSyntaxUID),
    );
  }

  function bulkValue(instance: ServedInstance, path: string, form: InstanceForm): Value {
    async function* bytes() {
      yield* (await serve.bulkData(instance, path)).bytes();
    }
    return { instance, path: `bulkdata/${path}`, form, bytes };
  }

  /** All bulk values, and the frames that are none. */
  function allValues(instance: ServedInstance, accepted: readonly MediaRange[]): Value[] {
    const { bulk, pixels } = serve.contents(instance);
    const offers = offersOfFrames(EXPLICIT_VR_LITTLE_ENDIAN, false);
    const form = chooseRepresentation(accepted, offers);
    if (!form) throw new NotAcceptable(offers.map(acceptTextOf));
    const values = bulk.map((path) => bulkValue(instance, path, form));
    return pixels === undefined ? [...values, ...pixelValues(instance, accepted)] : values;
  }

  function sendValues(valuesOf: typeof pixelValues, what: string) {
    return ({ request, reply, query, params }: BulkCall) => {
      const accepted = acceptedBy(request, query);
      const instances = serve.instances(params);
      const values = instances.flatMap((instance) => valuesOf(instance, accepted));
      if (values.length === 0)
        throw new DagpacsError('not-found', `no ${what} of such a study, series or instance is held`);
      if (values.length > MAX_PARTS) throw tooMany();
      const forms = new Set(values.map(({ form }) => acceptTextOf(form)));
      if (isKept(reply, instances, false, what, ...forms)) return reply.code(304).send();
      const root = `${base(request)}/dicom-web/studies/`;
      const parts = values.map(({ instance, path, form, bytes }): OutgoingPart => {
        const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = instance;
        const location = `${root}${studyInstanceUID}/series/${seriesInstanceUID}/instances/${sopInstanceUID}/${path}`;
        return { form, location, size: undefined, bytes };
      });
      return sendMultipart(reply, log, parts);
    };
  }

  const pixelData = sendValues(pixelValues, 'pixel data');
  const bulkData = sendValues(allValues, 'bulk data');
  addRoute(app, schemas.studyPixelData, pixelData);
  addRoute(app, schemas.seriesPixelData, pixelData);
  addRoute(app, schemas.instancePixelData, pixelData);
  addRoute(app, schemas.studyBulkData, bulkData);
  addRoute(app, schemas.seriesBulkData, bulkData);
  addRoute(app, schemas.instanceBulkData, bulkData);
}

function tooMany(): DagpacsError {
  const rule = `at most ${MAX_PARTS} parts in one answer`;
  const subject = { attribute: 'path', rule };
  return new DagpacsError('invalid-parameter', `Ask for a series, an instance or frames: ${rule}`, subject);
}

function frameValues(
  instance: ServedInstance,
  count: number,
  form: InstanceForm,
  parts: (number: number) => Promise<readonly { bytes(): AsyncIterable<Uint8Array> }[]>,
): Value[] {
  return Array.from({ length: count }, (_, i) => {
    async function* bytes() {
      for (const part of await parts(i + 1)) yield* part.bytes();
    }
    return { instance, path: `frames/${i + 1}`, form, bytes };
  });
}
