import { type Cid, cidFromBytes } from '../../ipld/cid.ts';
import type { Index, Scanned } from '../../ports/index.ts';
import type { Hex } from '../../ports/ledger.ts';
import type { Connection } from './database.ts';

/** Reads for those who go through everything. */
export function scanReads(reader: Connection): Pick<Index, 'knownNodes' | 'scan'> {
  return {
    knownNodes: (nodes: readonly Cid[]) =>
      nodes.filter((node) => reader.get('SELECT 1 FROM versions WHERE node = ?', node.bytes) !== undefined),
    scan(after: number, limit: number): Scanned[] {
      const sql = `SELECT v.id, v.node, v.object, (SELECT b.hash FROM batches b WHERE b.id = v.batch) AS batch, (SELECT group_concat(c.node) FROM confirmations c WHERE c.batch = v.batch)
        AS holders FROM versions v WHERE v.id > ? ORDER BY v.id LIMIT ?`;
      return reader.all(sql, after, limit).map(({ id, node, object, batch, holders }) => ({
        number: id as number,
        node: cidFromBytes(node as Uint8Array),
        object: cidFromBytes(object as Uint8Array),
        ...(batch !== null && { batch: batch as Hex }),
        confirmedBy: holders === null ? [] : (holders as string).split(','),
      }));
    },
  };
}
