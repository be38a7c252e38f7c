import { z } from 'zod';
import { REJECTION_REASONS, type RejectionReason } from '../../../dicom/rejection-note.ts';
import { INSTANCE, instance, SERIES, STUDY, series, study } from './dicom-web.ts';
import { defineOperation } from './operation.ts';

const codes = Object.keys(REJECTION_REASONS) as Exclude<RejectionReason, 'unspecified'>[];
const meanings = Object.entries(REJECTION_REASONS).map(([code, meaning]) => `${code} ${meaning}`);
const query = z.object({
  reason: z
    .enum(codes, `one of ${codes.join(', ')} (DCM, PS3.16 CID 7011)`)
    .optional()
    .describe(`why, as a code of DCM: ${meanings.join(', ')}`)
    .meta({ examples: ['113001'] }),
});

function remove<Params extends z.ZodObject>(id: string, path: string, summary: string, params: Params) {
  return defineOperation({
    id,
    tag: 'DICOMweb',
    method: 'DELETE',
    path,
    summary,
    description:
      'Marks the instances as rejected: they are found and given no more, by any protocol, and stay provable under /custody. ' +
      'The same bytes are not stored again, unless the reason was 113039. DAGPACS_DELETE turns it off (405).',
    params,
    query,
    answers: { 204: { description: 'They are, durably' } },
  });
}

export const deleteStudy = remove('deleteStudy', STUDY, 'Delete a study', study);
export const deleteSeries = remove('deleteSeries', SERIES, 'Delete a series', series);
export const deleteInstance = remove('deleteInstance', INSTANCE, 'Delete an instance', instance);
