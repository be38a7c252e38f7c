import { setTimeout as sleep } from 'node:timers/promises';
import type { ServedInstance } from '../../flows/serve/served.ts';
import type { TransferProgress } from '../../flows/serve/transfer.ts';
import { type ErrorCode, isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Request } from './command.ts';
import { contextFor, keyOf, proposalsFor, storeInvocation, type Transcoder } from './outgoing.ts';
import type { Peer } from './peers.ts';
import { openAssociation, type Requestor, type RequestorOptions } from './requestor.ts';

export interface SendOptions extends RequestorOptions {
  /** Associations at one time to one destination. */
  sendAssociations: number;
  /** How often an instance is tried again after the association was lost, or the peer said that it has no room. */
  sendRetries: number;
  /** Milliseconds before the first of these; doubled for each. */
  sendBackoffMs: number;
}

export interface Transfer {
  to: Peer;
  instances: readonly ServedInstance[];
  /** Aborted for `cancel`: nothing more is begun; for any other reason: what runs is ended too. */
  signal: AbortSignal;
  originator?: NonNullable<Request['originator']>;
  /** Told after each instance. */
  onProgress?: (progress: TransferProgress) => Promise<void> | void;
}

export interface SendModules {
  transcoder: Transcoder;
  log: Log;
}

/** Instances for which another association is worth its cost. */
const WORTH_AN_ASSOCIATION = 8;
/** Instances in a row, with all their retries, that a peer may leave without a response: one of them may be what kills it. */
const MAX_UNANSWERED = 3;

export function startProgress(count: number): TransferProgress {
  return { remaining: count, completed: 0, failed: 0, warning: 0, failedUIDs: [] };
}

/** Counts one C-STORE response, or undefined for one that could not be asked for (PS3.4 C.4.2.1). */
export function count(progress: TransferProgress, sopInstanceUID: string, status: number | undefined): void {
  progress.remaining--;
  if (status === 0) progress.completed++;
  else if (status !== undefined && status >> 12 === 0xb) progress.warning++;
  else {
    progress.failed++;
    progress.failedUIDs.push(sopInstanceUID);
  }
}

/** Sends instances by C-STORE, over several associations, and tries again what may yet succeed. Never rejects for a peer. */
export async function sendInstances(
  transfer: Transfer,
  options: SendOptions,
  { transcoder, log }: SendModules,
): Promise<TransferProgress> {
  const progress = startProgress(transfer.instances.length);
  const queue = [...transfer.instances];
  const wanted = Math.ceil(queue.length / WORTH_AN_ASSOCIATION);
  const lanes = Math.max(1, Math.min(options.sendAssociations, wanted));
  const shared: Shared = { transfer, options, transcoder, log, progress, queue, unanswered: 0, unreachable: false };
  await Promise.all(Array.from({ length: lanes }, () => new Lane(shared).run()));
  return progress;
}

interface Shared extends SendModules {
  transfer: Transfer;
  options: SendOptions;
  progress: TransferProgress;
  queue: ServedInstance[];
  /** Instances since the last response. */
  unanswered: number;
  /** No association could be had, with all retries, or none that answers: what is left fails without another try. */
  unreachable: boolean;
}

/** The peer could not be talked to, or there was too much to transcode: another time it may be otherwise. */
const PASSING: ReadonlySet<ErrorCode> = new Set(['peer-unavailable', 'sender-aborted', 'pushback']);

/** One association at a time, and what goes over it. */
class Lane {
  readonly #shared: Shared;
  #association: Requestor | undefined;
  /** Class and transfer syntax of what was proposed on it. */
  #proposed = new Set<string>();

  constructor(shared: Shared) {
    this.#shared = shared;
  }

  async run(): Promise<void> {
    const { transfer, progress, queue } = this.#shared;
    const { signal, onProgress } = transfer;
    const end = (): void => {
      if (signal.reason !== 'cancel') this.#association?.giveUp();
    };
    signal.addEventListener('abort', end);
    try {
      for (;;) {
        if (signal.aborted) break;
        const instance = queue.shift();
        if (!instance) break;
        const status = await this.#send(instance);
        if (status === undefined && signal.aborted) {
          // Not done, but not tried to its end either.
          queue.unshift(instance);
          break;
        }
        count(progress, instance.sopInstanceUID, status);
        await onProgress?.(progress);
      }
    } finally {
      signal.removeEventListener('abort', end);
      await this.#association?.release();
    }
  }

  /** @returns the status of the last response, or undefined where there was none */
  async #send(instance: ServedInstance): Promise<number | undefined> {
    const { transfer, options, transcoder } = this.#shared;
    let status: number | undefined;
    for (let tries = 0; tries <= options.sendRetries && !this.#shared.unreachable; tries++) {
      if (tries > 0) await this.#pause(options.sendBackoffMs * 2 ** (tries - 1));
      if (transfer.signal.aborted) return status;
      try {
        const association = await this.#associationFor(instance);
        const context = contextFor(instance, association.contexts.values(), transcoder);
        if (!context) return undefined;
        const invocation = storeInvocation(instance, context, transcoder, transfer.originator);
        status = (await association.invoke(invocation)).status;
        this.#shared.unanswered = 0;
        // Out of resources is what another time may not find.
        if (status >> 8 !== 0xa7) return status;
      } catch (error) {
        if (!isDagpacsError(error)) throw error;
        const { code } = error;
        this.#shared.log.warn('send-failed', { peer: transfer.to.aeTitle, code, tries });
        if (code === 'peer-unavailable' && tries === options.sendRetries) this.#shared.unreachable = true;
        // What cannot be read is not read the next time.
        if (!PASSING.has(code)) return undefined;
        if (code === 'sender-aborted' && tries === options.sendRetries) this.#shared.unanswered++;
        if (this.#shared.unanswered >= MAX_UNANSWERED) this.#shared.unreachable = true;
      }
    }
    return status;
  }

  async #pause(ms: number): Promise<void> {
    const { signal } = this.#shared.transfer;
    await sleep(ms, undefined, { signal }).catch(() => undefined);
  }

  async #associationFor(instance: ServedInstance): Promise<Requestor> {
    const { transfer, options, log, queue } = this.#shared;
    if (this.#association?.usable && this.#proposed.has(keyOf(instance))) return this.#association;
    await this.#association?.release();
    this.#association = undefined;
    const proposals = proposalsFor([instance, ...queue]);
    this.#proposed = new Set(proposals.keys());
    this.#association = await openAssociation(transfer.to, [...proposals.values()], options, log);
    return this.#association;
  }
}
