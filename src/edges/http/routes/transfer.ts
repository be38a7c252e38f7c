import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { Scope } from '../../../flows/serve/served.ts';
import type { TransferProgress } from '../../../flows/serve/transfer.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import type { RouteContext } from '../modules.ts';
import * as schemas from '../schemas/transfer.ts';
import { addRoute } from './route.ts';

/** What is asked of other DICOM nodes. */
export function addTransferRoutes(app: FastifyInstance, { transfer, echo }: RouteContext): void {
  addRoute(app, schemas.echo, async ({ params, reply }) => reply.send({ milliseconds: await echo(params.aeTitle) }));

  addRoute(app, schemas.send, ({ params, query, reply }) => {
    const { StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID } = query;
    if (SOPInstanceUID !== undefined && SeriesInstanceUID === undefined) {
      const rule = 'is given with SeriesInstanceUID only';
      const subject = { attribute: 'SOPInstanceUID', rule };
      throw new DagpacsError('invalid-parameter', `The parameter SOPInstanceUID ${rule}`, subject);
    }
    const scope: Scope = {
      studyInstanceUID: StudyInstanceUID,
      ...(SeriesInstanceUID !== undefined && { seriesInstanceUID: SeriesInstanceUID }),
      ...(SOPInstanceUID !== undefined && { sopInstanceUID: SOPInstanceUID }),
    };
    const gone = new AbortController();
    reply.raw.on('close', () => gone.abort('ended'));
    const steps = transfer(params.aeTitle, scope, gone.signal);
    return reply.type('application/x-ndjson').send(Readable.from(lines(steps)));
  });
}

async function* lines(steps: AsyncIterable<TransferProgress>): AsyncGenerator<string> {
  for await (const step of steps) yield `${JSON.stringify(step)}\n`;
}
