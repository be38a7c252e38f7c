import type { FastifyInstance } from 'fastify';
import { parseContentType } from '../../../dicom/accept.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import type { RouteContext } from '../modules.ts';
import { bytesOf } from '../plugins/request-body.ts';
import { CAR, exportCar, importCar } from '../schemas/archive.ts';
import { sendBody } from '../send.ts';
import { sendLines } from '../send-lines.ts';
import { addRoute } from './route.ts';

/** Studies as CAR files, out and in. */
export function addArchiveRoutes(app: FastifyInstance, { archive, log }: RouteContext): void {
  addRoute(app, exportCar, async ({ params, reply }) => {
    const car = await archive.exportStudy(params.studyInstanceUID);
    reply.header('content-type', `${CAR}; version=1; order=dfs; dups=n`);
    reply.header('content-disposition', `attachment; filename="${car.root}.car"`);
    reply.header('x-dagpacs-size', car.size).header('x-dagpacs-versions', car.versions);
    return sendBody(reply, log, undefined, () => car.bytes());
  });

  addRoute(app, importCar, async ({ request, reply }) => {
    const type = parseContentType(request.headers['content-type'] ?? '')?.type;
    if (type !== CAR) {
      const subject = { attribute: 'Content-Type', rule: `must be ${CAR}` };
      throw new DagpacsError('unsupported-media-type', `Content-Type ${subject.rule}`, subject);
    }
    return sendLines(reply, archive.importCar(bytesOf(request.raw)));
  });
}
