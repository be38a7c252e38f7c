import type { ByteQueue } from '../byte-queue.ts';
import type { Command, Response } from '../command.ts';
import type { AnsweredContext } from '../negotiation.ts';

/** One operation that a peer asked for. */
export interface Operation {
  command: Command;
  /** The presentation context it came on. */
  context: AnsweredContext;
  /** The data set's bytes while they arrive, where the command says that one follows. */
  dataset: ByteQueue | undefined;
  /** `<calling AE title>@<address>` */
  peer: string;
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
