/** Slots of a new set; doubled where half are taken. */
const FIRST_SLOTS = 1 << 12;

/**
 * A set of SHA-256 digests by their first 8 bytes, at 16 to 32 bytes a digest: millions fit. Two digests that agree in 8 bytes
 * are taken for one, which with 10 million of them happens once in 400,000 such sets.
 */
export class DigestSet {
  #slots = new Uint32Array(2 * FIRST_SLOTS);
  size = 0;

  add(digest: Uint8Array): void {
    const [high, low] = halves(digest);
    if (!this.#insert(high, low)) return;
    this.size += 1;
    if (this.size * 4 > this.#slots.length) this.#grow();
  }

  has(digest: Uint8Array): boolean {
    const [high, low] = halves(digest);
    const at = this.#find(high, low);
    return this.#slots[at + 1] !== 0;
  }

  /** Where it is, or the free slot where it would be. */
  #find(high: number, low: number): number {
    const mask = this.#slots.length / 2 - 1;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const at = 2 * slot;
      if (this.#slots[at + 1] === 0 || (this.#slots[at] === high && this.#slots[at + 1] === low)) return at;
    }
  }

  #insert(high: number, low: number): boolean {
    const at = this.#find(high, low);
    if (this.#slots[at + 1] !== 0) return false;
    this.#slots[at] = high;
    this.#slots[at + 1] = low;
    return true;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * 2);
    for (let at = 0; at < old.length; at += 2) {
      if (old[at + 1] !== 0) this.#insert(old[at] as number, old[at + 1] as number);
    }
  }
}

/** 0 as the second half marks a free slot. */
function halves(digest: Uint8Array): [high: number, low: number] {
  const view = new DataView(digest.buffer, digest.byteOffset, 8);
  return [view.getUint32(0), view.getUint32(4) || 1];
}
