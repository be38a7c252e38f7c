import { type Cid, cidFromBytes } from '../../ipld/cid.ts';
import type { Confirmation, Index } from '../../ports/index.ts';
import type { Hex } from '../../ports/ledger.ts';
import type { BatchTable } from './batches.ts';
import type { Connection } from './database.ts';

/** Which nodes hold which batches, as the open transaction of the writer sees it. */
export class ConfirmationTable {
  readonly #writer: Connection;
  readonly #batches: BatchTable;

  constructor(writer: Connection, batches: BatchTable) {
    this.#writer = writer;
    this.#batches = batches;
  }

  confirm(id: Hex, { node, at }: Confirmation, copies: number): void {
    this.#writer.run(
      `INSERT INTO confirmations (batch, node, at) SELECT id, ?, ? FROM batches WHERE hash = ?
        ON CONFLICT (batch, node) DO NOTHING`,
      node,
      at,
      id,
    );
    this.#judge(id, copies);
  }

  withdraw(ids: readonly Hex[], node: string, copies: number): void {
    for (const id of ids) {
      const sql = 'DELETE FROM confirmations WHERE node = ? AND batch = (SELECT id FROM batches WHERE hash = ?)';
      this.#writer.run(sql, node, id);
      this.#judge(id, copies);
    }
  }

  setCopies(copies: number): void {
    const changed = this.#writer.all(
      `SELECT b.hash FROM batches b WHERE (b.replicated_at IS NOT NULL) <>
        ((SELECT count(*) FROM confirmations c WHERE c.batch = b.id) >= ?)`,
      copies,
    );
    for (const { hash } of changed) this.#judge(hash as Hex, copies);
  }

  /** A batch is replicated since the confirmation that made up the number. */
  #judge(id: Hex, copies: number): void {
    const row = this.#writer.get(
      `SELECT b.replicated_at AS known, (SELECT c.at FROM confirmations c WHERE c.batch = b.id ORDER BY c.at, c.node
        LIMIT 1 OFFSET ?) AS at FROM batches b WHERE b.hash = ?`,
      copies - 1,
      id,
    );
    if (!row || (row.known === null) === (row.at === null)) return;
    this.#batches.setReplicated(id, row.at as string | null);
  }
}

export type ConfirmationReads = Pick<Index, 'confirmedBy' | 'confirmingNodes' | 'replicatedObjects'>;

/** What is read of confirmations. */
export function confirmationReads(reader: Connection): ConfirmationReads {
  return {
    confirmedBy(node: string) {
      const sql = 'SELECT b.hash, b.record FROM confirmations c JOIN batches b ON b.id = c.batch WHERE c.node = ?';
      return reader
        .all(sql, node)
        .map(({ hash, record }) => ({ id: hash as Hex, record: cidFromBytes(record as Uint8Array) }));
    },
    confirmingNodes: () => reader.all('SELECT DISTINCT node FROM confirmations').map(({ node }) => node as string),
    replicatedObjects(nodes: readonly Cid[]) {
      const sql = `SELECT v.object FROM versions v JOIN batches b ON b.id = v.batch
        WHERE v.node = ? AND b.replicated_at IS NOT NULL`;
      return nodes.flatMap((node) => {
        const row = reader.get(sql, node.bytes);
        return row ? [{ node, object: cidFromBytes(row.object as Uint8Array) }] : [];
      });
    },
  };
}
