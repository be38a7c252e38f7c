import type { FastifyInstance } from 'fastify';
import type { RejectionReason } from '../../../dicom/rejection-note.ts';
import type { RejectScope } from '../../../flows/reject/reject.ts';
import type { RouteContext } from '../modules.ts';
import * as schemas from '../schemas/delete.ts';
import { addRoute, type Call } from './route.ts';

/** DELETE of studies, series and instances; where the setting turns it off there is none. */
export function addDeleteRoutes(app: FastifyInstance, { reject, options }: RouteContext): void {
  if (!options.allowDelete) return;
  async function remove({
    params,
    query,
    request,
    reply,
  }: Call<RejectScope, { reason?: RejectionReason | undefined }>) {
    await reject(params, query.reason ?? 'unspecified', `http:${request.ip}`);
    return reply.code(204).send();
  }
  addRoute(app, schemas.deleteStudy, remove);
  addRoute(app, schemas.deleteSeries, remove);
  addRoute(app, schemas.deleteInstance, remove);
}
