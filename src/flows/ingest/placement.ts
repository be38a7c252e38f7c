import { createHash } from 'node:crypto';
import { newObjectKey, Sealer } from '../../crypto/sealed-stream.ts';
import type { Cid } from '../../ipld/cid.ts';
import { LeafCutter } from '../../ipld/leaves.ts';
import type { BlockStore, Position } from '../../ports/blocks.ts';

/** A sealed object whose last blocks are on their way to the log. */
export interface Placed {
  root: Cid;
  /** Resolves when the operating system has all blocks. */
  written: Promise<void>;
}

/**
 * Seals a stream as it arrives and places its blocks. At most two leaves (2 MiB) and one segment are held; the last leaf is
 * placed by {@link place} only, so that an instance of one leaf that turns out to be held already costs no write.
 */
export class Placement {
  readonly key = newObjectKey();
  readonly #blocks: BlockStore;
  readonly #digest = createHash('sha256');
  readonly #sealer = new Sealer(this.key);
  readonly #cutter: LeafCutter;
  #writes: Promise<Position>[] = [];
  #placed: Placed | undefined;

  constructor(blocks: BlockStore) {
    this.#blocks = blocks;
    this.#cutter = new LeafCutter(({ cid, parts }) => {
      const write = this.#blocks.append(cid, parts);
      // Whoever pushes next, or places, meets the failure.
      write.catch(() => undefined);
      this.#writes.push(write);
    });
  }

  /** Takes the next bytes; a promise where the disk must be waited for. */
  push(chunk: Uint8Array): Promise<void> | undefined {
    this.#digest.update(chunk);
    this.#sealer.push(chunk, this.#cut);
    return this.#writes.length > 1 ? this.#settle(1) : undefined;
  }

  /** Seals the rest. @returns SHA-256 of all bytes pushed */
  finish(): Buffer {
    this.#sealer.end(this.#cut);
    return this.#digest.digest();
  }

  /**
   * Places what is left; further calls give the same answer. The blocks stand in the log before anything that is appended
   * after the first call.
   */
  place(): Placed {
    this.#placed ??= { root: this.#cutter.end().root, written: this.#settle(0) };
    return this.#placed;
  }

  readonly #cut = (ciphertext: Buffer): void => this.#cutter.push(ciphertext);

  async #settle(allowed: number): Promise<void> {
    while (this.#writes.length > allowed) await this.#writes.shift();
  }
}
