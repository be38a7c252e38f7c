/**
 * What is made from stored bytes and may be asked for again: those who ask at once share one making, and the results that
 * were used last are kept within a number of bytes.
 */
export class MadeOnce {
  readonly #maxBytes: number;
  readonly #kept = new Map<string, Uint8Array>();
  readonly #making = new Map<string, Promise<Uint8Array>>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * What `key` names: kept, being made, or made now. The bytes are shared: they must not be changed. `keep` is false for what
   * passes by once and would only drive out the rest.
   */
  get(key: string, make: () => Promise<Uint8Array>, keep = true): Promise<Uint8Array> {
    const kept = this.#kept.get(key);
    if (kept) {
      // Last used last, so that the first is the one to drop.
      this.#kept.delete(key);
      this.#kept.set(key, kept);
      return Promise.resolve(kept);
    }
    let making = this.#making.get(key);
    if (!making) {
      making = make()
        .then((bytes) => (keep ? this.#keep(key, bytes) : bytes))
        .finally(() => this.#making.delete(key));
      this.#making.set(key, making);
    }
    return making;
  }

  #keep(key: string, bytes: Uint8Array): Uint8Array {
    // A giant would drive everything else out.
    if (bytes.length > this.#maxBytes / 4) return bytes;
    this.#kept.set(key, bytes);
    this.#bytes += bytes.length;
    for (const [oldest, { length }] of this.#kept) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#kept.delete(oldest);
      this.#bytes -= length;
    }
    return bytes;
  }
}
