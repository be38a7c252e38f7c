import type { FileHandle } from 'node:fs/promises';
import { carHeader, sectionHead } from '../../ipld/car.ts';
import type { Cid } from '../../ipld/cid.ts';
import { diskFull, isDiskFull } from '../../kernel/disk-full.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Position } from '../../ports/blocks.ts';
import type { Locations } from './locations.ts';
import { createPack, type OpenPack, writeAll } from './pack-file.ts';

interface Append {
  cid: Cid;
  parts: Uint8Array[];
  length: number;
  resolve(end: Position): void;
  reject(error: Error): void;
}

interface Waiter {
  /** Number of the last append that must be durable. */
  target: number;
  resolve(): void;
  reject(error: Error): void;
}

/** Appends of one round go to the kernel in one call, up to about this many bytes. */
const ROUND_BYTES = 8 * 1024 * 1024;

/**
 * The only writer of the packs. Appends are written in the order of the calls, so that a crash can only cut the end off;
 * commits that wait at the same time share one sync. Where all that is not durable yet is written in one round, the round
 * is written through a descriptor that syncs what it writes: the disk need not wait for the event loop in between, which
 * may be busy with what other senders send.
 */
export class PackWriter {
  readonly #directory: string;
  readonly #packBytes: number;
  readonly #locations: Locations;
  #pack: number;
  #file: FileHandle;
  /** The same file, whose writes are durable when they return; where the system has that. */
  #synced: FileHandle | undefined;
  #end: number;
  readonly #onNewPack: (pack: number, file: FileHandle) => void;

  #queue: Append[] = [];
  #writing: Promise<void> | undefined;
  #appended = 0;
  #written = 0;
  #durable = 0;
  #waiters: Waiter[] = [];
  #syncing = false;
  /** After a failed fsync what the kernel still holds is unknown: nothing more is promised until a restart. */
  #broken: DagpacsError | undefined;

  constructor(
    options: { directory: string; packBytes: number },
    locations: Locations,
    current: OpenPack & { pack: number },
    onNewPack: (pack: number, file: FileHandle) => void,
  ) {
    this.#directory = options.directory;
    this.#packBytes = options.packBytes;
    this.#locations = locations;
    this.#pack = current.pack;
    this.#file = current.file;
    this.#synced = current.synced;
    this.#end = current.end;
    this.#onNewPack = onNewPack;
  }

  get position(): Position {
    return { pack: this.#pack, offset: this.#end };
  }

  append(cid: Cid, parts: Uint8Array[]): Promise<Position> {
    if (this.#broken) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
      this.#queue.push({ cid, parts, length, resolve, reject });
      this.#appended += 1;
      this.#writing ??= this.#writeQueue();
    });
  }

  commit(): Promise<void> {
    if (this.#broken) return Promise.reject(this.#broken);
    if (this.#durable >= this.#appended) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ target: this.#appended, resolve, reject });
      // Where something is still to be written, the writer looks at who waits when it is.
      if (this.#written === this.#appended) void this.#sync();
    });
  }

  async #writeQueue(): Promise<void> {
    // Appends of the same turn go out together, and know who waits for them.
    await undefined;
    while (this.#queue.length > 0) {
      const round = this.#takeRound();
      const synced = this.#mayWriteSynced() ? this.#synced : undefined;
      if (synced) this.#syncing = true;
      try {
        if (this.#end >= this.#packBytes) await this.#nextPack();
        await this.#write(round, synced && this.#synced);
      } catch (error) {
        const failure = storageFailed('append to a pack', error);
        for (const append of round) append.reject(failure);
      }
      this.#written += round.length;
      if (synced) {
        this.#syncing = false;
        this.#settle(this.#written, this.position);
      } else void this.#sync();
    }
    // In the same turn as the last look at the queue, or an append in between would find no writer.
    this.#writing = undefined;
  }

  /** Begins the next pack, so that all that was appended is in closed ones. @throws DagpacsError `storage-failed` */
  async turnOver(): Promise<void> {
    await this.commit();
    // What waits is written first, and what comes meanwhile is in the next one.
    while (this.#writing) await this.#writing;
    if (this.#broken) throw this.#broken;
    if (this.#end === carHeader().length) return;
    const turning = this.#nextPack();
    this.#writing = turning
      .catch(() => undefined)
      .then(() => {
        this.#writing = undefined;
        if (this.#queue.length > 0) this.#writing = this.#writeQueue();
      });
    await turning;
    this.#locations.settle(this.position);
  }

  /** Whether somebody waits for what is written next, and all before it is durable. */
  #mayWriteSynced(): boolean {
    return this.#waiters.length > 0 && !this.#syncing && this.#durable === this.#written;
  }

  #takeRound(): Append[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && (count === 0 || bytes < ROUND_BYTES)) {
      bytes += (this.#queue[count] as Append).length;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #write(round: Append[], synced: FileHandle | undefined): Promise<void> {
    const buffers: Uint8Array[] = [];
    const places: { cid: Cid; offset: number; length: number }[] = [];
    let end = this.#end;
    for (const { cid, parts, length } of round) {
      const head = sectionHead(cid, length);
      buffers.push(head, ...parts);
      places.push({ cid, offset: end + head.length, length });
      end += head.length + length;
    }
    try {
      await writeAll(synced ?? this.#file, buffers, this.#end);
    } catch (error) {
      if (synced && !isDiskFull(error)) this.#break('sync a pack', error);
      // A part of a section must not stay in the log, or what follows it could not be read.
      await this.#file.truncate(this.#end).catch((cause) => this.#break('cut back a pack', cause));
      throw error;
    }
    this.#end = end;
    for (const [i, { cid, offset, length }] of places.entries()) {
      this.#locations.add(cid, { pack: this.#pack, offset, length });
      round[i]?.resolve({ pack: this.#pack, offset: offset + length });
    }
  }

  async #nextPack(): Promise<void> {
    await this.#file.datasync();
    const { file, synced, end } = await createPack(this.#directory, this.#pack + 1);
    await this.#synced?.close();
    this.#pack += 1;
    this.#file = file;
    this.#synced = synced;
    this.#end = end;
    this.#onNewPack(this.#pack, file);
  }

  /** Syncs what is written as long as somebody waits for it. */
  async #sync(): Promise<void> {
    if (this.#syncing) return;
    this.#syncing = true;
    while (this.#waiters.some(({ target }) => target <= this.#written)) {
      const written = this.#written;
      const position = this.position;
      try {
        if (this.#broken) throw this.#broken;
        await this.#file.datasync();
      } catch (error) {
        this.#break('sync a pack', error);
      }
      this.#settle(written, position);
    }
    this.#syncing = false;
  }

  /** All of the first `written` appends is durable, up to `position`, or nothing is certain any more. */
  #settle(written: number, position: Position): void {
    if (!this.#broken) {
      this.#durable = written;
      this.#locations.settle(position);
    }
    const done = this.#waiters.filter(({ target }) => target <= written);
    this.#waiters = this.#waiters.filter(({ target }) => target > written);
    for (const waiter of done) {
      if (this.#broken) waiter.reject(this.#broken);
      else waiter.resolve();
    }
  }

  #break(what: string, cause: unknown): void {
    this.#broken ??= storageFailed(what, cause);
  }

  async close(): Promise<void> {
    if (!this.#broken) await this.commit();
    await this.#synced?.close();
  }
}

/** A full disk is overload, which is worth another try; anything else is a failure. */
export function storageFailed(what: string, cause: unknown): DagpacsError {
  if (isDiskFull(cause)) return diskFull(cause);
  const code = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;
  return new DagpacsError('storage-failed', `the block store could not ${what}: ${code}`, {}, { cause });
}
