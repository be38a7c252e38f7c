import { z } from 'zod';
import { uid } from './dicom-web.ts';
import { type Answer, defineOperation } from './operation.ts';

const params = z.object({ transactionUID: uid.describe('Transaction UID, which the client makes') });
const query = z.object({
  accept: z.string().optional().describe('media ranges that count instead of the Accept header (PS3.18 §8.3.3.1)'),
});
const PATH = '/dicom-web/commitment-requests/{transactionUID}';
const result = z
  .record(z.string(), z.unknown())
  .describe('Storage Commitment Response Module (PS3.18 J.2)')
  .meta({
    examples: [
      {
        '00081199': {
          vr: 'SQ',
          Value: [
            {
              '00081150': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.2'] },
              '00081155': { vr: 'UI', Value: ['1.2.826.0.1.3680043.8.498.3'] },
            },
          ],
        },
      },
    ],
  });
const answers: Record<number, Answer> = {
  200: {
    description: 'What is kept safe, and what is not and why',
    content: { 'application/dicom+json': result, 'application/json': result, 'application/dicom+xml': null },
  },
  202: { description: 'Not decided yet: check again', headers: { 'Retry-After': 'seconds' } },
};

export const requestCommitment = defineOperation({
  id: 'requestCommitment',
  tag: 'DICOMweb',
  method: 'POST',
  path: PATH,
  summary: 'Request storage commitment',
  description:
    'For the instances of Referenced SOP Sequence (0008,1199), each with Referenced SOP Class UID (0008,1150) and Referenced ' +
    'SOP Instance UID (0008,1155). What committed means is DAGPACS_COMMIT_AFTER, as with DIMSE.',
  params,
  query,
  body: ['application/dicom+json', 'application/json', 'application/dicom+xml'],
  answers: { ...answers, 409: { description: 'The Transaction UID is in use' } },
});
export const checkCommitment = defineOperation({
  id: 'checkCommitment',
  tag: 'DICOMweb',
  method: 'GET',
  path: PATH,
  summary: 'Check the result of a request for storage commitment',
  description: 'For a week after the request.',
  params,
  query,
  answers,
});
