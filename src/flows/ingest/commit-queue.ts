import type { Cid } from '../../ipld/cid.ts';
import { diskFull, isDiskFull } from '../../kernel/disk-full.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { BlockStore, Position } from '../../ports/blocks.ts';
import type { Addition, Index } from '../../ports/index.ts';

/** A dag-cbor block for the log, and what the index does once it is there. */
type Entry = {
  /** Resolves to the log's end after it when it, and all that it needs, is durable. */
  durable: Promise<Position>;
  resolve(): void;
  reject(error: unknown): void;
} & ({ addition: Addition } | { addBatch(next: Position): Promise<void> });

/** Additions that one index transaction takes. */
const GROUP = 64;

/**
 * The order of the log is the order of the index: instance nodes and records are appended, made durable and indexed one
 * after the other, those that wait together as one group. So the index's cursor never passes a node that it does not hold.
 */
export class CommitQueue {
  readonly #blocks: BlockStore;
  readonly #index: Index;
  #waiting: Entry[] = [];
  #running: Promise<void> | undefined;
  readonly #catchUp: () => Promise<unknown>;
  /** The index failed: its cursor must not pass what it missed, so nothing more is added before it has caught up. */
  #behind = false;

  /** @param modules `catchUp` brings the index to the end of the log. */
  constructor(modules: { blocks: BlockStore; index: Index; catchUp: () => Promise<unknown> }) {
    this.#blocks = modules.blocks;
    this.#index = modules.index;
    this.#catchUp = modules.catchUp;
  }

  /**
   * Appends an instance node whose blocks are `written`; resolves when all are durable and its version is indexed.
   * @throws DagpacsError `storage-failed`
   */
  version(node: { cid: Cid; bytes: Uint8Array }, written: Promise<void>, addition: Addition): Promise<void> {
    return this.#enqueue(node, written, { addition });
  }

  /** Appends a record; resolves when it is durable and `addBatch` has indexed it. @throws DagpacsError `storage-failed` */
  record(record: { cid: Cid; bytes: Uint8Array }, addBatch: (next: Position) => Promise<void>): Promise<void> {
    return this.#enqueue(record, Promise.resolve(), { addBatch });
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  #enqueue(
    block: { cid: Cid; bytes: Uint8Array },
    written: Promise<void>,
    work: { addition: Addition } | { addBatch(next: Position): Promise<void> },
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const append = this.#blocks.append(block.cid, [block.bytes]);
      // Asked for in the same turn, so that the disk writes and syncs at once while others are received.
      const durable = Promise.all([append, written, this.#blocks.commit()]).then(([end]) => end);
      // Its failure is handled where the group awaits it.
      durable.catch(() => undefined);
      this.#waiting.push({ durable, resolve, reject, ...work });
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    await undefined;
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        if (this.#behind) await this.#indexing(this.#catchUp());
        this.#behind = false;
        const first = group[0] as Entry;
        if ('addBatch' in first) {
          const next = await first.durable;
          await this.#indexing(first.addBatch(next));
        } else {
          await this.#addVersions(group);
        }
        for (const entry of group) entry.resolve();
      } catch (error) {
        for (const entry of group) entry.reject(error);
      }
    }
    this.#running = undefined;
  }

  /** The longest run of versions at the head, or the one record that stands there. */
  #takeGroup(): Entry[] {
    let count = 0;
    while (count < Math.min(GROUP, this.#waiting.length) && 'addition' in (this.#waiting[count] as Entry)) count += 1;
    return this.#waiting.splice(0, Math.max(1, count));
  }

  /** The rows are written while the disk writes and syncs, and committed only after it has. */
  async #addVersions(group: Entry[]): Promise<void> {
    const additions = group.flatMap((entry) => ('addition' in entry ? [entry.addition] : []));
    const durable = Promise.all(group.map((entry) => entry.durable)).then((ends) => ends.at(-1));
    await this.#indexing(this.#index.add(additions, durable));
  }

  async #indexing(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#behind = true;
      if (isDagpacsError(error)) throw error;
      if (isDiskFull(error)) throw diskFull(error);
      throw new DagpacsError('storage-failed', 'the index could not be written', {}, { cause: error });
    }
  }
}
