/** Pulls bytes from a stream of chunks: small pieces whole, large ones as they come. */
export class ByteReader {
  /** Offset in the stream of {@link at}. */
  position: number;
  /** What is held, of which the bytes from {@link at} on are not taken yet. */
  buffer: Buffer = Buffer.alloc(0);
  at = 0;
  readonly #source: AsyncIterator<Uint8Array>;

  constructor(source: AsyncIterable<Uint8Array>, position: number) {
    this.#source = source[Symbol.asyncIterator]();
    this.position = position;
  }

  get available(): number {
    return this.buffer.length - this.at;
  }

  /** Holds at least `count` bytes from {@link at} on. @returns false where the stream has fewer */
  async hold(count: number): Promise<boolean> {
    while (this.available < count) {
      const next = await this.#source.next();
      if (next.done) return false;
      const rest = this.buffer.subarray(this.at);
      this.buffer = rest.length === 0 ? asBuffer(next.value) : Buffer.concat([rest, next.value]);
      this.at = 0;
    }
    return true;
  }

  /** Passes over `count` bytes that are held. */
  advance(count: number): void {
    this.at += count;
    this.position += count;
  }

  /** The next `count` bytes in chunks; fewer where the stream ends. */
  async *take(count: number): AsyncGenerator<Buffer, void, void> {
    let left = count;
    while (left > 0) {
      if (this.available === 0 && !(await this.hold(1))) return;
      const size = Math.min(left, this.available);
      const chunk = this.buffer.subarray(this.at, this.at + size);
      this.advance(size);
      left -= size;
      yield chunk;
    }
  }

  /** Gives the source back. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
