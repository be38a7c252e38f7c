import type { FastifyInstance } from 'fastify';
import { acceptTextOf, chooseRepresentation, type MediaRange, type Representation } from '../../../dicom/accept.ts';
import type { Scope, ServedInstance, ServedPart, ServedValue } from '../../../flows/serve/served.ts';
import type { Transcode, TranscodedPart } from '../../../flows/serve/transcoded.ts';
import type { InstanceUIDs } from '../../../ports/index.ts';
import { prefersArchive, sendArchive, ZIP } from '../archive.ts';
import { isKept as isHeld } from '../conditional.ts';
import { NotAcceptable } from '../errors.ts';
import { type InstanceForm, OCTETS, offersOfFrames } from '../frame-forms.ts';
import type { RouteContext } from '../modules.ts';
import { acceptedBy, negotiate } from '../negotiate.ts';
import * as schemas from '../schemas/dicom-web.ts';
import { type OutgoingPart, sendMultipart, sendSingle } from '../send.ts';
import { addRoute, type Call } from './route.ts';

const DICOM = 'application/dicom';

/** WADO-RS: instances, frames and bulk data (PS3.18 §10.4): as stored, or transcoded where only that is acceptable. */
export function addRetrieveRoutes(app: FastifyInstance, context: RouteContext): void {
  const { serve, transcode, fileSet, base, log } = context;

  function urlOf(call: Call<unknown, unknown>, { studyInstanceUID, seriesInstanceUID, sopInstanceUID }: InstanceUIDs) {
    const study = `${base(call.request)}/dicom-web/studies/${studyInstanceUID}`;
    return `${study}/series/${seriesInstanceUID}/instances/${sopInstanceUID}`;
  }

  async function sendInstances(call: Call<Scope, { accept?: string | undefined }>) {
    const accepted = acceptedBy(call.request, call.query);
    const instances = serve.instances(call.params);
    const single = call.params.sopInstanceUID !== undefined;
    const stored = [...new Set(instances.map(({ transferSyntaxUID }) => transferSyntaxUID))];
    if (prefersArchive(accepted, formsOf(DICOM, stored, single))) {
      // Its DICOMDIR has another UID each time.
      if (isKept(call, instances, ZIP, false)) return call.reply.code(304).send();
      return sendArchive(call.reply, log, call.params, fileSet);
    }
    const chosen = chooseForms(accepted, instances, single, transcode);
    const [form] = chosen as [InstanceForm];
    const syntaxes = chosen.map(({ transferSyntaxUID }) => transferSyntaxUID);
    // What is made from an instance may come out in other bytes after the next start.
    const asStored = instances.every(({ transferSyntaxUID }, i) => transferSyntaxUID === syntaxes[i]);
    if (isKept(call, instances, form, asStored, ...syntaxes)) return call.reply.code(304).send();
    const parts = instances.map((instance, i): OutgoingPart => {
      const form = chosen[i] as InstanceForm;
      const location = urlOf(call, instance);
      if (form.transferSyntaxUID === instance.transferSyntaxUID)
        return { form, location, size: instance.size, bytes: (start, end) => instance.bytes(start, end) };
      async function* bytes() {
        yield* (await transcode.instance(instance, form.transferSyntaxUID)).bytes();
      }
      return { form, location, size: undefined, bytes };
    });
    return send(call, form, parts);
  }

  /** Parts of one transfer syntax, in the form that the client likes best. */
  function sendValues(
    call: Call<InstanceUIDs, { accept?: string | undefined }>,
    offers: Representation[],
    values: readonly Value[],
    of: ServedValue['of'],
    pathOf: (index: number) => string,
  ) {
    const form = negotiate(acceptedBy(call.request, call.query), offers);
    const names = values.map((_, index) => pathOf(index));
    const asStored = values.every((value) => 'of' in value);
    if (isKept(call, [of], form, asStored, form.transferSyntaxUID, ...names)) return call.reply.code(304).send();
    const instance = urlOf(call, call.params);
    const parts = values.map((value, index): OutgoingPart => {
      return {
        form,
        location: `${instance}/${names[index]}`,
        size: value.size,
        bytes: (start, end) => value.bytes(start, end),
      };
    });
    return send(call, form, parts);
  }

  /** Sets the validators of what is about to be sent; true where the client has it. */
  function isKept(
    { reply }: Call<unknown, unknown>,
    sources: readonly ServedValue['of'][],
    { multipart, type }: Representation,
    asStored: boolean,
    ...names: (string | undefined)[]
  ): boolean {
    const form = names.map((name) => name ?? '');
    return isHeld(reply, sources, asStored && !multipart, String(multipart), type, ...form);
  }

  function send({ reply }: Call<unknown, unknown>, form: Representation, parts: OutgoingPart[]) {
    const [only] = parts;
    return form.multipart || only === undefined ? sendMultipart(reply, log, parts) : sendSingle(reply, log, only);
  }

  addRoute(app, schemas.retrieveStudy, sendInstances);
  addRoute(app, schemas.retrieveSeries, sendInstances);
  addRoute(app, schemas.retrieveInstance, sendInstances);

  addRoute(app, schemas.retrieveFrames, async (call) => {
    const numbers = call.params.frames.split(',').map(Number);
    const pathOf = (index: number) => `frames/${numbers[index]}`;
    const frames = await serve.frames(call.params, numbers);
    const [{ transferSyntaxUID: storedUID, of }] = frames as [ServedValue];
    const single = numbers.length === 1;
    const stored = offersOfFrames(storedUID, single);
    const accepted = acceptedBy(call.request, call.query);
    if (chooseRepresentation(accepted, stored)) return sendValues(call, stored, frames, of, pathOf);
    const others = transcode.frameSyntaxes(call.params).flatMap((uid) => offersOfFrames(uid, single));
    const { transferSyntaxUID } = negotiate(accepted, [...stored, ...others]);
    const made = await transcode.frames(call.params, numbers, transferSyntaxUID);
    return sendValues(call, offersOfFrames(transferSyntaxUID, single), made, of, pathOf);
  });

  addRoute(app, schemas.retrieveBulkData, async (call) => {
    const { path } = call.params;
    const value = await serve.bulkData(call.params, path);
    const { transferSyntaxUID } = value;
    const offers = [true, false].map((multipart) => ({ multipart, type: OCTETS, transferSyntaxUID }));
    return sendValues(call, offers, [value], value.of, () => `bulkdata/${path}`);
  });
}

/** One value of a resource: as stored, or made as it is sent. */
type Value = ServedPart | TranscodedPart;

function formsOf(type: string, syntaxes: readonly string[], single: boolean): InstanceForm[] {
  return (single ? [true, false] : [true]).flatMap((multipart) =>
    syntaxes.map((transferSyntaxUID) => ({ multipart, type, transferSyntaxUID })),
  );
}

/**
 * The form of each instance: the stored one wherever it is acceptable, since nothing is transcoded without need. Nobody
 * is given a part of a study for the whole of it. One instance may be the body itself.
 */
function chooseForms(
  accepted: readonly MediaRange[],
  instances: readonly ServedInstance[],
  single: boolean,
  transcode: Transcode,
): InstanceForm[] {
  const stored = new Map<string, InstanceForm | undefined>();
  for (const { transferSyntaxUID } of instances) {
    if (stored.has(transferSyntaxUID)) continue;
    stored.set(transferSyntaxUID, chooseRepresentation(accepted, formsOf(DICOM, [transferSyntaxUID], single)));
  }
  return instances.map((instance) => {
    const asStored = stored.get(instance.transferSyntaxUID);
    if (asStored) return asStored;
    const made = formsOf(DICOM, transcode.instanceSyntaxes(instance), single);
    const chosen = chooseRepresentation(accepted, made);
    if (chosen) return chosen;
    const possible = [...formsOf(DICOM, [...stored.keys()], single), ...made, ZIP];
    throw new NotAcceptable([...new Set(possible.map(acceptTextOf))]);
  });
}
