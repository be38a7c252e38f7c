import { z } from 'zod';
import type { TransferProgress } from '../../../flows/serve/transfer.ts';
import { uid } from './dicom-web.ts';
import { defineOperation, none } from './operation.ts';

const count = z.int().min(0);
const step = z.object({
  remaining: count,
  completed: count,
  failed: count,
  warning: count.describe('stored by the receiver, with a warning'),
  failedUIDs: z.array(z.string()).describe('SOP Instance UIDs of what failed'),
}) satisfies z.ZodType<TransferProgress>;

const aeTitle = z
  .string()
  .min(1)
  .max(16)
  .describe('its AE title')
  .meta({ examples: ['WORKSTATION'] });

export const echo = defineOperation({
  id: 'echo',
  tag: 'DIMSE',
  method: 'POST',
  path: '/dimse/{aeTitle}/echo',
  summary: 'Verify an application entity by C-ECHO',
  description: 'One of DAGPACS_AE_PEERS. 502 where it does not answer, with what it said.',
  params: z.object({ aeTitle }),
  query: none,
  answers: {
    200: {
      description: 'It answered',
      content: { 'application/json': z.object({ milliseconds: z.number().describe('from connecting to the answer') }) },
    },
  },
});

export const send = defineOperation({
  id: 'send',
  tag: 'DIMSE',
  method: 'POST',
  path: '/dimse/{aeTitle}/send',
  summary: 'Send a study, series or instance by C-STORE',
  description: 'To an application entity of DAGPACS_AE_PEERS. Closing the connection ends the sending.',
  params: z.object({ aeTitle }),
  query: z.strictObject({
    StudyInstanceUID: uid,
    SeriesInstanceUID: uid.optional(),
    SOPInstanceUID: uid.optional().describe('only with SeriesInstanceUID'),
  }),
  answers: {
    200: {
      description: 'Lines of JSON: how it stands while it goes on, and at last how it ended',
      content: { 'application/x-ndjson': step },
    },
  },
});
