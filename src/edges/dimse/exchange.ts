import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { ByteQueue, type Lender } from './byte-queue.ts';
import { C_CANCEL_RQ, RESPONSE, type Response, readCommand, writeResponse } from './command.ts';
import { PROCESSING_FAILURE, UNRECOGNIZED_OPERATION } from './errors.ts';
import type { AnsweredContext } from './negotiation.ts';
import { type Fragment, INVALID_PARAMETER, ProtocolError, UNEXPECTED_PARAMETER } from './pdu.ts';
import type { Operation, Service } from './services/service.ts';

/** Command sets are a few hundred bytes. */
const MAX_COMMAND = 64 * 1024;

export interface ExchangeHooks extends Lender {
  /** Resolves when the peer has taken it, or is gone. */
  send(pdu: Buffer): Promise<void> | undefined;
  /** An operation was asked for while another runs: nothing more is to come until {@link settled}. */
  hold(): void;
  /** An operation has ended, and no other is waiting. */
  settled(): void;
  /** Bytes were taken out of the data set's queue. */
  read(): void;
}

/** The DIMSE messages of one association (PS3.7 §6.3): puts commands together, and runs their operations one by one. */
export class Exchange {
  readonly #services: ReadonlyMap<number, Service>;
  readonly #contexts: ReadonlyMap<number, AnsweredContext>;
  readonly #peer: string;
  readonly #log: Log;
  readonly #hooks: ExchangeHooks;
  #command: Buffer[] = [];
  #commandSize = 0;
  /** Presentation context of the message that is arriving; 0: none is. */
  #arriving = 0;
  /** The data set that is arriving. */
  #dataset: ByteQueue | undefined;
  #performing: Promise<void> | undefined;
  #next: Operation | undefined;
  #stopped = false;
  /** Operations that were answered. */
  answered = 0;

  constructor(
    services: ReadonlyMap<number, Service>,
    contexts: ReadonlyMap<number, AnsweredContext>,
    peer: string,
    log: Log,
    hooks: ExchangeHooks,
  ) {
    this.#services = services;
    this.#contexts = contexts;
    this.#peer = peer;
    this.#log = log;
    this.#hooks = hooks;
  }

  /** The operation that runs, or undefined. It never rejects. */
  get performing(): Promise<void> | undefined {
    return this.#performing;
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
    const context = this.#contexts.get(contextId);
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
  }

  #begin(context: AnsweredContext): void {
    const command = readCommand(
      this.#command.length === 1 ? (this.#command[0] as Buffer) : Buffer.concat(this.#command),
    );
    this.#command = [];
    this.#commandSize = 0;
    // No operation that could be cancelled is served: one that has ended is not (PS3.7 9.3.2.3).
    if (command.field === C_CANCEL_RQ) return;
    if (command.field & RESPONSE) throw new ProtocolError(UNEXPECTED_PARAMETER, 'a response to nothing');
    if (command.hasDataset) {
      this.#arriving = context.id;
      this.#dataset = new ByteQueue(this.#hooks, this.#hooks.read);
    }
    const operation: Operation = { command, context, dataset: this.#dataset, peer: this.#peer };
    if (!this.#performing) {
      this.#performing = this.#perform(operation);
      return;
    }
    this.#next = operation;
    this.#hooks.hold();
  }

  async #perform(operation: Operation): Promise<void> {
    const { command, context, dataset } = operation;
    let response: Response;
    try {
      const service = this.#services.get(command.field);
      response = service ? await service.perform(operation) : { status: UNRECOGNIZED_OPERATION };
    } catch (error) {
      // A message of an error that nobody expected may say anything: only its kind is told.
      this.#log.error('operation-failed', {
        peer: this.#peer,
        error: error instanceof Error ? error.name : typeof error,
      });
      response = { status: PROCESSING_FAILURE };
    }
    if (dataset) {
      dataset.discard();
      await dataset.arrived;
    }
    if (!this.#stopped) {
      this.answered++;
      // A peer that asks without reading answers is not let to fill memory with them.
      const taken = this.#hooks.send(writeResponse(context.id, command, response));
      if (taken) await taken;
    }
    const next = this.#next;
    this.#next = undefined;
    this.#performing = next && !this.#stopped ? this.#perform(next) : undefined;
    this.#hooks.settled();
  }
}
