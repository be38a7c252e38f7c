/**
 * Every error that DagPACS raises on purpose, as one closed union of codes. Each edge has one table that maps a code to
 * its protocol's status (HTTP: `edges/http/errors.ts`, DIMSE: `edges/dimse/errors.ts`).
 */
export type ErrorCode =
  /** The bytes are not a DICOM Part 10 file (PS3.10 §7.1). */
  | 'not-dicom'
  /** The stream ended inside the header, so that the instance cannot be identified or would be kept cut short. */
  | 'truncated'
  /** The data set cannot be parsed as its transfer syntax says (PS3.5 §7). */
  | 'malformed-dataset'
  /** An attribute without which an instance cannot be identified is absent or empty. */
  | 'missing-attribute'
  /** An identifying attribute has a value that its VR forbids (PS3.5 §6.2). */
  | 'invalid-attribute'
  /** The instance's Study Instance UID is not the one that the request's path names (PS3.18 §10.5). */
  | 'study-mismatch'
  /** The instance differs from what the sender announced (C-STORE's Affected SOP UIDs, PS3.4 B.2.3). */
  | 'sop-mismatch'
  /** The SOP Instance UID is already held in another study. */
  | 'instance-in-other-study'
  /** Same SOP Instance UID, other bytes, and the policy is `conflict`. */
  | 'instance-conflict'
  /** A Transaction UID of storage commitment that is used already (PS3.18 §13.4). */
  | 'transaction-in-use'
  /** The same instance was rejected (deleted), and is not taken again. */
  | 'instance-rejected'
  /** More bytes than a setting allows. */
  | 'too-large'
  /** The sender went away before the last byte. */
  | 'sender-aborted'
  /** A multipart body that does not follow RFC 2046 §5.1. */
  | 'malformed-multipart'
  /** A request body's media type is not one that the route takes. */
  | 'unsupported-media-type'
  /** Nothing that the Accept header allows can be produced (PS3.18 §8.7). */
  | 'not-acceptable'
  /** Stored pixels that cannot be decoded, encoded or rendered as asked; the stored bytes can still be retrieved. */
  | 'undecodable'
  /** A query parameter, header or path segment breaks its rule. */
  | 'invalid-parameter'
  /** No such resource. */
  | 'not-found'
  /** It is held, but is nothing that is given out. */
  | 'withheld'
  /** It is held, but not on the chain yet. */
  | 'not-anchored'
  /** Overload: try again later. HTTP 503 with Retry-After, DIMSE A700. */
  | 'pushback'
  /** A block that neither this machine nor the swarm holds now. */
  | 'block-missing'
  /** Stored bytes that fail their authentication tag or CID, and could not be repaired. */
  | 'block-damaged'
  /** The disk, the database or the vault failed. */
  | 'storage-failed'
  /** The chain cannot be reached or answers wrongly. */
  | 'chain-unavailable'
  /** The chain's node refuses a transaction; the message has its words. */
  | 'transaction-refused'
  /** Our account has less ether than a transaction may cost. */
  | 'account-empty'
  /** The chain is not the one this data directory was anchored on, or its contract is missing. */
  | 'chain-mismatch'
  /** The IPFS node cannot be reached or answers wrongly. */
  | 'swarm-unavailable'
  /** A backup that is damaged, of another passphrase, or at odds with what is there. */
  | 'backup-refused'
  /** A DICOM peer cannot be reached, or refuses the association. */
  | 'peer-unavailable'
  /** A setting has a value that its rule forbids, or the surroundings do not allow the bridge to start. */
  | 'bad-setting';

/** What an error is about; no patient data, since messages may be logged. */
export interface ErrorSubject {
  /** DICOM keyword, query parameter, header or setting at fault, such as `StudyInstanceUID`. */
  readonly attribute?: string;
  /** Its tag as eight hexadecimal digits, where it is a DICOM attribute. */
  readonly tag?: string;
  /** The rule that was broken, in words, with the section of the standard where there is one. */
  readonly rule?: string;
  /** Seconds after which to try again (only with `pushback`). */
  readonly retryAfter?: number;
}

/** An expected failure. `message` is for people and never holds patient data, UIDs or keys. */
export class DagpacsError extends Error {
  override readonly name = 'DagpacsError';
  readonly code: ErrorCode;
  readonly subject: ErrorSubject;

  constructor(code: ErrorCode, message: string, subject: ErrorSubject = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.subject = subject;
  }
}

/** True for a {@link DagpacsError}, of `code` where one is given. */
export function isDagpacsError(error: unknown, code?: ErrorCode): error is DagpacsError {
  return error instanceof DagpacsError && (code === undefined || error.code === code);
}
