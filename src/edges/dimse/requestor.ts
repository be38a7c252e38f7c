import { connect, type Socket } from 'node:net';
import dimse from 'dcmjs-dimse';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { readAssociateAnswer, rejectionOf } from './associate-ac.ts';
import type { Command } from './command.ts';
import { Exchange } from './exchange.ts';
import type { Invocation } from './invoker.ts';
import type { AnsweredContext } from './negotiation.ts';
import * as pdu from './pdu.ts';
import type { Peer } from './peers.ts';
import { MAX_SENT, writeAll } from './socket-writes.ts';
import { connectTls, type TlsOptions } from './tls.ts';

/** A presentation context that is proposed. */
export interface Proposal {
  abstractSyntax: string;
  transferSyntaxes: readonly string[];
  roles?: { scu: boolean; scp: boolean };
}

export interface RequestorOptions {
  /** Our AE title. */
  aeTitle: string;
  maxPduLength: number;
  /** Milliseconds in which the peer must take the connection and answer the association. */
  artimMs: number;
  dimseTimeoutMs: number;
  /** What we show to peers over TLS, and whom we trust. */
  tls?: TlsOptions;
}

/** How long a peer may take to read our last PDU. */
const LINGER_MS = 1000;
/** How many presentation contexts an association may have (PS3.8 §9.3.2.2: odd ids to 255). */
export const MAX_CONTEXTS = 128;

/**
 * Opens an association with a peer.
 * @throws DagpacsError `peer-unavailable`
 */
export async function openAssociation(
  peer: Peer,
  proposals: readonly Proposal[],
  options: RequestorOptions,
  log: Log,
): Promise<Requestor> {
  const { host, port } = peer;
  const socket = peer.tls ? connectTls(peer, options.tls) : connect({ host, port, noDelay: true });
  const requestor = new Requestor(socket, peer, proposals, options, log);
  await requestor.opened;
  return requestor;
}

/** One association that we asked for (PS3.8 §9.2), from connecting to its close. The library writes its PDUs. */
export class Requestor extends dimse.Scp {
  declare association: InstanceType<typeof dimse.association.Association>;
  /** Resolves when the association is there. Rejects with `peer-unavailable`. */
  readonly opened: Promise<void>;
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #peer: Peer;
  readonly #proposals: readonly Proposal[];
  readonly #options: RequestorOptions;
  readonly #log: Log;
  readonly #reader: pdu.PduReader;
  #opening: PromiseWithResolvers<void>;
  #state: 'opening' | 'established' | 'releasing' | 'closed' = 'opening';
  #exchange: Exchange | undefined;
  #timer: NodeJS.Timeout;
  #refused: string | undefined;

  constructor(socket: Socket, peer: Peer, proposals: readonly Proposal[], options: RequestorOptions, log: Log) {
    super(socket, {});
    this.#socket = socket;
    this.#peer = peer;
    this.#proposals = proposals;
    this.#options = options;
    this.#log = log;
    this.#opening = Promise.withResolvers<void>();
    this.opened = this.#opening.promise;
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    this.#reader = new pdu.PduReader(
      { dataLength: options.maxPduLength },
      {
        begin: (type) => this.#begin(type),
        pdu: (type, body) => this.#take(type, body),
        fragment: (fragment) => this.#exchange?.fragment(fragment),
      },
    );
    this.#timer = setTimeout(() => socket.destroy(), options.artimMs);
    socket.once(peer.tls ? 'secureConnect' : 'connect', () => this.sendAssociationRequest(this.#describe()));
    socket.on('data', (bytes) => this.#receive(bytes));
    // A close event follows, and says all there is to do.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#closed());
  }

  /** Called by the library's constructor, where it would begin to read the socket. */
  _wrapSocket(): void {
    // We do.
  }

  /** Accepted presentation contexts by their ids. */
  get contexts(): ReadonlyMap<number, AnsweredContext> {
    return this.#exchange?.contexts ?? new Map();
  }

  /** False once nothing can be asked any more. */
  get usable(): boolean {
    return this.#state === 'established';
  }

  /** Asks for an operation. @throws DagpacsError `sender-aborted` when the association ends first */
  invoke(invocation: Invocation): Promise<Command> {
    if (!this.#exchange || !this.usable) throw new DagpacsError('sender-aborted', 'the association has ended');
    return this.#exchange.invoker.invoke(invocation);
  }

  /** Releases the association, and waits for it. */
  async release(): Promise<void> {
    if (this.#state === 'established') {
      this.#state = 'releasing';
      this.#timer = setTimeout(() => this.#socket.destroy(), this.#options.artimMs);
      this.sendAssociationReleaseRequest();
    }
    await this.closed;
  }

  /** Ends the association at once. */
  giveUp(): void {
    if (this.#state === 'established') this.sendAbort(0, 0);
    this.#end();
  }

  /** Nothing is asked or read any more, though the connection may take a moment to close. */
  #end(): void {
    if (this.#state !== 'opening') this.#state = 'closed';
    this.#exchange?.stop();
    // A peer that takes nothing does not take our last PDU either.
    setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
    this.#socket.destroySoon();
  }

  #describe(): typeof this.association {
    const association = new dimse.association.Association(this.#options.aeTitle, this.#peer.aeTitle);
    association.setMaxPduLength(this.#options.maxPduLength);
    for (const [i, { abstractSyntax, transferSyntaxes, roles }] of this.#proposals.entries()) {
      const id = association.addPresentationContext(abstractSyntax, 2 * i + 1);
      for (const uid of transferSyntaxes) association.addTransferSyntaxToPresentationContext(id, uid);
      if (!roles) continue;
      const context = association.getPresentationContext(id);
      context.setUserRole(roles.scu);
      context.setProviderRole(roles.scp);
    }
    return association;
  }

  #receive(bytes: Buffer): void {
    if (this.#state === 'closed') return;
    try {
      this.#reader.push(bytes);
    } catch (error) {
      if (!(error instanceof pdu.ProtocolError)) throw error;
      this.#log.warn('association-aborted', { peer: this.#peer.aeTitle, why: error.message });
      this.sendAbort(2, error.reason);
      this.#end();
    }
  }

  #begin(type: number): void {
    const due: Record<string, number[]> = {
      opening: [pdu.ASSOCIATE_AC, pdu.ASSOCIATE_RJ],
      established: [pdu.DATA_TF, pdu.RELEASE_RQ],
      releasing: [pdu.DATA_TF, pdu.RELEASE_RQ, pdu.RELEASE_RP],
    };
    if (type !== pdu.ABORT && !due[this.#state]?.includes(type))
      throw new pdu.ProtocolError(pdu.UNEXPECTED_PDU, 'a PDU that is not due');
  }

  #take(type: number, body: Buffer): void {
    if (type === pdu.ASSOCIATE_AC) this.#establish(body);
    else if (type === pdu.ASSOCIATE_RJ) {
      this.#refused = rejectionOf(body);
      this.#log.warn('association-refused', { peer: this.#peer.aeTitle, why: this.#refused });
      this.#socket.destroy();
    } else if (type === pdu.RELEASE_RQ) {
      this.sendAssociationReleaseResponse();
      this.#end();
    } else this.#socket.destroy();
  }

  #establish(body: Buffer): void {
    const { accepted, maxPduLength } = readAssociateAnswer(body);
    const contexts = new Map<number, AnsweredContext>();
    for (const [i, { abstractSyntax, transferSyntaxes }] of this.#proposals.entries()) {
      const id = 2 * i + 1;
      const transferSyntax = accepted.get(id);
      if (transferSyntax === undefined) continue;
      // One that was not proposed cannot be kept to.
      if (transferSyntaxes.includes(transferSyntax))
        contexts.set(id, { id, abstractSyntax, result: 0, transferSyntax });
    }
    const { dimseTimeoutMs: timeoutMs } = this.#options;
    const { aeTitle: peerAE, host } = this.#peer;
    const options = {
      peer: `${peerAE}@${host}`,
      peerAE,
      maxPduLength: Math.min(maxPduLength || MAX_SENT, MAX_SENT),
      timeoutMs,
    };
    this.#exchange = new Exchange(new Map(), contexts, options, this.#log, {
      send: (...parts) => writeAll(this.#socket, parts),
      giveUp: () => this.giveUp(),
      hold: () => this.#reader.hold(),
      settled: () => undefined,
      read: () => undefined,
      lend: () => undefined,
      giveBack: () => undefined,
    });
    clearTimeout(this.#timer);
    // A peer that does not take what it is sent is as silent as one that does not answer.
    this.#socket.setTimeout(timeoutMs, () => this.#socket.destroy());
    this.#state = 'established';
    this.#opening.resolve();
  }

  #closed(): void {
    clearTimeout(this.#timer);
    this.#state = 'closed';
    this.#exchange?.stop();
    this.#opening.reject(
      this.#refused === undefined
        ? new DagpacsError('peer-unavailable', 'The peer cannot be reached')
        : new DagpacsError('peer-unavailable', 'The peer refuses the association', { rule: this.#refused }),
    );
  }
}
