/**
 * Memory of frames that were rendered, for the next ones: frames of a series are of one size, and half a megabyte that is
 * made and dropped for each costs more than what is done with it (the garbage collector's work, and pages to be cleared).
 */
export class FrameMemory {
  readonly #maxBytes: number;
  readonly #free: ArrayBuffer[] = [];
  #bytes = 0;

  /** @param maxBytes what may lie idle */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes whose content is any. */
  take(size: number): Uint8Array {
    const at = this.#free.findLastIndex(({ byteLength }) => byteLength === size);
    const [found] = at < 0 ? [] : this.#free.splice(at, 1);
    if (!found) return new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);
    this.#bytes -= size;
    return new Uint8Array(found);
  }

  /** Takes the memory of `bytes`, all of it, which nobody may use any more. */
  giveBack({ buffer }: Uint8Array): void {
    if (!(buffer instanceof ArrayBuffer) || buffer.byteLength > this.#maxBytes) return;
    this.#free.push(buffer);
    this.#bytes += buffer.byteLength;
    while (this.#bytes > this.#maxBytes) this.#bytes -= this.#free.shift()?.byteLength ?? 0;
  }
}

/**
 * Frees memory that nobody will look at again, now: frames lie outside the heap whose growth starts a garbage collection, and
 * on threads that make little else a hundred megabytes of them would wait for one.
 */
export function discard(...all: Uint8Array[]): void {
  for (const { buffer, length } of all) {
    // A part of a larger buffer is not alone in it; what was discarded already has no length.
    if (length > 0 && buffer instanceof ArrayBuffer && buffer.byteLength === length) buffer.transfer(0);
  }
}
