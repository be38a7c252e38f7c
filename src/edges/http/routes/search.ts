import { setImmediate as turn } from 'node:timers/promises';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { DicomJson } from '../../../dicom/model.ts';
import type { QueryLevel } from '../../../dicom/query.ts';
import { parseQueryParameters } from '../../../dicom/query-parameters.ts';
import { inCoding, SENT_CODINGS } from '../content-coding.ts';
import type { RouteContext } from '../modules.ts';
import { acceptedBy, codingFor, negotiateModel } from '../negotiate.ts';
import * as schemas from '../schemas/dicom-web.ts';
import type { Operation } from '../schemas/operation.ts';
import { sendModels, sendStream } from '../send.ts';
import { addRoute } from './route.ts';

/** How the index writes a URL whose base it does not know; quotes inside of values are escaped, so nothing else looks so. */
const RELATIVE = '"Value":["retrieve:/';
/** Characters of an answer that are sent at once; one that is shorter has a length. */
const CHUNK = 128 * 1024;
/** Bytes that are fewer packets when they are compressed. */
const WORTH_CODING = 16 * 1024;
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
      const { limit, offset, fuzzymatching, includefield, orderby } = query;
      const scope = params as { studyInstanceUID?: string; seriesInstanceUID?: string };
      const search = {
        ...scope,
        level,
        limit: Math.min(limit ?? options.maxResults, options.maxResults),
        offset,
        fuzzy: fuzzymatching === 'true',
      };
      const { rows, more } = index.query(
        parseQueryParameters(search, attributesOf(request), {
          includefield: [includefield ?? []].flat(),
          orderby: [orderby ?? []].flat(),
        }),
      );
      if (more) reply.header('warning', WARNING);
      const url = `"Value":["${base(request)}/dicom-web/`;
      if (multipart) return sendModels(reply, log, modelsOf(rows, url));
      const body = chunksOf(rows, url);
      const first = body.next().value as Buffer;
      const second = body.next();
      reply.type(type).header('vary', [reply.getHeader('vary') ?? [], 'Accept', 'Accept-Encoding'].flat().join(', '));
      const coding = codingFor(request.headers['accept-encoding'], SENT_CODINGS);
      if (coding !== 'identity' && (!second.done || first.length >= WORTH_CODING)) {
        reply.header('content-encoding', coding);
        return sendStream(reply, log, inCoding(inTurns(second.done ? [first] : [first, second.value], body), coding));
      }
      // Bytes, not text: to text fastify adds a charset, which the media type has none of.
      return second.done ? reply.send(first) : sendStream(reply, log, inTurns([first, second.value], body));
    });
  }

  add(schemas.searchPatients, 'patient');
  add(schemas.searchStudies, 'study');
  add(schemas.searchSeries, 'series');
  add(schemas.searchInstances, 'instance');
  add(schemas.searchStudySeries, 'series');
  add(schemas.searchStudyInstances, 'instance');
  add(schemas.searchSeriesInstances, 'instance');
}

/** The rows as one JSON array, as they are read from the index; URLs in them begin with `url`. */
function* chunksOf(rows: Iterable<string>, url: string): Generator<Buffer, undefined> {
  let text = '[';
  let separator = '';
  for (const row of rows) {
    text += separator + row;
    separator = ',';
    if (text.length < CHUNK) continue;
    yield Buffer.from(text.replaceAll(RELATIVE, () => url));
    text = '';
  }
  yield Buffer.from(`${text}]`.replaceAll(RELATIVE, () => url));
}

function* modelsOf(rows: Iterable<string>, url: string): Generator<DicomJson, undefined> {
  for (const row of rows) yield JSON.parse(row.replaceAll(RELATIVE, () => url)) as DicomJson;
}

/** A long answer leaves everybody else their turn. */
async function* inTurns(begun: readonly Buffer[], rest: Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield* begun;
  for (const chunk of rest) {
    await turn();
    yield chunk;
  }
}

/** The parameters that are attributes to match. */
function attributesOf(request: FastifyRequest): [string, string[]][] {
  const known = schemas.searchQuery.shape;
  return Object.entries(request.query as Record<string, string | string[]>)
    .filter(([name]) => !Object.hasOwn(known, name))
    .map(([name, value]) => [name, [value].flat()]);
}
