import { z } from 'zod';
import type { BatchCustody, CustodyStatus, InstanceCustody, VersionReceipt } from '../../../flows/serve/custody.ts';
import type { Receipt, StudyReceipt } from '../../../proof/receipt.ts';
import { uid } from './dicom-web.ts';
import { defineOperation, none } from './operation.ts';
import { scrubStatus } from './scrub.ts';

const time = z
  .string()
  .describe('ISO 8601, UTC')
  .meta({ examples: ['2026-01-31T12:00:00.000Z'] });
const hex = z.templateLiteral(['0x', z.string()]).meta({ examples: [`0x${'ab'.repeat(20)}`] });
const count = z.int().min(0);
const stage = z.enum(['stored', 'replicated', 'anchored', 'final']);

const block = z.object({ number: count, hash: hex, time });
const nodeState = {
  state: z.enum(['off', 'starting', 'connected', 'unreachable']),
  node: z.string().exactOptional().describe('peer identity'),
  peers: count,
  reason: z.string().exactOptional(),
};
const confirmations = z
  .array(z.object({ node: z.string().describe('peer identity'), at: time }))
  .describe('the nodes that hold it pinned');
const statusSchema = z.object({
  counts: z.object({ studies: count, series: count, instances: count, versions: count }),
  stages: z.record(stage, count).describe('versions per furthest stage'),
  outbox: z
    .object({
      pending: count.describe('versions in no batch yet'),
      waiting: count.describe('versions that are not anchored, in a batch or not'),
      limit: count.describe('versions that may wait for their anchor, or their replica, before new ones are refused'),
      oldest: time.nullable().describe('when the oldest that is in no batch was received'),
      problem: z.string().nullable().describe('why anchoring does not go on'),
    })
    .describe('what waits for its anchor'),
  chain: z.object({
    state: z.enum(['starting', 'connected', 'unreachable', 'mismatch']),
    chainId: z.int().exactOptional(),
    contract: hex.exactOptional(),
    sender: hex.exactOptional(),
    head: block.exactOptional(),
    reason: z.string().exactOptional(),
    url: z.string().exactOptional().describe("JSON-RPC of the bridge's own chain"),
  }),
  swarm: z.object({
    ...nodeState,
    nodes: z.array(
      z.object({
        name: z.string().describe('its address, or `child`'),
        ...nodeState,
        since: time.exactOptional(),
        problem: z.string().exactOptional().describe('what failed last, until something succeeds'),
      }),
    ),
    copies: count.describe('nodes that must hold an instance pinned for it to be replicated'),
    waiting: count.describe('versions that are not replicated'),
    problem: z.string().nullable().describe('why batches cannot be replicated that no node is to blame for'),
    owed: z
      .array(z.object({ node: z.string().describe('peer identity'), batches: count }))
      .describe('nodes that were not reached since something was erased, and batches that they hold with it'),
    reads: z
      .object({ fetched: count, repaired: count, failed: count })
      .describe('blocks that could not be read here as they should be, since the start: missing, damaged, lost'),
  }),
  scrub: scrubStatus,
  disk: z.object({ packs: count, blocks: count, bytes: count, free: count }),
}) satisfies z.ZodType<CustodyStatus>;

const anchored = z.object({
  chainId: z.int(),
  contract: z.string(),
  institution: z.string().describe('the account that anchored it'),
  transactionHash: z.string(),
  blockNumber: count,
  blockTime: time,
});
const versionSchema = z.object({
  version: z.int().min(1),
  sha256: z.string().describe('of the received bytes'),
  size: count,
  transferSyntaxUID: z.string(),
  cid: z.string().describe('of the sealed object'),
  receivedAt: time,
  receivedFrom: z.string(),
  stage,
  stages: z.record(stage, time.nullable()),
  confirmations,
  rejection: z
    .object({
      at: time,
      by: z.string().describe('who asked'),
      reason: z.enum(['113001', '113037', '113038', '113039', 'unspecified']).describe('code of DCM (PS3.16 CID 7011)'),
      note: z.string().describe('SOP Instance UID of the rejection note, which has custody and receipts of its own'),
    })
    .exactOptional()
    .describe('present where it was deleted: hidden from query and retrieval'),
  anchor: anchored
    .extend({ batch: z.string(), record: z.string(), merkleRoot: z.string(), leafIndex: count })
    .exactOptional(),
});
const instanceSchema = z.object({
  studyInstanceUID: z.string(),
  seriesInstanceUID: z.string(),
  sopInstanceUID: z.string(),
  versions: z.array(versionSchema).describe('oldest first'),
}) satisfies z.ZodType<InstanceCustody>;
const batchSchema = z.object({
  id: z.string(),
  sequence: count,
  record: z.string().describe("CID of the batch's record"),
  merkleRoot: z.string(),
  previousRoot: z.string(),
  count,
  closedAt: time,
  replicatedAt: time.nullable(),
  confirmations,
  finalAt: time.nullable(),
  transactions: z.array(z.string()),
  anchor: anchored.extend({ blockHash: z.string() }).nullable(),
}) satisfies z.ZodType<BatchCustody>;

const bytes32 = hex
  .describe('32 bytes: 0x and 64 hexadecimal digits in lower case')
  .meta({ examples: [`0x${'ab'.repeat(32)}`] });
const openedLeaf = {
  digest: bytes32.describe('SHA-256 of the received bytes'),
  salt: bytes32.describe('of this leaf alone'),
  node: z.string().describe('CID of the instance node'),
  leafIndex: count,
  path: z.array(bytes32).describe('siblings from the leaf up (RFC 9162 §2.1.3.1)'),
};
const batchHeader = z.object({
  sequence: count.describe("0 for the institution's first batch"),
  previousRoot: bytes32,
  merkleRoot: bytes32,
  count: count.describe('leaves of the tree'),
  record: z.string().describe("CID of the record; its digest is the batch's id"),
});
const anchorPlace = z.object({
  chainId: count,
  contract: hex.describe('20 bytes'),
  institution: hex.describe('20 bytes: the account that anchored it'),
  transactionHash: bytes32,
  blockNumber: count,
  blockHash: bytes32,
  blockTime: time,
});
const reference = bytes32.describe("the study's name on the chain");
const receiptSchema = z.object({
  type: z.literal('dagpacs/receipt'),
  v: z.literal(1),
  reference,
  ...openedLeaf,
  batch: batchHeader,
  anchor: anchorPlace,
}) satisfies z.ZodType<Receipt>;
const studyReceiptSchema = z.object({
  type: z.literal('dagpacs/study-receipt'),
  v: z.literal(1),
  reference,
  total: count.describe('what the last batch says: leaves of the study up to it'),
  batches: z.array(z.object({ batch: batchHeader, anchor: anchorPlace })).describe('ascending'),
  leaves: z.array(z.object({ ...openedLeaf, of: count.describe('place in `batches`') })),
}) satisfies z.ZodType<StudyReceipt>;
const historySchema = z.array(
  z.object({
    version: z.int().min(1),
    receivedAt: time,
    sha256: z.string(),
    receipt: receiptSchema.nullable().describe('null while the version is not anchored'),
  }),
) satisfies z.ZodType<VersionReceipt[]>;

const tag = 'Custody' as const;
const json = (description: string, schema: z.ZodType) => ({
  200: { description, content: { 'application/json': schema } },
});
const versionNumber = z.coerce
  .number('a whole number from 1')
  .int('a whole number from 1')
  .min(1, 'a whole number from 1')
  .describe('1 for the first bytes received');
const instance = z.object({ sopInstanceUID: uid.describe('SOP Instance UID') });

export const custodyStatus = defineOperation({
  id: 'custodyStatus',
  tag,
  method: 'GET',
  path: '/custody/status',
  summary: 'Counts per stage, outbox, chain, swarm and disk',
  params: none,
  query: none,
  answers: json('The state of the bridge', statusSchema),
});
export const instanceCustody = defineOperation({
  id: 'instanceCustody',
  tag,
  method: 'GET',
  path: '/custody/instances/{sopInstanceUID}',
  summary: "An instance's versions, their stages and anchors",
  params: instance,
  query: none,
  answers: json('What is known of the instance', instanceSchema),
});
export const retrieveVersion = defineOperation({
  id: 'retrieveVersion',
  tag,
  method: 'GET',
  path: '/custody/instances/{sopInstanceUID}/versions/{version}',
  summary: 'The received bytes of one version',
  params: instance.extend({ version: versionNumber }),
  query: none,
  headers: { Range: 'one range of bytes (RFC 9110 §14)' },
  answers: {
    200: { description: 'A DICOM Part 10 file', content: { 'application/dicom': null } },
    304: { description: 'As the client has it already (If-None-Match, If-Modified-Since)' },
  },
});
export const instanceReceipt = defineOperation({
  id: 'instanceReceipt',
  tag,
  method: 'GET',
  path: '/custody/instances/{sopInstanceUID}/receipt',
  summary: 'What proves a version against its anchor (docs/receipt.md)',
  params: instance,
  query: z.object({ version: versionNumber.optional() }),
  answers: json('The receipt; 404 `not-anchored` before there is one', receiptSchema),
});
export const instanceReceipts = defineOperation({
  id: 'instanceReceipts',
  tag,
  method: 'GET',
  path: '/custody/instances/{sopInstanceUID}/receipts',
  summary: 'Every version with its time, digest and receipt',
  params: instance,
  query: none,
  answers: json('The versions, oldest first', historySchema),
});
export const studyReceipt = defineOperation({
  id: 'studyReceipt',
  tag,
  method: 'GET',
  path: '/custody/studies/{studyInstanceUID}/receipt',
  summary: 'What proves all versions of a study, and that there are no more (docs/receipt.md)',
  params: z.object({ studyInstanceUID: uid.describe('Study Instance UID') }),
  query: z.object({
    until: z.coerce
      .number('a whole number from 0')
      .int('a whole number from 0')
      .min(0, 'a whole number from 0')
      .optional()
      .describe("a batch's sequence number; default: the last that is anchored"),
  }),
  answers: json('The receipt; 404 `not-anchored` before there is one', studyReceiptSchema),
});
export const listBatches = defineOperation({
  id: 'listBatches',
  tag,
  method: 'GET',
  path: '/custody/batches',
  summary: 'Batches, newest first',
  params: none,
  query: z.object({
    limit: z.coerce
      .number('a whole number from 1 to 1000')
      .int('a whole number from 1 to 1000')
      .min(1, 'a whole number from 1 to 1000')
      .max(1000, 'a whole number from 1 to 1000')
      .default(100)
      .describe('batches at most'),
    before: z.coerce
      .number('a whole number from 0')
      .int('a whole number from 0')
      .min(0, 'a whole number from 0')
      .optional()
      .describe('only batches with a lower sequence number'),
  }),
  answers: json('The batches', z.array(batchSchema)),
});
export const batchCustody = defineOperation({
  id: 'batchCustody',
  tag,
  method: 'GET',
  path: '/custody/batches/{id}',
  summary: 'One batch',
  params: z.object({
    id: z
      .string()
      .regex(/^0x[0-9a-f]{64}$/, '0x and 64 hexadecimal digits in lower case')
      .describe("the batch's id")
      .meta({ examples: [`0x${'ab'.repeat(32)}`] }),
  }),
  query: none,
  answers: json('The batch', batchSchema),
});
