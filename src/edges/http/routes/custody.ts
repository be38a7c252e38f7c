import type { FastifyInstance } from 'fastify';
import { isFresh, validatorsOf } from '../conditional.ts';
import type { RouteContext } from '../modules.ts';
import * as schemas from '../schemas/custody.ts';
import { scrub as scrubNow } from '../schemas/scrub.ts';
import { sendSingle } from '../send.ts';
import { sendLines } from '../send-lines.ts';
import { addRoute } from './route.ts';

/** Where each version of an instance is, and the proof of it. UIDs, but no patient data. */
export function addCustodyRoutes(app: FastifyInstance, { custody, serve, scrub, base, log }: RouteContext): void {
  addRoute(app, scrubNow, ({ query, reply }) => sendLines(reply, scrub.run(query.rate)));
  addRoute(app, schemas.custodyStatus, () => custody.status());
  addRoute(app, schemas.instanceCustody, ({ params }) => custody.instance(params.sopInstanceUID));
  addRoute(app, schemas.instanceReceipt, ({ params, query }) => custody.receipt(params.sopInstanceUID, query.version));
  addRoute(app, schemas.instanceReceipts, ({ params }) => custody.history(params.sopInstanceUID));
  addRoute(app, schemas.studyReceipt, ({ params, query }) =>
    custody.studyReceipt(params.studyInstanceUID, query.until),
  );
  addRoute(app, schemas.listBatches, ({ query }) => custody.batches(query.limit, query.before));
  addRoute(app, schemas.batchCustody, ({ params }) => custody.batch(params.id));
  addRoute(app, schemas.retrieveVersion, async ({ params, request, reply }) => {
    const { sopInstanceUID, version } = params;
    const instance = serve.version(sopInstanceUID, version);
    const validators = validatorsOf([instance], true);
    if (isFresh(reply, validators)) return reply.code(304).send();
    return sendSingle(reply, log, {
      form: { multipart: false, type: 'application/dicom', transferSyntaxUID: instance.transferSyntaxUID },
      location: `${base(request)}/custody/instances/${sopInstanceUID}/versions/${version}`,
      size: instance.size,
      bytes: (start, end) => instance.bytes(start, end),
    });
  });
}
