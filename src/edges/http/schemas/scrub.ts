import { z } from 'zod';
import type { ScrubReport, ScrubStatus } from '../../../flows/objects/scrub-report.ts';
import { defineOperation, none } from './operation.ts';

const count = z.int().min(0);
const time = z
  .string()
  .describe('ISO 8601, UTC')
  .meta({ examples: ['2026-01-31T12:00:00.000Z'] });

export const scrubReport = z.object({
  startedAt: time,
  finishedAt: time.nullable().describe('null while it goes on'),
  versions: count.describe('looked at'),
  ofVersions: count,
  blocks: count.describe('local blocks that were hashed and are right'),
  bytes: count,
  evicted: count.describe('blocks that were dropped here, since the swarm has them'),
  repaired: count.describe('local blocks that were missing or damaged and are put right'),
  missing: count.describe('local blocks that are missing, and that nobody could give'),
  damaged: count.describe('local blocks that are damaged, and that nobody could give'),
  remote: z
    .object({
      checked: count,
      restored: count.describe('blocks that a node lacked or held damaged, and was given again'),
      missing: count.describe('blocks that a node lacks'),
      damaged: count.describe('blocks that a node holds damaged'),
      pinsLost: count.describe('their batches are replicated again'),
      unreachable: count.describe('questions that no answer came to'),
    })
    .describe("blocks and pins on the swarm's nodes"),
  orphaned: z
    .object({ blocks: count, bytes: count })
    .nullable()
    .describe(
      'blocks that nothing refers to: of erased studies, and of uploads that were refused or broken off; null: not known yet',
    ),
  freed: count.describe('bytes of them that were deleted at the end of the pass'),
  problems: z
    .array(z.object({ cid: z.string(), where: z.string(), problem: z.enum(['missing', 'damaged']) }))
    .describe('the first 100; `where` is `local` or a node'),
}) satisfies z.ZodType<ScrubReport>;

export const scrubStatus = z
  .object({
    state: z.enum(['off', 'resting', 'running']),
    current: scrubReport.nullable(),
    last: scrubReport.nullable().describe('the last whole pass'),
  })
  .describe(
    'the verification of everything that is held, which goes on slowly in the background',
  ) satisfies z.ZodType<ScrubStatus>;

export const scrub = defineOperation({
  id: 'scrub',
  tag: 'Custody',
  method: 'POST',
  path: '/custody/scrub',
  summary: 'Verify everything that is held, now',
  description: 'From the start. It goes on where the connection is closed; a second request joins the first.',
  params: none,
  query: z.object({
    rate: z.coerce
      .number('a whole number from 0')
      .int('a whole number from 0')
      .min(0, 'a whole number from 0')
      .default(0)
      .describe('bytes a second; 0: as fast as it goes'),
  }),
  answers: {
    200: {
      description: 'Lines of JSON: how it stands while it goes on, and at last what it found',
      content: { 'application/x-ndjson': scrubReport },
    },
  },
});
