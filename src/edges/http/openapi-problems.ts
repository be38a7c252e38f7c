import { type Problem, plainProblem } from './errors.ts';
import type { Operation } from './schemas/operation.ts';

const WORDS: Record<number, [name: string, description: string]> = {
  400: ['BadRequest', 'A parameter, header or body breaks its rule, which is named'],
  403: ['Forbidden', 'A web page of an origin that is not allowed; a block for a client beyond this machine'],
  404: ['NotFound', 'Nothing is held under these UIDs, or not yet'],
  406: ['NotAcceptable', 'Nothing that Accept allows can be given; `available` lists what can'],
  410: ['Gone', 'It is held, but is nothing that is given out'],
  412: ['PreconditionFailed', 'Not on this machine, and nothing else was wanted'],
  413: ['TooLarge', 'More than a setting allows'],
  415: ['UnsupportedMediaType', 'The body is of a media type that is not taken'],
  416: ['RangeNotSatisfiable', 'The range begins after the last byte'],
  421: ['Misdirected', 'The Host is a name that is not known to be ours (DAGPACS_PUBLIC_URL)'],
  500: ['InternalError', 'Stored bytes are damaged or cannot be read, or there is a fault of the bridge'],
  501: ['NotImplemented', 'The path ends within a block, at no link'],
  502: ['PeerUnavailable', 'The DICOM node cannot be reached, or refuses the association'],
  503: ['Unavailable', 'Overload, or what is needed is away: try again after Retry-After'],
};

/** The statuses of problems that an operation may answer with, where its schema does not name them itself. */
export function problemStatuses(operation: Operation): number[] {
  return kindsOf(operation)
    .filter((status) => operation.answers[status] === undefined)
    .sort((a, b) => a - b);
}

function kindsOf({ method, tag, params, query, body, headers }: Operation): number[] {
  if (tag === 'Health') return [400, 421, 500];
  const statuses = [400, 406, 421, 500, 503];
  if (method !== 'GET') statuses.push(403, 415);
  if (Object.keys(params.shape).length > 0 || !query.safeParse({}).success) statuses.push(404);
  if (body) statuses.push(413);
  if (headers && 'Range' in headers) statuses.push(416);
  if (tag === 'IPFS') statuses.push(403, 410, 412, 501);
  if (tag === 'DIMSE') statuses.push(502);
  return statuses;
}

/** `#/components/responses/…` of a status. */
export function problemReference(status: number): { $ref: string } {
  return { $ref: `#/components/responses/${WORDS[status]?.[0]}` };
}

/** A problem's body in the document. */
export const problemContent = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } };

/** The problems of `statuses` as `components.responses`. */
export function problemResponses(statuses: ReadonlySet<number>): Record<string, object> {
  const used = Object.entries(WORDS).filter(([status]) => statuses.has(Number(status)));
  const all = used.map(([status, [name, description]]) => [
    name,
    {
      description,
      ...(Number(status) === 503 && {
        headers: { 'Retry-After': { description: 'seconds', schema: { type: 'string' }, example: '10' } },
      }),
      // A range that cannot be had has no body.
      ...(Number(status) !== 416 && {
        content: {
          'application/problem+json': {
            schema: { $ref: '#/components/schemas/Problem' },
            example: exampleProblem(Number(status)),
          },
        },
      }),
    },
  ]);
  return Object.fromEntries(all);
}

function exampleProblem(status: number): Problem {
  const about = (code: string, rest: Partial<Problem>): Problem => {
    return { ...plainProblem(status), type: `urn:dagpacs:error:${code}`, ...rest };
  };
  if (status === 400) {
    const rule = 'a whole number from 1';
    const detail = `The parameter limit breaks a rule: ${rule}`;
    return about('invalid-parameter', { detail, attribute: 'limit', rule });
  }
  if (status === 404) return about('not-found', { detail: 'no such study, series, instance or value is held' });
  if (status === 406) return about('not-acceptable', { attribute: 'Accept', available: ['application/dicom+json'] });
  return plainProblem(status, WORDS[status]?.[1]);
}
