import { STORAGE_CLASSES } from '../../dicom/storage-classes.ts';
import {
  EXPLICIT_VR_BIG_ENDIAN,
  EXPLICIT_VR_LITTLE_ENDIAN,
  IMPLICIT_VR_LITTLE_ENDIAN,
} from '../../dicom/transfer-syntax.ts';
import { isUsableUID } from '../../dicom/uid.ts';
import type { ProposedContext } from './associate-rq.ts';

export const VERIFICATION = '1.2.840.10008.1.1';
export const STORAGE_COMMITMENT = '1.2.840.10008.1.20.1';

/** What a peer may ask for. */
export type ServiceName = 'echo' | 'store' | 'find' | 'move' | 'get' | 'commit';

/** Query/Retrieve information models (PS3.4 C.6). */
export type Model = 'patient' | 'study' | 'patient-study-only';

const MODELS: readonly Model[] = ['patient', 'study', 'patient-study-only'];

/** SOP Class UID → its service and information model (PS3.6 Annex A). */
export const QUERY_RETRIEVE: Readonly<Record<string, { service: 'find' | 'move' | 'get'; model: Model }>> =
  Object.fromEntries(
    MODELS.flatMap((model, m) =>
      (['find', 'move', 'get'] as const).map((service, s) => [
        `1.2.840.10008.5.1.4.1.2.${m + 1}.${s + 1}`,
        { service, model },
      ]),
    ),
  );

/** Transfer syntaxes of identifiers. */
export const NATIVE: ReadonlySet<string> = new Set([
  IMPLICIT_VR_LITTLE_ENDIAN,
  EXPLICIT_VR_LITTLE_ENDIAN,
  EXPLICIT_VR_BIG_ENDIAN,
]);

/** A presentation context as answered (PS3.8 §9.3.3.2). */
export interface AnsweredContext {
  id: number;
  abstractSyntax: string;
  /** 0 acceptance, 1 user rejection, 2 no reason, 3 abstract syntax not supported, 4 transfer syntaxes not supported. */
  result: 0 | 1 | 2 | 3 | 4;
  /** The one to use; empty where the context is not accepted. */
  transferSyntax: string;
  roles?: { scu: boolean; scp: boolean };
  /** Service-class-application-information of our answer. */
  extended?: Buffer;
}

const DICOM_ROOT = '1.2.840.10008.';
const COMPOSITE_STORAGE = '1.2.840.10008.5.1.4.1.1.';

/** Query, retrieval and creation services inside the storage branch: protocol approval and inventories. */
const NOT_STORAGE = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(200\.[456]|201\.[23456])$/;

/** True for what a peer may store: each standard storage SOP class, and every class that is not DICOM's own. */
export function isStorage(abstractSyntax: string): boolean {
  if (!abstractSyntax.startsWith(DICOM_ROOT)) return isUsableUID(abstractSyntax);
  if (STORAGE_CLASSES.has(abstractSyntax)) return true;
  return (
    abstractSyntax.startsWith(COMPOSITE_STORAGE) && isUsableUID(abstractSyntax) && !NOT_STORAGE.test(abstractSyntax)
  );
}

/** True for the storage classes of the standard. */
export function isStandardStorage(abstractSyntax: string): boolean {
  return abstractSyntax.startsWith(DICOM_ROOT) && isStorage(abstractSyntax);
}

/** The service that an abstract syntax is of, or undefined where there is none such. */
export function serviceOf(abstractSyntax: string): ServiceName | undefined {
  if (abstractSyntax === VERIFICATION) return 'echo';
  if (abstractSyntax === STORAGE_COMMITMENT) return 'commit';
  return QUERY_RETRIEVE[abstractSyntax]?.service ?? (isStorage(abstractSyntax) ? 'store' : undefined);
}

/** What decides whether a proposal is taken. */
export interface AcceptancePolicy {
  /** The services that the peer may call; undefined: all. */
  services?: ReadonlySet<ServiceName>;
  /** Storage classes that are taken; undefined: all of {@link isStorage}. */
  stores?: (abstractSyntax: string) => boolean;
}

/**
 * Answers one proposal. Unless a policy narrows them, every storage class is taken, private and unknown ones too, in whichever transfer syntax its
 * sender prefers, since instances are kept as they come. Data sets that we read and write ourselves are native ones.
 */
export function answerContext(
  proposed: ProposedContext,
  { services: allowed, stores }: AcceptancePolicy = {},
): AnsweredContext {
  const { id, abstractSyntax } = proposed;
  const refused = { id, abstractSyntax, transferSyntax: '' };
  const service = serviceOf(abstractSyntax);
  if (service === undefined) return { ...refused, result: 3 };
  // Where a peer may retrieve by C-GET, it is stored to on contexts of its own proposal.
  const mayRetrieve = service === 'store' && proposed.roles?.scp === true && allowed?.has('get') !== false;
  const taken = service !== 'store' || stores?.(abstractSyntax) !== false;
  if (!taken && !mayRetrieve) return { ...refused, result: 3 };
  const mayCall = taken && allowed?.has(service) !== false;
  if (!mayCall && !mayRetrieve) return { ...refused, result: 1 };
  const roles = proposed.roles && { scu: proposed.roles.scu && mayCall, scp: mayRetrieve };
  // A context on which neither side may ask for anything is of no use (PS3.7 D.3.3.4).
  if (roles && !roles.scu && !roles.scp) return { ...refused, result: 1 };
  const usable = service === 'echo' || service === 'store' ? isUsableUID : (uid: string) => NATIVE.has(uid);
  const transferSyntax = proposed.transferSyntaxes.find(usable);
  if (transferSyntax === undefined) return { ...refused, result: 4 };
  const answer: AnsweredContext = { id, abstractSyntax, result: 0, transferSyntax, ...(roles && { roles }) };
  const extended = proposed.extended && answerExtended(service, proposed.extended);
  return extended ? { ...answer, extended } : answer;
}

/** What we offer of PS3.4 C.5.1.1: relational queries, combined date-time, fuzzy names; and relational retrieval. */
export const EXTENDED: Partial<Record<ServiceName, readonly number[]>> = { find: [1, 1, 1], move: [1], get: [1] };

/** Bytes of service-class-application-information that are answered; PS3.4 C.5.1.1 has five. */
const MAX_EXTENDED = 8;

function answerExtended(service: ServiceName, asked: Buffer): Buffer | undefined {
  const offered = EXTENDED[service];
  return offered && Buffer.from(asked.subarray(0, MAX_EXTENDED).map((byte, i) => (byte === 1 ? (offered[i] ?? 0) : 0)));
}
