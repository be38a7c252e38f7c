import { setImmediate as turn } from 'node:timers/promises';
import { RowEncoder } from '../../../dicom/encode-rows.ts';
import type { DicomJson } from '../../../dicom/model.ts';
import type { Match } from '../../../dicom/query.ts';
import { type KeyedQuery, parseQueryKeys } from '../../../dicom/query-keys.ts';
import { transferSyntax } from '../../../dicom/transfer-syntax.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import type { Log } from '../../../kernel/log.ts';
import type { Index } from '../../../ports/index.ts';
import { C_FIND_RQ, type Response } from '../command.ts';
import {
  CANCELLED,
  IDENTIFIER_MISMATCH,
  OUT_OF_RESOURCES,
  PENDING,
  PENDING_WITH_WARNING,
  responseTo,
  SUCCESS,
} from '../errors.ts';
import { type Identifier, Refusal, readIdentifier, UNIQUE_KEYS } from './identifier.ts';
import type { Operation, Service } from './service.ts';

export interface FindOptions {
  /** Retrieve AE Title (0008,0054) of everything that is held. */
  aeTitle: string;
}

/** Entities that are looked for at once; their rows are read as they are sent. */
const PAGE = 5000;
/** Responses that go out in one piece, before the event loop has its turn: a C-CANCEL is to be heard. */
const STRIDE = 64;

/** Query/Retrieve Service Class as SCP of C-FIND (PS3.4 C.4.1), by the query model that QIDO-RS has too. */
export function findService({ aeTitle }: FindOptions, index: Pick<Index, 'query'>, log: Log): Service {
  return {
    field: C_FIND_RQ,
    async perform(operation) {
      const [relational = 0, combined = 0, fuzzy = 0] = operation.context.extended ?? [];
      try {
        const identifier = await readIdentifier(operation, 'find', relational === 1);
        const keyed = parseQueryKeys(identifier.level, identifier.dataset, {
          combined: combined === 1,
          fuzzy: fuzzy === 1,
        });
        const status = keyed.unsupported.length > 0 ? PENDING_WITH_WARNING : PENDING;
        const encoder = answers(keyed, identifier, operation, aeTitle);
        let held: Buffer[] = [];
        for (const row of pages(index, { ...scoped(keyed.query, identifier), only: true })) {
          held.push(encoder.encode(row));
          if (held.length < STRIDE) continue;
          await operation.respondAll(status, held);
          held = [];
          await turn();
          if (operation.signal.aborted) return { status: CANCELLED };
        }
        if (held.length > 0) await operation.respondAll(status, held);
        return operation.signal.aborted ? { status: CANCELLED } : { status: SUCCESS };
      } catch (error) {
        const response = refusal(error);
        log.warn('find-refused', { peer: operation.peer, status: response.status.toString(16) });
        return response;
      }
    },
  };
}

/** How a C-FIND that cannot be performed is answered; what nobody expected is thrown on. */
export function refusal(error: unknown): Response {
  if (error instanceof Refusal) return error.response;
  if (!(error instanceof DagpacsError)) throw error;
  if (error.code !== 'invalid-parameter') return responseTo(error);
  // A key that is not indexed, with too many entities to look through, or one whose value is none.
  const status = error.subject.tag ? OUT_OF_RESOURCES : IDENTIFIER_MISMATCH;
  return { ...responseTo(error), status };
}

/** The study and series that the identifier names, so that rows do not repeat what is above them. */
function scoped(query: KeyedQuery['query'], { above }: Identifier): KeyedQuery['query'] {
  const scope: { studyInstanceUID?: string; seriesInstanceUID?: string } = {};
  const take = (level: 'study' | 'series'): string | undefined => {
    const single = query.matches.find(({ tag }) => tag === UNIQUE_KEYS[level].tag) as Match & { kind: 'single' };
    return above.includes(level) && single?.kind === 'single' ? single.value : undefined;
  };
  const study = take('study');
  const series = take('series');
  if (study !== undefined) scope.studyInstanceUID = study;
  if (study !== undefined && series !== undefined) scope.seriesInstanceUID = series;
  return { ...query, ...scope };
}

/** Rows as they are asked for: a peer that cancels, or reads slowly, costs no more than the ids of a page. */
function* pages(index: Pick<Index, 'query'>, query: KeyedQuery['query']): Generator<string> {
  for (let offset = 0; ; offset += PAGE) {
    const { rows, more } = index.query({ ...query, limit: PAGE, offset });
    yield* rows;
    if (!more) return;
  }
}

/** Makes the identifiers of responses: the keys that were asked for, and what is always there (PS3.4 C.4.1.1.3.2). */
function answers({ keys }: KeyedQuery, identifier: Identifier, { context }: Operation, aeTitle: string): RowEncoder {
  const { levelName, charset } = identifier;
  const { implicit = true, bigEndian = false } = transferSyntax(context.transferSyntax) ?? {};
  const fixed: DicomJson = {
    '00080052': { vr: 'CS', Value: [levelName] },
    '00080054': { vr: 'AE', Value: [aeTitle] },
    ...(keys['00080056'] && { '00080056': { vr: 'CS', Value: ['ONLINE'] } }),
  };
  return new RowEncoder(keys, fixed, { implicit, bigEndian }, charset);
}
