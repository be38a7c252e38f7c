import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { DicomJson } from '../../../dicom/model.ts';
import type { QueryLevel } from '../../../dicom/query.ts';
import { parseQueryParameters } from '../../../dicom/query-parameters.ts';
import type { RouteContext } from '../modules.ts';
import { acceptedBy, negotiateModel } from '../negotiate.ts';
import * as schemas from '../schemas/dicom-web.ts';
import type { Operation } from '../schemas/operation.ts';
import { sendModels } from '../send.ts';
import { addRoute } from './route.ts';

/** How the index writes a URL whose base it does not know; quotes inside of values are escaped, so nothing else looks so. */
const RELATIVE = '"Value":["retrieve:/';
const WARNING = '299 dagpacs "There are additional results that can be requested"';

/** QIDO-RS (PS3.18 §10.6). No match is 200 with an empty array, which every client reads; 204 some do not. */
export function addSearchRoutes(app: FastifyInstance, context: RouteContext): void {
  const { index, base, options, log } = context;

  function add<Params extends z.ZodObject>(
    operation: Operation<Params, typeof schemas.searchQuery>,
    level: QueryLevel,
  ) {
    addRoute(app, operation, ({ params, query, request, reply }) => {
      const { multipart, type } = negotiateModel(acceptedBy(request, query));
      const { limit, offset, fuzzymatching, includefield } = query;
      const scope = params as { studyInstanceUID?: string; seriesInstanceUID?: string };
      const search = {
        ...scope,
        level,
        limit: Math.min(limit ?? options.maxResults, options.maxResults),
        offset,
        fuzzy: fuzzymatching === 'true',
      };
      const { rows, more } = index.query(
        parseQueryParameters(search, attributesOf(request), includefield === undefined ? [] : [includefield].flat()),
      );
      if (more) reply.header('warning', WARNING);
      const absolute = (text: string) => text.replaceAll(RELATIVE, () => `"Value":["${base(request)}/dicom-web/`);
      if (multipart)
        return sendModels(
          reply,
          log,
          rows.map((row) => () => JSON.parse(absolute(row)) as DicomJson),
        );
      const body = absolute(`[${rows.join(',')}]`);
      // Bytes, not text: to text fastify adds a charset, which the media type has none of.
      return reply.type(type).send(Buffer.from(body));
    });
  }

  add(schemas.searchStudies, 'study');
  add(schemas.searchSeries, 'series');
  add(schemas.searchInstances, 'instance');
  add(schemas.searchStudySeries, 'series');
  add(schemas.searchStudyInstances, 'instance');
  add(schemas.searchSeriesInstances, 'instance');
}

/** The parameters that are attributes to match. */
function attributesOf(request: FastifyRequest): [string, string[]][] {
  const known = schemas.searchQuery.shape;
  return Object.entries(request.query as Record<string, string | string[]>)
    .filter(([name]) => !Object.hasOwn(known, name))
    .map(([name, value]) => [name, [value].flat()]);
}
