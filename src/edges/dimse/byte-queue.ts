/**
 * The bytes of one data set between the socket, which pushes, and a service, which reads them once. It holds chunks
 * without copying them; whoever pushes looks at {@link size} and stops reading its socket in time.
 */
export class ByteQueue implements AsyncIterable<Uint8Array> {
  /** Resolves when the last byte was pushed, or never will be. */
  readonly arrived: Promise<void>;
  readonly #arrive: () => void;
  readonly #onRead: () => void;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #state: 'open' | 'ended' | 'failed' = 'open';
  #error: unknown;
  #discarding = false;
  #reader: { resolve(result: IteratorResult<Uint8Array>): void; reject(error: unknown): void } | undefined;

  /** @param onRead called after bytes were taken out or thrown away */
  constructor(onRead: () => void) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.arrived = promise;
    this.#arrive = resolve;
    this.#onRead = onRead;
  }

  /** Bytes that wait to be read. */
  get size(): number {
    return this.#size;
  }

  push(chunk: Uint8Array): void {
    if (this.#discarding || chunk.length === 0) return;
    if (this.#reader) {
      this.#reader.resolve({ done: false, value: chunk });
      this.#reader = undefined;
      return;
    }
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  end(): void {
    this.#state = 'ended';
    this.#arrive();
    this.#reader?.resolve({ done: true, value: undefined });
    this.#reader = undefined;
  }

  /** The sender is gone: reading rejects with `error`, at once, since what came so far is of no use. */
  fail(error: unknown): void {
    if (this.#state !== 'open') return;
    this.#state = 'failed';
    this.#error = error;
    this.#chunks = [];
    this.#size = 0;
    this.#arrive();
    this.#reader?.reject(error);
    this.#reader = undefined;
  }

  /** Throws away what waits and what is still to come. */
  discard(): void {
    if (this.#discarding) return;
    this.#discarding = true;
    this.#chunks = [];
    this.#size = 0;
    this.#onRead();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, undefined> {
    return {
      next: () => {
        const value = this.#chunks.shift();
        if (value) {
          this.#size -= value.length;
          this.#onRead();
          return Promise.resolve({ done: false, value });
        }
        if (this.#state === 'failed') return Promise.reject(this.#error);
        if (this.#state === 'ended' || this.#discarding) return Promise.resolve({ done: true, value: undefined });
        return new Promise((resolve, reject) => {
          this.#reader = { resolve: resolve as (result: IteratorResult<Uint8Array>) => void, reject };
        });
      },
      return: () => {
        this.discard();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}
