import type { Index } from '../../ports/index.ts';
import { Additions } from './additions.ts';
import { BatchTable, batchReads } from './batches.ts';
import { Checkpoints } from './checkpoints.ts';
import { Conditions } from './conditions.ts';
import { ConfirmationTable, confirmationReads } from './confirmations.ts';
import { openDatabase } from './database.ts';
import { openKeyValues } from './key-values.ts';
import { COLUMN_KEYS } from './keys.ts';
import { type IndexOptions, indexDefaults } from './options.ts';
import { runQuery } from './query.ts';
import { WriteQueue } from './queue.ts';
import { scanReads } from './scan.ts';
import { readState, StateRow } from './state.ts';
import { versionReads } from './versions.ts';

/**
 * Opens the index in `<dataDir>/index.sqlite`. One that is damaged or of another version is set aside and begun anew, with
 * the cursor at the log's start. Errors of the database are DagpacsError `storage-failed`.
 */
export function openIndex(options: IndexOptions): Index {
  const { path, writer, reader } = openDatabase(options);
  const keyValues = openKeyValues(writer, options.keys ?? [], options.log);
  const conditions = new Conditions(new Map([...keyValues.keys, ...COLUMN_KEYS]));
  const state = new StateRow(writer);
  const additions = new Additions(writer, state, keyValues);
  const batches = new BatchTable(writer, state);
  const confirmations = new ConfirmationTable(writer, batches);
  const checkpoints = new Checkpoints(
    path,
    writer,
    options.checkpointPages ?? indexDefaults.checkpointPages,
    options.log,
  );

  const queue = new WriteQueue(writer, {
    flush() {
      additions.flush();
      state.flush();
    },
    ready: () => checkpoints.ready,
    committed: () => checkpoints.committed(),
    rolledBack() {
      additions.forget();
      state.forget();
    },
  });

  return {
    ...versionReads(reader),
    ...batchReads(reader),
    ...scanReads(reader),
    ...confirmationReads(reader),

    cursor() {
      const { pack, offset } = readState(reader);
      return { pack, offset };
    },
    add: (list, durable) =>
      queue.submit(
        () => {
          for (const addition of list) additions.add(addition);
        },
        durable,
        (end) => end && state.moveTo(end),
      ),
    addBatch: (batch, nodes, studies, next) =>
      queue.submit(() => {
        batches.add(batch, nodes, studies);
        state.moveTo(next);
      }),

    query: (query) => runQuery(reader, conditions, query),

    addTransaction: (id, transaction) => queue.now(() => batches.addTransaction(id, transaction), true),
    setAnchored: (id, anchored) => queue.now(() => batches.setAnchored(id, anchored)),
    setAllAnchored: (changes) =>
      queue.now(() => {
        for (const { id, anchored } of changes) batches.setAnchored(id, anchored);
      }),
    setFinal: (id, at) => queue.now(() => batches.setFinal(id, at)),
    confirm: (id, confirmation, copies) => queue.now(() => confirmations.confirm(id, confirmation, copies)),
    withdraw: (ids, node, copies) => queue.now(() => confirmations.withdraw(ids, node, copies)),
    setCopies: (copies) => queue.now(() => confirmations.setCopies(copies)),

    counts() {
      const { studies, series, instances, versions, replicated, anchored, final } = readState(reader);
      const stored = versions - replicated - anchored - final;
      return { studies, series, instances, versions, stored, replicated, anchored, final };
    },
    waiting() {
      const { pending } = readState(reader);
      const inBatches = (unfinished: 'block_number' | 'replicated_at') =>
        Number(reader.get(`SELECT coalesce(sum(count), 0) AS n FROM batches WHERE ${unfinished} IS NULL`)?.n);
      return {
        unanchored: pending + inBatches('block_number'),
        unreplicated: pending + inBatches('replicated_at'),
      };
    },
    getValue(name) {
      const row = reader.get('SELECT value FROM named_values WHERE name = ?', name);
      return row && String(row.value);
    },
    setValue: (name, value) =>
      queue.now(() => {
        writer.run('INSERT OR REPLACE INTO named_values (name, value) VALUES (?, ?)', name, value);
      }),

    async close() {
      await queue.idle();
      await checkpoints.close();
      reader.close();
      writer.close();
    },
  };
}
