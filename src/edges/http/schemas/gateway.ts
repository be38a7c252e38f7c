import { z } from 'zod';
import { type Answer, defineOperation } from './operation.ts';

export const RAW = 'application/vnd.ipld.raw';
export const CAR = 'application/vnd.ipld.car';

const END = '*';
const RANGE = /^(-?\d{1,15}):(-?\d{1,15}|\*)$/;
const rangeRule = 'FROM:TO, both inclusive, negative from the end, TO also *; FROM not after TO';

const query = z.object({
  format: z.string().optional().describe('`raw` (the block) or `car` (a CARv1 stream); goes before what Accept says'),
  'dag-scope': z
    .enum(['block', 'entity', 'all'], 'block, entity or all')
    .optional()
    .describe('of a CAR: the last block, what the last entity needs, or all below it (the default)'),
  'entity-bytes': z
    .string()
    .regex(RANGE, rangeRule)
    .refine(isOrdered, rangeRule)
    .optional()
    .describe(`of a CAR: the bytes of a sealed object that its blocks are wanted for: ${rangeRule}`),
  'car-version': z.enum(['1'], '1').optional().describe('goes before what Accept says'),
  'car-order': z.enum(['dfs', 'unk'], 'dfs or unk').optional().describe('blocks always come depth first'),
  'car-dups': z
    .enum(['y', 'n'], 'y or n')
    .optional()
    .describe('`y`: a block that occurs more than once is sent each time'),
  filename: z.string().max(255).optional().describe('for Content-Disposition'),
  download: z.string().optional().describe('blocks are always an attachment'),
});

export type GatewayQuery = z.output<typeof query>;

function isOrdered(text: string): boolean {
  const [from = 0, to = 0] = text.split(':').map(Number);
  return text.endsWith(END) || from < 0 !== to < 0 || from <= to;
}

/** What `entity-bytes` says. */
export function readRange(text: string): { from: number; to: number | undefined } {
  const [from = '', to = ''] = text.split(':');
  return { from: Number(from), to: to === END ? undefined : Number(to) };
}

const cid = z
  .string()
  .describe('CID; `bafkqaaa` answers any client that asks whether this is a gateway')
  .meta({ examples: ['bafkqaaa'] });
const fieldPath = z
  .string()
  .describe('field names, and places in lists')
  .meta({ examples: ['leaves/0/object'] });
const headers = {
  Accept: `\`${RAW}\`, or \`${CAR}\` with \`version=1\`, \`order=dfs\`, \`dups=y|n\``,
  'If-None-Match': 'ETags that the client has',
  'Cache-Control': '`only-if-cached`: 412 where the first block is not on this machine',
};
const answered: Answer = {
  description:
    'Bytes to be verified by the client: the block, or the CAR stream, which is cut where a block is missing',
  content: { [RAW]: null, [CAR]: null },
  headers: {
    ETag: 'of this form of the content',
    'Cache-Control': '`public, max-age=29030400, immutable`',
    'Content-Disposition': 'attachment',
    'X-Ipfs-Path': 'what was asked for',
    'X-Ipfs-Roots': 'the CIDs along the path',
  },
};
const answers = {
  200: answered,
  206: { description: 'A range of a block', content: { [RAW]: null } },
  304: { description: 'The client has it' },
};

export const gatewayBlock = defineOperation({
  id: 'ipfs',
  tag: 'IPFS',
  method: 'GET',
  path: '/ipfs/{cid}',
  summary: 'A sealed block or record, or the CAR of all below it',
  description: 'IPFS trustless gateway: https://specs.ipfs.tech/http-gateways/trustless-gateway/. See DAGPACS_GATEWAY.',
  params: z.object({ cid }),
  query,
  headers: { ...headers, Range: 'one range of the bytes of a block' },
  answers,
});
export const gatewayPath = defineOperation({
  id: 'ipfsPath',
  tag: 'IPFS',
  method: 'GET',
  path: '/ipfs/{cid}/{path...}',
  summary: 'The CAR of what a path leads to',
  description: 'Such as `leaves/0/object` below a record. The blocks along the path come first.',
  params: z.object({ cid, path: fieldPath }),
  query,
  headers,
  answers: { 200: answered, 304: answers[304] },
});
