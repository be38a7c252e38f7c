import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { ByteQueue, type Lender } from './byte-queue.ts';
import { C_CANCEL_RQ, type Command, RESPONSE, type Response, readCommand, responseElements } from './command.ts';
import { NOT_AUTHORIZED, PROCESSING_FAILURE, UNRECOGNIZED_OPERATION } from './errors.ts';
import { type Invocation, Invoker, type InvokerHooks, type InvokerOptions } from './invoker.ts';
import type { AnsweredContext } from './negotiation.ts';
import { commandPdus, dataPdus, messages } from './p-data.ts';
import { type Fragment, INVALID_PARAMETER, ProtocolError, UNEXPECTED_PARAMETER } from './pdu.ts';
import type { Operation, Service } from './services/service.ts';

/** The responses that we wait for would come after it, and it is not read before it is its turn. */
const AHEAD = 'a request before the sub-operations are answered';
/** Command sets are a few hundred bytes. */
const MAX_COMMAND = 64 * 1024;

export interface ExchangeHooks extends Lender, InvokerHooks {
  /** An operation was asked for while another runs: nothing more is to come until {@link settled}. */
  hold(): void;
  /** An operation has ended, and no other is waiting. */
  settled(): void;
  /** Bytes were taken out of the data set's queue. */
  read(): void;
}

export interface ExchangeOptions extends InvokerOptions {
  /** `<AE title>@<address>` */
  peer: string;
  peerAE: string;
}

/** Work for when no operation runs; without a timer it is due. */
interface Later {
  work: () => Promise<void>;
  timer: NodeJS.Timeout | undefined;
}

/** An operation and what belongs to its course. */
class Performance implements Operation {
  readonly command: Command;
  readonly context: AnsweredContext;
  readonly dataset: ByteQueue | undefined;
  /** A sub-operation is under way. */
  invoking = false;
  readonly #exchange: Exchange;
  #controller: AbortController | undefined;
  #reason: 'cancel' | 'ended' | undefined;

  constructor(exchange: Exchange, command: Command, context: AnsweredContext, dataset: ByteQueue | undefined) {
    this.#exchange = exchange;
    this.command = command;
    this.context = context;
    this.dataset = dataset;
  }

  get contexts(): ReadonlyMap<number, AnsweredContext> {
    return this.#exchange.contexts;
  }

  get peer(): string {
    return this.#exchange.options.peer;
  }

  get callingAE(): string {
    return this.#exchange.options.peerAE;
  }

  /** Made when it is asked for: most operations cannot be cancelled. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  abort(reason: 'cancel' | 'ended'): void {
    this.#reason ??= reason;
    this.#controller?.abort(reason);
  }

  respond(response: Response): Promise<void> {
    return this.#exchange.respond(this, response) ?? Promise.resolve();
  }

  respondAll(status: number, datasets: readonly Buffer[]): Promise<void> {
    return this.#exchange.respondAll(this, status, datasets) ?? Promise.resolve();
  }

  invoke(invocation: Invocation): Promise<Command> {
    return this.#exchange.invoke(this, invocation);
  }

  later(ms: number, work: () => Promise<void>): void {
    this.#exchange.later(ms, work);
  }
}

/** The DIMSE messages of one association (PS3.7 §6.3): puts commands together, and runs their operations one by one. */
export class Exchange {
  readonly contexts: ReadonlyMap<number, AnsweredContext>;
  readonly options: ExchangeOptions;
  readonly invoker: Invoker;
  readonly #services: ReadonlyMap<number, Service>;
  readonly #log: Log;
  readonly #hooks: ExchangeHooks;
  #command: Buffer[] = [];
  #commandSize = 0;
  /** Presentation context of the message that is arriving; 0: none is. */
  #arriving = 0;
  /** The data set that is arriving. */
  #dataset: ByteQueue | undefined;
  #current: Performance | undefined;
  #performing: Promise<void> | undefined;
  #next: Performance | undefined;
  #stopped = false;
  #later: Later[] = [];
  #working: Promise<void> | undefined;
  /** Operations that were answered. */
  answered = 0;

  constructor(
    services: ReadonlyMap<number, Service>,
    contexts: ReadonlyMap<number, AnsweredContext>,
    options: ExchangeOptions,
    log: Log,
    hooks: ExchangeHooks,
  ) {
    this.#services = services;
    this.contexts = contexts;
    this.options = options;
    this.invoker = new Invoker(options, hooks);
    this.#log = log;
    this.#hooks = hooks;
  }

  /** The operation that runs, or undefined. It never rejects. */
  get performing(): Promise<void> | undefined {
    return this.#performing;
  }

  /** The operation that runs, or work of ours that goes on beside it, and for which the peer need not wait. */
  get busy(): Promise<void> | undefined {
    return this.#performing ?? this.#working;
  }

  /** A message has begun and not ended. */
  get arriving(): boolean {
    return this.#arriving !== 0;
  }

  /** Bytes that wait for a service to read them. */
  get waiting(): number {
    return this.#dataset?.size ?? 0;
  }

  /** Takes a part of a message. @throws ProtocolError */
  fragment({ contextId, command, bytes, last }: Fragment): void {
    const context = this.contexts.get(contextId);
    if (!context || (this.#arriving && this.#arriving !== contextId))
      throw new ProtocolError(INVALID_PARAMETER, 'a value on a presentation context that is not the right one');
    if (command !== (this.#dataset === undefined))
      throw new ProtocolError(UNEXPECTED_PARAMETER, 'a command where a data set is due, or the other way round');
    this.#arriving = last ? 0 : contextId;
    if (this.#dataset) {
      this.#dataset.push(bytes);
      if (!last) return;
      this.#dataset.end();
      this.#dataset = undefined;
      return;
    }
    // The bytes lie in memory that is received into again.
    this.#command.push(Buffer.from(bytes));
    this.#commandSize += bytes.length;
    if (this.#commandSize > MAX_COMMAND) throw new ProtocolError(INVALID_PARAMETER, 'command set exceeds its limit');
    if (last) this.#begin(context);
  }

  /** No byte will come any more, and none is to be sent. */
  stop(): void {
    this.#stopped = true;
    this.#next = undefined;
    this.#dataset?.fail(new DagpacsError('sender-aborted', 'the association ended inside a data set'));
    this.#dataset = undefined;
    this.#current?.abort('ended');
    this.invoker.end();
    for (const entry of this.#later) {
      clearTimeout(entry.timer);
      entry.timer = undefined;
    }
    if (!this.#performing) this.#workLater();
  }

  /** Asks the peer for an operation, as a sub-operation of the one that runs or after it. */
  async invoke(operation: Performance, invocation: Invocation): Promise<Command> {
    const within = operation === this.#current;
    if (within && this.#next) this.#hooks.giveUp(AHEAD);
    operation.invoking = within;
    try {
      return await this.invoker.invoke(invocation);
    } finally {
      operation.invoking = false;
    }
  }

  /** Sends a response to the operation that runs. */
  respond({ command, context }: Pick<Operation, 'command' | 'context'>, response: Response): Promise<void> | undefined {
    if (this.#stopped) return undefined;
    const { sending } = this.invoker;
    if (sending) return sending.then(() => this.respond({ command, context }, response));
    const { maxPduLength } = this.options;
    const pdus = commandPdus(context.id, responseElements(command, response), maxPduLength);
    if (!response.dataset) return this.#hooks.send(pdus);
    return this.#hooks.send(Buffer.concat([pdus, dataPdus(context.id, false, [response.dataset], maxPduLength)]));
  }

  /** Sends a response for each data set; their command sets are the same. */
  respondAll(
    { command, context }: Pick<Operation, 'command' | 'context'>,
    status: number,
    datasets: readonly Buffer[],
  ): Promise<void> | undefined {
    const [dataset] = datasets;
    if (this.#stopped || !dataset) return undefined;
    const { sending } = this.invoker;
    if (sending) return sending.then(() => this.respondAll({ command, context }, status, datasets));
    const { maxPduLength } = this.options;
    const head = commandPdus(context.id, responseElements(command, { status, dataset }), maxPduLength);
    return this.#hooks.send(messages(context.id, head, datasets, maxPduLength));
  }

  #begin(context: AnsweredContext): void {
    const command = readCommand(
      this.#command.length === 1 ? (this.#command[0] as Buffer) : Buffer.concat(this.#command),
    );
    this.#command = [];
    this.#commandSize = 0;
    if (command.hasDataset) {
      this.#arriving = context.id;
      this.#dataset = new ByteQueue(this.#hooks, this.#hooks.read);
    }
    if (command.field === C_CANCEL_RQ) {
      // What has ended is not cancelled, which is no error (PS3.7 9.3.2.3).
      for (const each of [this.#current, this.#next]) {
        if (each?.command.messageId === command.respondedTo) each.abort('cancel');
      }
      this.#dataset?.discard();
      return;
    }
    if (command.field & RESPONSE) {
      if (!this.invoker.answer(command)) throw new ProtocolError(UNEXPECTED_PARAMETER, 'a response to nothing');
      // No response that we wait for says anything in a data set.
      this.#dataset?.discard();
      return;
    }
    const operation = new Performance(this, command, context, this.#dataset);
    if (!this.#performing) {
      this.#performing = this.#perform(operation);
      return;
    }
    if (this.#current?.invoking) throw new ProtocolError(UNEXPECTED_PARAMETER, AHEAD);
    this.#next = operation;
    this.#hooks.hold();
  }

  async #perform(operation: Performance): Promise<void> {
    const { dataset } = operation;
    this.#current = operation;
    let response: Response;
    try {
      // Awaited in any case: what runs is known as running before it has ended.
      response = await this.#answer(operation);
    } catch (error) {
      this.#unexpected(error);
      response = { status: PROCESSING_FAILURE };
    }
    if (dataset) {
      dataset.discard();
      await dataset.arrived;
    }
    if (!this.#stopped) {
      this.answered++;
      // A peer that asks without reading answers is not let to fill memory with them.
      const taken = this.respond(operation, response);
      if (taken) await taken;
    }
    this.#proceed();
  }

  #answer(operation: Performance): Promise<Response> | Response {
    // By role selection the peer is an SCP here, and asks for nothing (PS3.7 D.3.3.4).
    if (operation.context.roles?.scu === false) return { status: NOT_AUTHORIZED };
    return this.#services.get(operation.command.field)?.perform(operation) ?? { status: UNRECOGNIZED_OPERATION };
  }

  /** What came while an operation ran. */
  #proceed(): void {
    const next = this.#next;
    this.#next = undefined;
    this.#current = undefined;
    this.#performing = next && !this.#stopped ? this.#perform(next) : undefined;
    if (!next) this.#workLater();
    this.#hooks.settled();
  }

  /** Runs work of ours once no operation runs, or at once when the association has ended. */
  later(ms: number, work: () => Promise<void>): void {
    const entry: Later = { work, timer: undefined };
    entry.timer = setTimeout(() => {
      entry.timer = undefined;
      this.#workLater();
    }, ms);
    this.#later.push(entry);
  }

  #workLater(): void {
    if (this.#working || (this.#performing && !this.#stopped)) return;
    const at = this.#later.findIndex(({ timer }) => timer === undefined);
    const [due] = at < 0 ? [] : this.#later.splice(at, 1);
    if (!due) return;
    const worked = (): void => {
      this.#working = undefined;
      this.#workLater();
    };
    this.#working = due
      .work()
      .catch((error) => this.#unexpected(error))
      .then(worked);
  }

  /** A message of an error that nobody expected may say anything: only its kind is told. */
  #unexpected(error: unknown): void {
    const name = error instanceof Error ? error.name : typeof error;
    this.#log.error('operation-failed', { peer: this.options.peer, error: name });
  }
}
