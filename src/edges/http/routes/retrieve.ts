import type { FastifyInstance } from 'fastify';
import { chooseRepresentation, type MediaRange, type Representation } from '../../../dicom/accept.ts';
import { transferSyntax } from '../../../dicom/transfer-syntax.ts';
import type { Scope, ServedInstance, ServedPart } from '../../../flows/serve/served.ts';
import type { InstanceUIDs } from '../../../ports/index.ts';
import type { RouteContext } from '../modules.ts';
import { acceptedBy, negotiate } from '../negotiate.ts';
import * as schemas from '../schemas/dicom-web.ts';
import { type OutgoingPart, sendMultipart, sendSingle } from '../send.ts';
import { addRoute, type Call } from './route.ts';

const DICOM = 'application/dicom';
const OCTETS = 'application/octet-stream';

/** WADO-RS: instances, frames and bulk data (PS3.18 §10.4), in the transfer syntax that is stored. */
export function addRetrieveRoutes(app: FastifyInstance, context: RouteContext): void {
  const { serve, base, log } = context;

  function urlOf(call: Call<unknown, unknown>, { studyInstanceUID, seriesInstanceUID, sopInstanceUID }: InstanceUIDs) {
    const study = `${base(call.request)}/dicom-web/studies/${studyInstanceUID}`;
    return `${study}/series/${seriesInstanceUID}/instances/${sopInstanceUID}`;
  }

  async function sendInstances(call: Call<Scope, { accept?: string | undefined }>) {
    const accepted = acceptedBy(call.request, call.query);
    const instances = serve.instances(call.params);
    const form = formOfInstances(accepted, instances, call.params.sopInstanceUID !== undefined);
    const parts = instances.map((instance): OutgoingPart => {
      return {
        form: { ...form, transferSyntaxUID: instance.transferSyntaxUID },
        location: urlOf(call, instance),
        size: instance.size,
        bytes: (start, end) => instance.bytes(start, end),
      };
    });
    return send(call, form, parts);
  }

  /** Parts of one transfer syntax, in the form that the client likes best. */
  function sendValues(
    call: Call<InstanceUIDs, { accept?: string | undefined }>,
    offers: Representation[],
    values: readonly ServedPart[],
    pathOf: (index: number) => string,
  ) {
    const form = negotiate(acceptedBy(call.request, call.query), offers);
    const instance = urlOf(call, call.params);
    const parts = values.map((value, index): OutgoingPart => {
      return {
        form,
        location: `${instance}/${pathOf(index)}`,
        size: value.size,
        bytes: (start, end) => value.bytes(start, end),
      };
    });
    return send(call, form, parts);
  }

  function send({ reply }: Call<unknown, unknown>, form: Representation, parts: OutgoingPart[]) {
    const [only] = parts;
    reply.header('vary', [reply.getHeader('vary') ?? [], 'Accept'].flat().join(', '));
    return form.multipart || only === undefined ? sendMultipart(reply, log, parts) : sendSingle(reply, log, only);
  }

  addRoute(app, schemas.retrieveStudy, sendInstances);
  addRoute(app, schemas.retrieveSeries, sendInstances);
  addRoute(app, schemas.retrieveInstance, sendInstances);

  addRoute(app, schemas.retrieveFrames, async (call) => {
    const numbers = call.params.frames.split(',').map(Number);
    const frames = await serve.frames(call.params, numbers);
    return sendValues(call, offersOfFrames(frames), frames, (index) => `frames/${numbers[index]}`);
  });

  addRoute(app, schemas.retrieveBulkData, async (call) => {
    const { path } = call.params;
    const value = await serve.bulkData(call.params, path);
    const { transferSyntaxUID } = value;
    const offers = [true, false].map((multipart) => ({ multipart, type: OCTETS, transferSyntaxUID }));
    return sendValues(call, offers, [value], () => `bulkdata/${path}`);
  });
}

/**
 * The form that is acceptable for every instance: nobody is given a part of a study for the whole of it. One instance
 * may be the body itself.
 */
function formOfInstances(accepted: readonly MediaRange[], instances: readonly ServedInstance[], single: boolean) {
  const syntaxes = [...new Set(instances.map(({ transferSyntaxUID }) => transferSyntaxUID))];
  const forms = (multipart: boolean) =>
    syntaxes.map((transferSyntaxUID) => ({ multipart, type: DICOM, transferSyntaxUID }));
  const offers = single ? [...forms(true), ...forms(false)] : forms(true);
  const refused = offers.length > 1 && !single && offers.some((offer) => !chooseRepresentation(accepted, [offer]));
  const { multipart, type } = negotiate(refused ? [] : accepted, offers);
  return { multipart, type };
}

/** Compressed frames have a media type of their own too; several frames need a part each. */
function offersOfFrames(frames: readonly ServedPart[]): Representation[] {
  const transferSyntaxUID = frames[0]?.transferSyntaxUID ?? '';
  const known = transferSyntax(transferSyntaxUID);
  const types = known?.encapsulated ? [...new Set([OCTETS, known.mediaType])] : [OCTETS];
  const forms = (multipart: boolean) => types.map((type) => ({ multipart, type, transferSyntaxUID }));
  return frames.length === 1 ? [...forms(true), ...forms(false)] : forms(true);
}
