import { DagpacsError } from '../../kernel/errors.ts';
import { type Command, type Request, requestElements } from './command.ts';
import { commandPdus, dataHead, roomOf } from './p-data.ts';

/** P-DATA-TFs that are written in one piece: a peer that takes short ones only costs no memory. */
const PDUS_AT_ONCE = 32;

/** An operation that is asked of the peer, and the data set that goes with it. */
export interface Invocation {
  contextId: number;
  request: Omit<Request, 'hasDataset'>;
  /** Its bytes in the transfer syntax of the context, and how many there are where that is known. */
  dataset?: { size?: number; bytes: AsyncIterable<Uint8Array> };
}

export interface InvokerOptions {
  /** The longest P-DATA-TF that the peer takes. */
  maxPduLength: number;
  /** Milliseconds that a response may take. */
  timeoutMs: number;
}

export interface InvokerHooks {
  /** Sends one after the other; resolves when the peer has taken them, or is gone. */
  send(...parts: Uint8Array[]): Promise<void> | undefined;
  /** The peer cannot be talked to any more: the association is to be aborted. */
  giveUp(why: string): void;
}

interface Awaited {
  resolve(response: Command): void;
  reject(error: unknown): void;
}

/** The requests that we make on an association, as the answers to them come in. */
export class Invoker {
  readonly #options: InvokerOptions;
  readonly #hooks: InvokerHooks;
  readonly #awaited = new Map<number, Awaited>();
  #messageId = 0;
  #sending: Promise<void> | undefined;
  #ended = false;

  constructor(options: InvokerOptions, hooks: InvokerHooks) {
    this.#options = options;
    this.#hooks = hooks;
  }

  /**
   * Sends a request with its data set and waits for the response. Nothing is sent before the first bytes of the data set
   * are there; where a later one cannot be read, the association is given up, since a data set cannot be taken back.
   * @throws DagpacsError `sender-aborted` when the association ends first, and what reading the data set throws
   */
  async invoke({ contextId, request, dataset }: Invocation): Promise<Command> {
    const iterator = dataset?.bytes[Symbol.asyncIterator]();
    const first = await iterator?.next();
    while (this.#sending) await this.#sending;
    if (this.#ended) throw ended();
    const sent = Promise.withResolvers<void>();
    this.#sending = sent.promise;
    this.#messageId = (this.#messageId % 0xffff) + 1;
    const messageId = this.#messageId;
    const { promise, resolve, reject } = Promise.withResolvers<Command>();
    this.#awaited.set(messageId, { resolve, reject });
    // It may be rejected while the data set is still being sent.
    promise.catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    try {
      const { maxPduLength, timeoutMs } = this.#options;
      const elements = requestElements(messageId, { ...request, hasDataset: dataset !== undefined });
      try {
        const taken = this.#hooks.send(commandPdus(contextId, elements, maxPduLength));
        if (dataset && iterator && first) await this.#sendDataset(contextId, dataset.size, first, iterator);
        else if (taken) await taken;
      } finally {
        this.#sending = undefined;
        sent.resolve();
      }
      timer = setTimeout(() => this.#hooks.giveUp('no response in time'), timeoutMs);
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#awaited.delete(messageId);
    }
  }

  /** A request is being sent: no other message may begin before its end (PS3.7 §6.3.1). */
  get sending(): Promise<void> | undefined {
    return this.#sending;
  }

  /** Takes a response. @returns false where it answers nothing that was asked */
  answer(response: Command): boolean {
    const awaited = this.#awaited.get(response.respondedTo);
    awaited?.resolve(response);
    return awaited !== undefined;
  }

  /** The association has ended. */
  end(): void {
    this.#ended = true;
    for (const { reject } of this.#awaited.values()) reject(ended());
  }

  /** The next chunk is made while the peer takes the one before it. */
  async #sendDataset(
    contextId: number,
    size: number | undefined,
    first: IteratorResult<Uint8Array>,
    iterator: AsyncIterator<Uint8Array>,
  ): Promise<void> {
    let sent = 0;
    try {
      for (let current = first; !current.done; ) {
        const chunk = current.value;
        sent += chunk.length;
        if (size === undefined) {
          // It is held back until it is known whether it is the last one.
          current = await iterator.next();
          await this.#sendChunk(contextId, chunk, current.done === true);
          continue;
        }
        const sending = this.#sendChunk(contextId, chunk, sent >= size);
        [current] = await Promise.all([iterator.next(), sending]);
      }
      if (sent === 0 || (size !== undefined && sent !== size)) {
        throw new DagpacsError('block-damaged', 'a stored data set has another length than it had');
      }
    } catch (error) {
      if (!this.#ended) this.#hooks.giveUp('a data set that cannot be read to its end');
      throw error;
    } finally {
      await iterator.return?.();
    }
  }

  async #sendChunk(contextId: number, chunk: Uint8Array, isLast: boolean): Promise<void> {
    const room = roomOf(this.#options.maxPduLength);
    for (let at = 0; at < chunk.length; ) {
      if (this.#ended) throw ended();
      const parts: Uint8Array[] = [];
      for (; at < chunk.length && parts.length < 2 * PDUS_AT_ONCE; at += room) {
        const value = chunk.subarray(at, at + room);
        const head = Buffer.allocUnsafe(12);
        dataHead(contextId, false, isLast && at + room >= chunk.length, value.length, head);
        parts.push(head, value);
      }
      const taken = this.#hooks.send(...parts);
      if (taken) await taken;
    }
  }
}

function ended(): DagpacsError {
  return new DagpacsError('sender-aborted', 'the association ended before the response');
}
