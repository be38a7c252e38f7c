import { NOTE_ORIGIN } from '../../dicom/rejection-note.ts';
import { type Cid, cidFromBytes } from '../../ipld/cid.ts';
import type { Batch, Custody, Index, Rejection, Version } from '../../ports/index.ts';
import type { Anchored, Hex, SignedTransaction } from '../../ports/ledger.ts';
import type { Connection, Row } from './database.ts';
import type { StateRow } from './state.ts';
import { historyRows, toVersion, VERSIONS } from './versions.ts';

/** The counters that a batch's versions are counted under; `stored` has none of its own. */
function stageOf(row: Row): 'final' | 'anchored' | 'replicated' | undefined {
  if (row.final_at !== null) return 'final';
  if (row.block_number !== null) return 'anchored';
  return row.replicated_at !== null ? 'replicated' : undefined;
}

/** Batches as the open transaction of the writer sees them. */
export class BatchTable {
  readonly #writer: Connection;
  readonly #state: StateRow;

  constructor(writer: Connection, state: StateRow) {
    this.#writer = writer;
    this.#state = state;
  }

  /** See {@link Index.addBatch}; the cursor is the caller's. A node that is not held leaves its leaf without a version. */
  add(batch: Omit<Batch, 'transactions' | 'studies' | 'confirmations'>, nodes: Cid[], studies: Batch['studies']): void {
    const row = this.#writer.insert(
      `INSERT INTO batches (hash, sequence, record, previous_root, merkle_root, closed_at, count, linked)
        VALUES (?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT (hash) DO NOTHING`,
      batch.id,
      batch.sequence,
      batch.record.bytes,
      batch.previousRoot,
      batch.merkleRoot,
      batch.closedAt,
      batch.count,
    );
    if (row === 0) return;
    for (const [place, { reference, total }] of studies.entries()) {
      const sql = 'INSERT INTO batch_studies (batch, place, reference, total) VALUES (?, ?, ?, ?)';
      this.#writer.run(sql, row, place, reference, total);
    }
    const linked = this.#link(row, batch.sequence, nodes);
    this.#writer.run('UPDATE batches SET linked = ? WHERE id = ?', linked, row);
    this.#state.change('pending', -linked);
    if (batch.anchored) this.setAnchored(batch.id, batch.anchored);
    if (batch.finalAt !== undefined) this.setFinal(batch.id, batch.finalAt);
  }

  #link(row: number, sequence: number, nodes: Cid[]): number {
    const perSeries = new Map<number, number>();
    for (const [leaf, node] of nodes.entries()) {
      const version = this.#writer.get(
        'UPDATE versions SET batch = ?, leaf = ? WHERE node = ? AND batch IS NULL RETURNING series',
        row,
        leaf,
        node.bytes,
      );
      if (version) perSeries.set(Number(version.series), (perSeries.get(Number(version.series)) ?? 0) + 1);
    }
    let linked = 0;
    for (const [series, count] of perSeries) {
      linked += count;
      this.#writer.run(
        `INSERT INTO study_batches (study, sequence, batch, count) VALUES ((SELECT study FROM series WHERE id = ?), ?, ?, ?)
          ON CONFLICT DO UPDATE SET count = count + excluded.count`,
        series,
        sequence,
        row,
        count,
      );
    }
    return linked;
  }

  addTransaction(id: Hex, transaction: SignedTransaction): void {
    this.#writer.run(
      `INSERT INTO transactions (batch, nonce, hash, raw) SELECT id, ?, ?, ? FROM batches WHERE hash = ?
        ON CONFLICT (batch, hash) DO NOTHING`,
      transaction.nonce,
      transaction.hash,
      transaction.raw,
      id,
    );
  }

  /** Taking an anchor back takes its finality back. */
  setAnchored(id: Hex, anchored: Anchored | undefined): void {
    this.#update(
      id,
      'transaction_hash = ?, block_number = ?, block_hash = ?, block_time = ?, final_at = iif(?2 IS NULL, NULL, final_at)',
      anchored?.transactionHash ?? null,
      anchored?.blockNumber ?? null,
      anchored?.blockHash ?? null,
      anchored?.blockTime ?? null,
    );
  }

  setFinal(id: Hex, at: string): void {
    this.#update(id, 'final_at = ?', at);
  }

  /** With null it is not replicated any more. */
  setReplicated(id: Hex, at: string | null): void {
    this.#update(id, 'replicated_at = ?', at);
  }

  #update(id: Hex, assignments: string, ...values: (string | number | null)[]): void {
    const before = this.#writer.get('SELECT * FROM batches WHERE hash = ?', id);
    if (!before) return;
    const after = this.#writer.get(
      `UPDATE batches SET ${assignments} WHERE id = ?${values.length + 1} RETURNING *`,
      ...values,
      before.id as number,
    );
    const linked = Number(before.linked);
    const from = stageOf(before);
    const to = after && stageOf(after);
    if (from) this.#state.change(from, -linked);
    if (to) this.#state.change(to, linked);
  }
}

function rejectionOf(reader: Connection, id: number): Rejection {
  const row = reader.get(
    `SELECT r.reason, v.received_at, v.received_from, i.uid FROM rejections r JOIN versions v ON v.id = r.id
      JOIN instances i ON i.id = v.instance WHERE r.id = ?`,
    id,
  );
  return {
    at: String(row?.received_at),
    by: String(row?.received_from).slice(NOTE_ORIGIN.length),
    reason: String(row?.reason) as Rejection['reason'],
    note: String(row?.uid),
  };
}

const UNFINISHED = {
  anchor: 'block_number IS NULL',
  final: 'block_number IS NOT NULL AND final_at IS NULL',
  replicate: 'replicated_at IS NULL',
};

export type BatchReads = Pick<
  Index,
  | 'batch'
  | 'batches'
  | 'lastBatch'
  | 'unfinished'
  | 'unconfirmed'
  | 'leaves'
  | 'leavesOfStudy'
  | 'batchedInStudy'
  | 'versions'
>;

/** What is read of batches. */
export function batchReads(reader: Connection): BatchReads {
  const toBatch = (row: Row): Batch => {
    const id = row.id as number;
    const batch: Batch = {
      id: row.hash as Hex,
      sequence: row.sequence as number,
      record: cidFromBytes(row.record as Uint8Array),
      previousRoot: row.previous_root as Hex,
      merkleRoot: row.merkle_root as Hex,
      closedAt: row.closed_at as string,
      count: row.count as number,
      studies: reader
        .all('SELECT reference, total FROM batch_studies WHERE batch = ? ORDER BY place', id)
        .map((study) => ({ reference: study.reference as Hex, total: study.total as number })),
      transactions: reader
        .all('SELECT nonce, hash, raw FROM transactions WHERE batch = ? ORDER BY id', id)
        .map(({ nonce, hash, raw }) => ({ nonce: nonce as number, hash: hash as Hex, raw: raw as Hex })),
      confirmations: reader
        .all('SELECT node, at FROM confirmations WHERE batch = ? ORDER BY at, node', id)
        .map(({ node, at }) => ({ node: node as string, at: at as string })),
    };
    if (row.replicated_at !== null) batch.replicatedAt = row.replicated_at as string;
    if (row.block_number !== null) {
      batch.anchored = {
        transactionHash: row.transaction_hash as Hex,
        blockNumber: row.block_number as number,
        blockHash: row.block_hash as Hex,
        blockTime: row.block_time as string,
      };
    }
    if (row.final_at !== null) batch.finalAt = row.final_at as string;
    return batch;
  };
  const one = (row: Row | undefined) => row && toBatch(row);

  return {
    versions(sopInstanceUID: string): Custody[] {
      return historyRows(reader, sopInstanceUID).map((row) => {
        const version = toVersion(row);
        const custody: Custody = { version, storedAt: version.receivedAt };
        const batch =
          row.batch === null ? undefined : one(reader.get('SELECT * FROM batches WHERE id = ?', row.batch as number));
        if (batch) {
          custody.batch = batch;
          custody.leafIndex = row.leaf as number;
        }
        if (row.rejected !== null) custody.rejection = rejectionOf(reader, Number(row.rejected));
        return custody;
      });
    },
    batchedInStudy(studyInstanceUID: string, sequence?: number): number {
      const row = reader.get(
        `SELECT total(count) AS n FROM study_batches WHERE study = (SELECT id FROM studies WHERE uid = ?) AND sequence <= ?`,
        studyInstanceUID,
        sequence ?? Number.MAX_SAFE_INTEGER,
      );
      return Number(row?.n);
    },
    leavesOfStudy(studyInstanceUID: string) {
      const sql = `${VERSIONS.replace(' FROM', ', b.hash FROM')} JOIN batches b ON b.id = v.batch WHERE s.uid = ?
        ORDER BY b.sequence, b.id, v.leaf`;
      return reader
        .all(sql, studyInstanceUID)
        .map((row) => ({ version: toVersion(row), batch: row.hash as Hex, leafIndex: row.leaf as number }));
    },
    batch: (id: Hex) => one(reader.get('SELECT * FROM batches WHERE hash = ?', id)),
    batches(limit: number, before?: number): Batch[] {
      const sql = 'SELECT * FROM batches WHERE sequence < ? ORDER BY sequence DESC, id DESC LIMIT ?';
      return reader.all(sql, before ?? Number.MAX_SAFE_INTEGER, limit).map(toBatch);
    },
    lastBatch: () => one(reader.get('SELECT * FROM batches ORDER BY sequence DESC, id DESC LIMIT 1')),
    unfinished(what: keyof typeof UNFINISHED, limit: number): Batch[] {
      const sql = `SELECT * FROM batches WHERE ${UNFINISHED[what]} ORDER BY sequence, id LIMIT ?`;
      return reader.all(sql, limit).map(toBatch);
    },
    unconfirmed(node: string, limit: number): Batch[] {
      const sql = `SELECT * FROM batches b WHERE replicated_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM confirmations c WHERE c.batch = b.id AND c.node = ?) ORDER BY sequence, id LIMIT ?`;
      return reader.all(sql, node, limit).map(toBatch);
    },
    leaves(id: Hex): Version[] {
      const sql = `${VERSIONS} WHERE v.batch = (SELECT id FROM batches WHERE hash = ?) ORDER BY v.leaf`;
      return reader.all(sql, id).map(toVersion);
    },
  };
}
