import type { ByteQueue } from '../byte-queue.ts';
import type { Command, Response } from '../command.ts';
import type { Invocation } from '../invoker.ts';
import type { AnsweredContext } from '../negotiation.ts';

/** One operation that a peer asked for. */
export interface Operation {
  command: Command;
  /** The presentation context it came on. */
  context: AnsweredContext;
  /** All that were accepted, by their ids. */
  contexts: ReadonlyMap<number, AnsweredContext>;
  /** The data set's bytes while they arrive, where the command says that one follows. */
  dataset: ByteQueue | undefined;
  /** `<calling AE title>@<address>` */
  peer: string;
  callingAE: string;
  /** Aborted by a C-CANCEL that names the operation (reason `cancel`), and when the association ends (reason `ended`). */
  readonly signal: AbortSignal;
  /** Sends a response that is not the last one; resolves when there is room for more. */
  respond(response: Response): Promise<void>;
  /** Sends several of them with the same status, one for each data set, in one piece. */
  respondAll(status: number, datasets: readonly Buffer[]): Promise<void>;
  /** Asks for an operation on the same association; rejects when that ends first. One at a time. */
  invoke(invocation: Invocation): Promise<Command>;
  /**
   * Runs `work` on the same association after so many milliseconds, when no operation runs; the peer may release it
   * meanwhile. Where the association has ended before, `work` runs all the same, and what it asks for rejects.
   */
  later(ms: number, work: () => Promise<void>): void;
}

/** A DIMSE service: what is done for one kind of request. */
export interface Service {
  /** Command Field of its requests (PS3.7 E.1). */
  readonly field: number;
  /**
   * The response is sent when the promise resolves and the data set has arrived whole; what was not read of it by then
   * is thrown away. Operations of one association never overlap.
   */
  perform(operation: Operation): Promise<Response>;
}
