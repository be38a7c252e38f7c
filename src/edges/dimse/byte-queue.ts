/** What a chunk costs beside its bytes, so that a flood of tiny ones counts for what it takes. */
const OVERHEAD = 256;

/** Told of the chunks that are kept, and of each that its reader is done with. */
export interface Lender {
  lend(chunk: Uint8Array): void;
  giveBack(chunk: Uint8Array): void;
}

/**
 * The bytes of one data set between the socket, which pushes, and a service, which reads them once. It holds chunks
 * without copying them, until the next one is asked for; whoever pushes looks at {@link size} and stops reading its socket
 * in time.
 */
export class ByteQueue implements AsyncIterable<Uint8Array> {
  /** Resolves when the last byte was pushed, or never will be. */
  readonly arrived: Promise<void>;
  readonly #arrive: () => void;
  readonly #onRead: () => void;
  readonly #lender: Lender;
  /** The chunk that the reader works on. */
  #reading: Uint8Array | undefined;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #state: 'open' | 'ended' | 'failed' = 'open';
  #error: unknown;
  #discarding = false;
  #reader: { resolve(result: IteratorResult<Uint8Array>): void; reject(error: unknown): void } | undefined;

  /** @param onRead called after bytes were taken out or thrown away */
  constructor(lender: Lender, onRead: () => void) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.arrived = promise;
    this.#arrive = resolve;
    this.#lender = lender;
    this.#onRead = onRead;
  }

  /** Bytes that wait to be read, and what keeping them costs. */
  get size(): number {
    return this.#size;
  }

  push(chunk: Uint8Array): void {
    if (this.#discarding || chunk.length === 0) return;
    this.#lender.lend(chunk);
    if (this.#reader) {
      this.#reading = chunk;
      this.#reader.resolve({ done: false, value: chunk });
      this.#reader = undefined;
      return;
    }
    this.#chunks.push(chunk);
    this.#size += chunk.length + OVERHEAD;
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
    this.#giveBack();
    for (const chunk of this.#chunks) this.#lender.giveBack(chunk);
    this.#chunks = [];
    this.#size = 0;
    this.#onRead();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, undefined> {
    return {
      next: () => {
        this.#giveBack();
        const value = this.#chunks.shift();
        if (value) {
          this.#reading = value;
          this.#size -= value.length + OVERHEAD;
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

  #giveBack(): void {
    if (this.#reading) this.#lender.giveBack(this.#reading);
    this.#reading = undefined;
  }
}
