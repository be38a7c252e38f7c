import { createInflate, createInflateRaw } from 'node:zlib';

/** How a deflated data set ended before its time. */
export class InflateError extends Error {
  override readonly name = 'InflateError';
  readonly truncated: boolean;

  constructor(truncated: boolean, options: ErrorOptions) {
    super('The data set cannot be inflated', options);
    this.truncated = truncated;
  }
}

/** True where `bytes` (at least 5) open a zlib stream (RFC 1950) rather than raw deflate data. */
export function isZlib(bytes: Uint8Array): boolean {
  const [first = 0, second = 0, third = 0, fourth = 0, fifth = 0] = bytes;
  if ((first & 0x0f) !== 8 || first >> 4 > 7 || (first * 256 + second) % 31 !== 0) return false;
  // As raw deflate, 0x78 opens a stored block, whose length comes twice, once inverted.
  const stored = (first & 0x06) === 0 && second === (fourth ^ 0xff) && third === (fifth ^ 0xff);
  return !stored;
}

/** Inflates a stream of which at most `limit` bytes are looked at; what was inflated goes to `sink` piece by piece. */
export class Inflater {
  /** The limit was reached: the rest of the input is not looked at. */
  exceeded = false;
  readonly #stream: ReturnType<typeof createInflateRaw>;
  #left: number;
  #ended = false;
  #failure: unknown;
  #wake: (() => void) | undefined;

  constructor(zlib: boolean, limit: number, sink: (chunk: Buffer) => void) {
    this.#left = limit;
    this.#stream = zlib ? createInflate({ chunkSize: 65536 }) : createInflateRaw({ chunkSize: 65536 });
    this.#stream.on('data', (chunk: Buffer) => {
      if (this.exceeded || this.#failure) return;
      const piece = chunk.subarray(0, Math.min(chunk.length, this.#left));
      this.#left -= piece.length;
      try {
        sink(piece);
      } catch (error) {
        this.#fail(error);
        return;
      }
      if (piece.length < chunk.length) {
        this.exceeded = true;
        this.#stream.destroy();
        this.#wake?.();
      }
    });
    this.#stream.on('end', () => {
      this.#ended = true;
      this.#wake?.();
    });
    this.#stream.on('error', (error: NodeJS.ErrnoException) =>
      this.#fail(new InflateError(error.code === 'Z_BUF_ERROR', { cause: error })),
    );
  }

  /** Resolves when `chunk` is used up and may be overwritten. @throws InflateError, or what `sink` threw */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#ended || this.exceeded || chunk.length === 0) return;
    await this.#until((done) => this.#stream.write(chunk, done));
  }

  /** @throws InflateError */
  async end(): Promise<void> {
    if (this.#ended || this.exceeded) return;
    await this.#until(() => this.#stream.end());
  }

  /** Frees what the stream holds. */
  close(): void {
    this.#stream.destroy();
  }

  async #until(start: (done: () => void) => void): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      start(resolve);
    });
    this.#wake = undefined;
    if (this.#failure) throw this.#failure;
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#stream.destroy();
    this.#wake?.();
  }
}
