import { DagpacsError, type ErrorCode } from '../../kernel/errors.ts';

/** HTTP status of every error code. */
const STATUS: Record<ErrorCode, number> = {
  'not-dicom': 400,
  truncated: 400,
  'malformed-dataset': 400,
  'missing-attribute': 400,
  'invalid-attribute': 400,
  'study-mismatch': 409,
  'sop-mismatch': 409,
  'instance-in-other-study': 409,
  'instance-conflict': 409,
  'instance-rejected': 409,
  'transaction-in-use': 409,
  'too-large': 413,
  'sender-aborted': 400,
  'malformed-multipart': 400,
  'unsupported-media-type': 415,
  'not-acceptable': 406,
  undecodable: 406,
  'invalid-parameter': 400,
  'not-found': 404,
  withheld: 410,
  'not-anchored': 404,
  pushback: 503,
  'block-missing': 503,
  'block-damaged': 500,
  'storage-failed': 500,
  'chain-unavailable': 503,
  'transaction-refused': 503,
  'account-empty': 503,
  'chain-mismatch': 503,
  'swarm-unavailable': 503,
  'backup-refused': 500,
  'peer-unavailable': 502,
  'bad-setting': 500,
};

const TITLE: Record<number, string> = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  416: 'Range Not Satisfiable',
  421: 'Misdirected Request',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
};

/** An RFC 9457 problem. */
export interface Problem {
  /** `urn:dagpacs:error:<code>`, or `about:blank` where the status says it all. */
  type: string;
  title: string;
  status: number;
  detail?: string;
  /** DICOM keyword, query parameter or header at fault. */
  attribute?: string;
  tag?: string;
  rule?: string;
  /** With 406: what the Accept header may ask for. */
  available?: string[];
}

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** The status that goes with a code. */
export function statusOf(code: ErrorCode): number {
  return STATUS[code];
}

/** A problem that the status and a sentence describe. */
export function plainProblem(status: number, detail?: string): Problem {
  return { type: 'about:blank', title: TITLE[status] ?? 'Error', status, ...(detail !== undefined && { detail }) };
}

/** What can be said of an error to the outside; nothing of one that was not expected. */
export function problemOf(error: unknown): Problem {
  if (error instanceof DagpacsError) {
    const { attribute, tag, rule } = error.subject;
    return {
      ...plainProblem(STATUS[error.code], error.message),
      type: `urn:dagpacs:error:${error.code}`,
      ...(attribute !== undefined && { attribute }),
      ...(tag !== undefined && { tag }),
      ...(rule !== undefined && { rule }),
      ...(error instanceof NotAcceptable && { available: error.available }),
    };
  }
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode;
  if (typeof status !== 'number' || status < 400 || status > 499) return plainProblem(500);
  if ((error as { code?: unknown }).code === 'FST_ERR_BAD_URL') {
    const rule = 'UTF-8, percent-encoded (RFC 3986 §2.1)';
    return { ...plainProblem(status, `The path is not ${rule}`), attribute: 'path', rule };
  }
  if (status !== 415) return plainProblem(status);
  const rule = 'a media type that this resource takes (RFC 9110 §8.3)';
  return { ...plainProblem(status, `Content-Type is not ${rule}`), attribute: 'Content-Type', rule };
}

/** Nothing that the Accept header allows can be given; `available` lists what could be. */
export class NotAcceptable extends DagpacsError {
  readonly available: string[];

  constructor(available: string[], attribute = 'Accept') {
    const rule = `one of: ${available.join(', ')}`;
    super('not-acceptable', `Nothing that ${attribute} allows can be given; ask for ${rule}`, { attribute, rule });
    this.available = available;
  }
}
