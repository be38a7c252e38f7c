/** What takes bytes from a window over a stream. */
export interface Consumer {
  /** Bytes wanted from the position that {@link parse} returned last. */
  readonly need: number;
  /** Bytes to pass over from there; Infinity: all. */
  readonly skip: number;
  /** Takes what it can of `[from, to)`, which lies `base` bytes into the stream; returns the position after it. */
  parse(buffer: Buffer, from: number, to: number, base: number): number;
}

/**
 * Hands a stream in chunks of any size to a consumer that wants its next few bytes in one piece. Bytes are copied only where
 * a chunk ends inside such a piece, and what is passed over never is.
 */
export class Window {
  /** Offset in the stream of the next byte that was not taken yet. */
  position = 0;
  /** Bytes still to be passed over; Infinity: all. */
  skip = 0;
  /** Bytes that were held back, waiting for more. */
  held = 0;
  #need = 0;
  #carry = Buffer.allocUnsafe(512);

  /** The bytes that were held back. */
  rest(): Buffer {
    return this.#carry.subarray(0, this.held);
  }

  /** Feeds `chunk` to `consumer()`, which is asked for anew after each step, and may be undefined: then the rest is returned. */
  feed(chunk: Buffer, consumer: () => Consumer | undefined): Buffer | undefined {
    let pos = 0;
    const end = chunk.length;
    for (;;) {
      if (this.skip > 0 && this.held === 0) {
        const passed = Math.min(this.skip, end - pos);
        this.skip -= passed;
        this.position += passed;
        pos += passed;
        if (this.skip > 0) return undefined;
      }
      const next = consumer();
      if (!next) return this.#handOver(chunk.subarray(pos));
      if (this.held > 0) {
        const taken = Math.min(Math.max(0, this.#need - this.held), end - pos);
        this.#hold(chunk, pos, pos + taken);
        pos += taken;
        if (this.held < this.#need) return undefined;
        this.#drop(next.parse(this.#carry, 0, this.held, this.position));
        this.#follow(next);
        if (this.skip > 0) this.#passHeld();
        continue;
      }
      const after = next.parse(chunk, pos, end, this.position - pos);
      this.position += after - pos;
      pos = after;
      this.#follow(next);
      // What is left is the beginning of the next piece, unless another consumer has taken over.
      if (this.skip === 0 && consumer() === next) {
        this.#hold(chunk, pos, end);
        return undefined;
      }
    }
  }

  #follow({ skip, need }: Consumer): void {
    this.skip = skip;
    this.#need = need;
  }

  #handOver(rest: Buffer): Buffer {
    const all = this.held > 0 ? Buffer.concat([this.rest(), rest]) : rest;
    this.held = 0;
    return all;
  }

  #passHeld(): void {
    const passed = Math.min(this.skip, this.held);
    this.skip -= passed;
    this.#drop(passed);
  }

  #hold(chunk: Buffer, from: number, to: number): void {
    const size = this.held + to - from;
    if (size > this.#carry.length) {
      const larger = Buffer.allocUnsafe(Math.max(size, this.#carry.length * 2));
      this.#carry.copy(larger, 0, 0, this.held);
      this.#carry = larger;
    }
    chunk.copy(this.#carry, this.held, from, to);
    this.held = size;
  }

  #drop(count: number): void {
    if (count === 0) return;
    this.#carry.copy(this.#carry, 0, count, this.held);
    this.held -= count;
    this.position += count;
  }
}
