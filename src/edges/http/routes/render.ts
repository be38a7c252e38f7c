import type { FastifyInstance } from 'fastify';
import type { Representation } from '../../../dicom/accept.ts';
import {
  checkProfile,
  parseProfile,
  parseQuality,
  parseViewport,
  parseWindow,
} from '../../../dicom/render-parameters.ts';
import type { ImageFormat } from '../../../dicom/rendering.ts';
import { checkFrameNumber } from '../../../flows/serve/frame-number.ts';
import type { Renderable, RenderParameters, StoredDocument } from '../../../flows/serve/rendered.ts';
import type { Scope } from '../../../flows/serve/served.ts';
import type { InstanceUIDs } from '../../../ports/index.ts';
import { isKept } from '../conditional.ts';
import type { RouteContext } from '../modules.ts';
import { acceptedBy, negotiate } from '../negotiate.ts';
import * as schemas from '../schemas/render.ts';
import { inMemory, type OutgoingPart, sendMultipart, sendSingle } from '../send.ts';
import { addRoute, type Call } from './route.ts';

interface RenderQuery {
  accept?: string | undefined;
  viewport?: string | undefined;
  window?: string | undefined;
  quality?: string | undefined;
  iccprofile?: string | undefined;
}

/** One image of an answer: frames of an instance. */
interface Picture {
  instance: InstanceUIDs;
  numbers: number[];
}

type Form = Representation & { type: ImageFormat };

const STILL: readonly ImageFormat[] = ['image/jpeg', 'image/png'];
const MOVING: ImageFormat = 'image/gif';
const THUMBNAIL = { width: 128, height: 128, source: {} };

/** WADO-RS: rendered resources and thumbnails (PS3.18 §10.4.1.1.3, §10.4.1.1.4). */
export function addRenderRoutes(app: FastifyInstance, context: RouteContext): void {
  const { serve, render, base, log } = context;

  /** Every image of a study or series, a part each. */
  async function sendScope(call: Call<Scope, RenderQuery>) {
    const parameters = parametersOf(call.query);
    const form = negotiate(acceptedBy(call.request, call.query), forms([...STILL, MOVING], [true]));
    const pictures = render.renderable(call.params).map((image) => picture(image, form.type));
    return send(call, form, pictures, parameters);
  }

  async function sendInstance(call: Call<InstanceUIDs, RenderQuery>) {
    const parameters = parametersOf(call.query);
    const accepted = acceptedBy(call.request, call.query);
    const document = await render.document(call.params);
    if (document) {
      negotiate(accepted, [{ multipart: false, type: document.type }]);
      return sendDocument(call, document);
    }
    const [image] = render.renderable(call.params) as [Renderable];
    const form = negotiate(accepted, forms([...STILL, MOVING], [false, true]));
    const all = form.multipart && form.type !== MOVING;
    const { instance, count } = image;
    const pictures = all ? upTo(count).map((number) => ({ instance, numbers: [number] })) : [picture(image, form.type)];
    return send(call, form, pictures, parameters);
  }

  async function sendFrames(call: Call<InstanceUIDs & { frames: string }, RenderQuery>) {
    const parameters = parametersOf(call.query);
    const numbers = call.params.frames.split(',').map(Number);
    // Before anything is sent: a part that cannot be had would only cut the answer.
    const [{ count }] = render.renderable(call.params) as [Renderable];
    for (const number of numbers) checkFrameNumber(number, count);
    const one = numbers.length === 1;
    const offers = [...forms(STILL, one ? [false, true] : [true]), ...forms([MOVING], [false, true])];
    const form = negotiate(acceptedBy(call.request, call.query), offers);
    const instance = call.params;
    const apart = form.type !== MOVING;
    const pictures = apart ? numbers.map((number) => ({ instance, numbers: [number] })) : [{ instance, numbers }];
    return send(call, form, pictures, parameters);
  }

  async function sendThumbnail(call: Call<Scope & { frames?: string }, RenderQuery>) {
    const parameters = { viewport: THUMBNAIL, enlarge: false, ...parametersOf(call.query) };
    const form = negotiate(acceptedBy(call.request, call.query), forms(STILL, [false]));
    const image = render.representative(call.params);
    const number = call.params.frames === undefined ? image.representative : Number.parseInt(call.params.frames, 10);
    return send(call, form, [{ instance: image.instance, numbers: [number] }], parameters);
  }

  async function send(
    call: Call<Scope, unknown>,
    form: Form,
    pictures: Picture[],
    parameters: Omit<RenderParameters, 'format'>,
  ) {
    const { reply } = call;
    checkProfile(parameters.profile, form.type);
    // A picture may come out in other bytes after the next start.
    const how = [String(form.multipart), form.type, JSON.stringify([parameters, pictures])];
    if (isKept(reply, serve.instances(call.params), false, ...how)) return reply.code(304).send();
    const make = ({ instance, numbers: [number = 1] }: Picture) =>
      render.image(instance, number, { ...parameters, format: form.type });
    const parts = pictures.map((each): OutgoingPart => {
      const { instance, numbers } = each;
      async function* still() {
        yield await make(each);
      }
      const moving = () => render.moving(instance, numbers, { ...parameters, format: form.type });
      return { form, location: locationOf(call, each), size: undefined, bytes: form.type === MOVING ? moving : still };
    });
    const [first] = parts as [OutgoingPart];
    if (form.multipart) return sendMultipart(reply, log, parts);
    if (form.type === MOVING) return sendSingle(reply, log, first);
    const [only] = pictures as [Picture];
    return sendSingle(reply, log, inMemory(form, locationOf(call, only), await make(only)));
  }

  function sendDocument({ request, reply, params }: Call<InstanceUIDs, RenderQuery>, { type, part }: StoredDocument) {
    const location = `${base(request)}${pathOf(params)}/rendered`;
    const form = { multipart: false, type };
    if (isKept(reply, serve.instances(params), true, type)) return reply.code(304).send();
    return sendSingle(reply, log, { form, location, size: part.size, bytes: (start, end) => part.bytes(start, end) });
  }

  function locationOf({ request }: Call<unknown, unknown>, { instance, numbers }: Picture): string {
    return `${base(request)}${pathOf(instance)}/frames/${numbers.join(',')}/rendered`;
  }

  addRoute(app, schemas.renderStudy, sendScope);
  addRoute(app, schemas.renderSeries, sendScope);
  addRoute(app, schemas.renderInstance, sendInstance);
  addRoute(app, schemas.renderFrames, sendFrames);
  addRoute(app, schemas.studyThumbnail, sendThumbnail);
  addRoute(app, schemas.seriesThumbnail, sendThumbnail);
  addRoute(app, schemas.instanceThumbnail, sendThumbnail);
  addRoute(app, schemas.frameThumbnail, sendThumbnail);
}

function pathOf({ studyInstanceUID, seriesInstanceUID, sopInstanceUID }: InstanceUIDs): string {
  return `/dicom-web/studies/${studyInstanceUID}/series/${seriesInstanceUID}/instances/${sopInstanceUID}`;
}

function forms(types: readonly ImageFormat[], multipart: readonly boolean[]): Form[] {
  return multipart.flatMap((each) => types.map((type) => ({ multipart: each, type })));
}

function picture({ instance, count, representative }: Renderable, format: ImageFormat): Picture {
  return { instance, numbers: format === MOVING ? upTo(count) : [representative] };
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}

/** @throws DagpacsError `invalid-parameter` */
function parametersOf({ viewport, window, quality, iccprofile }: RenderQuery): Omit<RenderParameters, 'format'> {
  const profile = iccprofile === undefined ? undefined : parseProfile(iccprofile);
  return {
    ...(viewport !== undefined && { viewport: parseViewport(viewport) }),
    ...(window !== undefined && { window: parseWindow(window) }),
    ...(quality !== undefined && { quality: parseQuality(quality) }),
    ...(profile && { profile }),
  };
}
