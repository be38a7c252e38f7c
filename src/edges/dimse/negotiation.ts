import { isUsableUID } from '../../dicom/uid.ts';
import type { ProposedContext } from './associate-rq.ts';

export const VERIFICATION = '1.2.840.10008.1.1';

/** A presentation context as answered (PS3.8 §9.3.3.2). */
export interface AnsweredContext {
  id: number;
  abstractSyntax: string;
  /** 0 acceptance, 3 abstract syntax not supported, 4 transfer syntaxes not supported. */
  result: 0 | 3 | 4;
  /** The one to use; empty where the context is not accepted. */
  transferSyntax: string;
  roles?: { scu: boolean; scp: boolean };
}

const DICOM_ROOT = '1.2.840.10008.';
const COMPOSITE_STORAGE = '1.2.840.10008.5.1.4.1.1.';

/** Standard storage SOP classes outside the usual branch (PS3.6 Annex A), the retired ones too. */
const OTHER_STORAGE = new Set([
  '1.2.840.10008.5.1.1.27',
  '1.2.840.10008.5.1.1.29',
  '1.2.840.10008.5.1.1.30',
  '1.2.840.10008.5.1.4.34.7',
  '1.2.840.10008.5.1.4.34.10',
  '1.2.840.10008.5.1.4.38.1',
  '1.2.840.10008.5.1.4.39.1',
  '1.2.840.10008.5.1.4.43.1',
  '1.2.840.10008.5.1.4.44.1',
  '1.2.840.10008.5.1.4.45.1',
]);

/** Query, retrieval and creation services inside the storage branch: protocol approval and inventories. */
const NOT_STORAGE = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(200\.[456]|201\.[23456])$/;

/** True for what a peer may store: each standard storage SOP class, and every class that is not DICOM's own. */
export function isStorage(abstractSyntax: string): boolean {
  if (!abstractSyntax.startsWith(DICOM_ROOT)) return isUsableUID(abstractSyntax);
  if (OTHER_STORAGE.has(abstractSyntax)) return true;
  return (
    abstractSyntax.startsWith(COMPOSITE_STORAGE) && isUsableUID(abstractSyntax) && !NOT_STORAGE.test(abstractSyntax)
  );
}

/**
 * Answers one proposal. Every storage class is taken, private and unknown ones too, in whichever transfer syntax its
 * sender prefers, since instances are kept as they come.
 */
export function answerContext(proposed: ProposedContext): AnsweredContext {
  const { id, abstractSyntax } = proposed;
  const refused = { id, abstractSyntax, transferSyntax: '' };
  if (abstractSyntax !== VERIFICATION && !isStorage(abstractSyntax)) return { ...refused, result: 3 };
  const transferSyntax = proposed.transferSyntaxes.find(isUsableUID);
  if (transferSyntax === undefined) return { ...refused, result: 4 };
  const answer: AnsweredContext = { id, abstractSyntax, result: 0, transferSyntax };
  // We are an SCP only: the proposer may be SCU, as it is by default.
  return proposed.roles ? { ...answer, roles: { scu: proposed.roles.scu, scp: false } } : answer;
}
