import type { Cid } from '../../ipld/cid.ts';
import type { RecordNode } from '../../ipld/nodes.ts';
import type { Batch } from '../../ports/index.ts';
import type { Hex } from '../../ports/ledger.ts';

/** A batch as its record tells it. */
export type RecordedBatch = Omit<Batch, 'transactions' | 'confirmations'>;

export function toHex(bytes: Uint8Array): Hex {
  return `0x${Buffer.from(bytes).toString('hex')}`;
}

export function fromHex(hex: Hex): Buffer {
  return Buffer.from(hex.slice(2), 'hex');
}

/** The batch that a record makes; its id is the record's own digest. */
export function toBatch(record: Cid, node: RecordNode): RecordedBatch {
  return {
    id: toHex(record.multihash.digest),
    record,
    sequence: node.sequence,
    previousRoot: toHex(node.previousRoot),
    merkleRoot: toHex(node.merkleRoot),
    closedAt: node.closedAt,
    count: node.leaves.length,
    studies: node.studies.map(([reference, total]) => ({ reference: toHex(reference), total })),
  };
}
