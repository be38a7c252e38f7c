import type { DagpacsError, ErrorCode } from '../../kernel/errors.ts';
import type { Response } from './command.ts';

/** Statuses of PS3.7 Annex C and PS3.4 Table B.2-1. */
export const SUCCESS = 0x0000;
export const PROCESSING_FAILURE = 0x0110;
export const DUPLICATE_SOP_INSTANCE = 0x0111;
export const NO_SUCH_INSTANCE = 0x0112;
export const INVALID_ARGUMENT = 0x0115;
export const INVALID_OBJECT_INSTANCE = 0x0117;
export const NO_SUCH_SOP_CLASS = 0x0118;
export const CLASS_INSTANCE_CONFLICT = 0x0119;
export const SOP_CLASS_NOT_SUPPORTED = 0x0122;
export const NO_SUCH_ACTION = 0x0123;
export const NOT_AUTHORIZED = 0x0124;
export const DUPLICATE_TRANSACTION = 0x0131;
export const UNRECOGNIZED_OPERATION = 0x0211;
export const RESOURCE_LIMITATION = 0x0213;
/** Statuses of PS3.4 Tables C.4-1 to C.4-3. */
export const OUT_OF_RESOURCES = 0xa700;
export const UNABLE_TO_PERFORM_SUBOPERATIONS = 0xa702;
export const UNKNOWN_DESTINATION = 0xa801;
export const IDENTIFIER_MISMATCH = 0xa900;
export const UNABLE_TO_PROCESS = 0xc000;
/** Sub-operations complete, some of them failed or with warnings. */
export const SOME_FAILED = 0xb000;
export const CANCELLED = 0xfe00;
export const PENDING = 0xff00;
export const PENDING_WITH_WARNING = 0xff01;
const MISMATCH = 0xa900;

/**
 * Error code → status. A700 is what senders take for "later", so only overload says it; what will fail again says
 * something else. In the Cxxx range (cannot understand) the last digits tell the causes apart.
 */
export const STATUS: Readonly<Record<ErrorCode, number>> = {
  'not-dicom': 0xc000,
  truncated: 0xc001,
  'malformed-dataset': 0xc002,
  'missing-attribute': 0xc003,
  'invalid-attribute': 0xc004,
  'study-mismatch': MISMATCH,
  'sop-mismatch': MISMATCH,
  'instance-in-other-study': DUPLICATE_SOP_INSTANCE,
  'instance-conflict': DUPLICATE_SOP_INSTANCE,
  'instance-rejected': DUPLICATE_SOP_INSTANCE,
  'transaction-in-use': PROCESSING_FAILURE,
  'too-large': RESOURCE_LIMITATION,
  pushback: OUT_OF_RESOURCES,
  // Nobody is there to read this one.
  'sender-aborted': PROCESSING_FAILURE,
  'storage-failed': PROCESSING_FAILURE,
  'malformed-multipart': PROCESSING_FAILURE,
  'unsupported-media-type': PROCESSING_FAILURE,
  'not-acceptable': PROCESSING_FAILURE,
  undecodable: PROCESSING_FAILURE,
  'invalid-parameter': PROCESSING_FAILURE,
  'not-found': PROCESSING_FAILURE,
  withheld: PROCESSING_FAILURE,
  'not-anchored': PROCESSING_FAILURE,
  'block-missing': PROCESSING_FAILURE,
  'block-damaged': PROCESSING_FAILURE,
  'chain-unavailable': PROCESSING_FAILURE,
  'transaction-refused': PROCESSING_FAILURE,
  'account-empty': PROCESSING_FAILURE,
  'chain-mismatch': PROCESSING_FAILURE,
  'swarm-unavailable': PROCESSING_FAILURE,
  'backup-refused': PROCESSING_FAILURE,
  'peer-unavailable': PROCESSING_FAILURE,
  'bad-setting': PROCESSING_FAILURE,
};

/** Text as Error Comment (0000,0902) can hold it. */
export function comment(text: string): string {
  return text
    .replace(/§/g, '')
    .replace(/[^\x20-\x5b\x5d-\x7e]/g, '?')
    .slice(0, 64)
    .trimEnd();
}

/** Error Comment and Offending Element are LO and AT: at most 64 characters of the default repertoire, one tag. */
export function responseTo(error: DagpacsError): Response {
  const { attribute, rule, tag } = error.subject;
  const said = attribute && rule ? `${attribute}: ${rule}` : (rule ?? error.message);
  const response: Response = {
    status: STATUS[error.code],
    errorComment: comment(said),
  };
  return tag && /^[0-9A-Fa-f]{8}$/.test(tag) ? { ...response, offendingElement: tag } : response;
}
