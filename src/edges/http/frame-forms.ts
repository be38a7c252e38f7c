import type { Representation } from '../../dicom/accept.ts';
import { transferSyntax } from '../../dicom/transfer-syntax.ts';

export const OCTETS = 'application/octet-stream';

/** A form that names its transfer syntax. */
export type InstanceForm = Representation & { transferSyntaxUID: string };

/**
 * The forms that frames of a transfer syntax are given in (PS3.18 §8.7.3.3): compressed ones have a media type of their own
 * too. `single`: one alone may be the body itself.
 */
export function offersOfFrames(transferSyntaxUID: string, single: boolean): InstanceForm[] {
  const known = transferSyntax(transferSyntaxUID);
  const types = known?.encapsulated ? [...new Set([OCTETS, known.mediaType])] : [OCTETS];
  return (single ? [true, false] : [true]).flatMap((multipart) =>
    types.map((type) => ({ multipart, type, transferSyntaxUID })),
  );
}
