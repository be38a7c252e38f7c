import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import dimse from 'dcmjs-dimse';
import { IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME } from '../../dicom/meta.ts';
import type { Log } from '../../kernel/log.ts';
import { type ProposedContext, readAssociateRequest } from './associate-rq.ts';
import { Exchange } from './exchange.ts';
import { withExtendedNegotiation } from './extended-negotiation.ts';
import { type AnsweredContext, answerContext, type ServiceName } from './negotiation.ts';
import type { DimseOptions } from './options.ts';
import * as pdu from './pdu.ts';
import { policyFor } from './peers.ts';
import { ReceiveBuffers, readInto } from './receive-buffers.ts';
import type { Service } from './services/service.ts';
import { MAX_SENT, writeAll } from './socket-writes.ts';

// The library logs whole associations and commands to the console; what is worth telling goes to our own log.
dimse.log.disableAll(false);
// It announces the smaller of this and of the association's own length, and only the latter is to count.
dimse.Implementation.setMaxPduLength(0xffffffff);
dimse.Implementation.setImplementationClassUid(IMPLEMENTATION_CLASS_UID);
dimse.Implementation.setImplementationVersion(IMPLEMENTATION_VERSION_NAME);

const APPLICATION_CONTEXT = '1.2.840.10008.3.1.1.1';
/** Bytes of a message that a peer sends within {@link DimseOptions.idleTimeoutMs} at least; a modem of 1990 sends more. */
const MIN_PROGRESS = 4096;
/** How long a peer may take to read our last PDU and to close. */
const LINGER_MS = 1000;

/** Why an association is refused: result, source and reason of the A-ASSOCIATE-RJ (PS3.8 §9.3.4), and in words. */
export type Rejection = readonly [result: 1 | 2, source: 1 | 2 | 3, reason: number, why: string];

export interface AssociationModules {
  services: ReadonlyMap<number, Service>;
  log: Log;
  /** Whether one more association is taken; asked once for each request that is right in itself. */
  admit(association: DimseAssociation): Rejection | undefined;
  /** The connection is closed and its last operation has ended. */
  closed(association: DimseAssociation): void;
}

/**
 * One connection from its first byte to its close: the acceptor's state machine (PS3.8 §9.2), with limits. The library
 * supplies the association and writes the PDUs that answer for it. Bytes are read by {@link pdu.PduReader}: the library
 * buffers PDUs of any length, copies each byte several times, and lets a PDU overtake the one that is worked on.
 */
export class DimseAssociation extends dimse.Scp {
  declare association: InstanceType<typeof dimse.association.Association>;
  readonly #socket: Socket;
  readonly #buffers: ReceiveBuffers;
  readonly #options: DimseOptions;
  readonly #modules: AssociationModules;
  readonly #reader: pdu.PduReader;
  readonly #address: string;
  #peer: string;
  #state: 'pending' | 'established' | 'ending' | 'closed' = 'pending';
  #exchange: Exchange | undefined;
  #timer: NodeJS.Timeout;
  /** Our answers to extended negotiation, by SOP class. */
  readonly #extended = new Map<string, Buffer>();
  #releaseAsked = false;
  /** Bytes received so far, and how often we stopped reading. */
  #received = 0;
  #pauses = 0;
  #draining = false;

  constructor(accepted: Socket, options: DimseOptions, modules: AssociationModules) {
    const buffers = new ReceiveBuffers();
    let receive = (_bytes: Buffer): void => undefined;
    const socket = readInto(accepted, buffers, (bytes) => receive(bytes));
    super(socket, {});
    receive = (bytes) => {
      this.#received += bytes.length;
      this.#receive(() => this.#reader.push(bytes));
    };
    this.#buffers = buffers;
    this.#socket = socket;
    this.#options = options;
    this.#modules = modules;
    this.#address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
    this.#peer = `@${this.#address}`;
    // The library aborts nothing where there is no association.
    this.association = new dimse.association.Association('', '');
    this.#reader = new pdu.PduReader(
      { dataLength: options.maxPduLength },
      {
        begin: (type) => this.#begin(type),
        pdu: (type, body) => this.#take(type, body),
        fragment: (fragment) => this.#exchange?.fragment(fragment),
      },
    );
    this.#timer = setTimeout(() => this.giveUp('no association was asked for in time'), options.artimMs);
    socket.on('timeout', () => this.#idle());
    // A close event follows, and says all there is to do.
    socket.on('error', () => undefined);
    socket.on('close', () => void this.#closed());
    socket.resume();
  }

  /** `<calling AE title>@<address>` */
  get peer(): string {
    return this.#peer;
  }

  /** Called by the library's constructor, where it would begin to read the socket. */
  _wrapSocket(): void {
    // We do.
  }

  /** Lets the running operation finish, then aborts. */
  drain(): void {
    this.#draining = true;
    if (this.#state !== 'ending' && !this.#exchange?.performing) this.giveUp('shutting down');
  }

  /** Ends the association now, by an A-ABORT of the service user (PS3.8 §9.3.8), or the connection where there is none. */
  giveUp(why: string): void {
    if (this.#state !== 'established') {
      this.#socket.destroy();
      return;
    }
    this.#modules.log.warn('association-aborted', { peer: this.#peer, why });
    this.sendAbort(0, 0);
    this.#end();
  }

  #receive(read: () => void): void {
    if (this.#state === 'ending' || this.#state === 'closed') return;
    try {
      read();
    } catch (error) {
      const broken = error instanceof pdu.ProtocolError;
      // No peer may bring the process down, whatever it found a way into.
      if (!broken) this.#modules.log.error('association-failed', { error: error instanceof Error ? error.name : '' });
      this.#modules.log.warn('association-aborted', { peer: this.#peer, why: broken ? error.message : 'our failure' });
      this.sendAbort(2, broken ? error.reason : 0);
      this.#end();
      return;
    }
    this.#flow();
  }

  /** Stops and restarts the socket, so that what a peer sends ahead of us stays in its own buffers. */
  #flow(): void {
    const waiting = this.#exchange?.waiting ?? 0;
    const paused = this.#socket.isPaused();
    if (!paused && (waiting >= this.#options.highWaterBytes || this.#reader.held)) {
      this.#pauses++;
      this.#socket.pause();
    } else if (paused && waiting <= this.#options.highWaterBytes / 2 && !this.#reader.held) this.#socket.resume();
  }

  #begin(type: number): void {
    if (type < 0x01 || type > pdu.ABORT) throw new pdu.ProtocolError(pdu.UNRECOGNIZED_PDU, 'no PDU of the upper layer');
    const expected =
      this.#state === 'pending' ? type === pdu.ASSOCIATE_RQ : type === pdu.DATA_TF || type === pdu.RELEASE_RQ;
    if (!expected && type !== pdu.ABORT) throw new pdu.ProtocolError(pdu.UNEXPECTED_PDU, 'a PDU that is not due');
  }

  #take(type: number, body: Buffer): void {
    if (type === pdu.ASSOCIATE_RQ) this.#associate(body);
    else if (type === pdu.ABORT) {
      this.#modules.log.warn('association-aborted', { peer: this.#peer, why: 'by the peer' });
      this.#end();
    } else if (this.#exchange?.arriving) throw new pdu.ProtocolError(pdu.UNEXPECTED_PDU, 'a release inside a message');
    else if (this.#exchange?.performing) {
      this.#releaseAsked = true;
      this.#reader.hold();
    } else this.#release();
  }

  #associate(body: Buffer): void {
    const request = readAssociateRequest(body);
    const { callingAE, calledAE } = request;
    this.#peer = `${callingAE.replace(/[^\x20-\x7e]/g, '?')}@${this.#address}`;
    const policy = policyFor(callingAE, this.#socket instanceof TLSSocket, this.#options.peers);
    const rejection: Rejection | undefined =
      (request.protocolVersion & 1) === 0
        ? [1, 2, 2, 'protocol version']
        : request.applicationContext !== APPLICATION_CONTEXT
          ? [1, 1, 2, 'application context']
          : this.#options.checkCalledAE && calledAE !== this.#options.aeTitle
            ? [1, 1, 7, 'called AE title']
            : policy.known
              ? this.#modules.admit(this)
              : [1, 1, 3, 'calling AE title'];
    clearTimeout(this.#timer);
    if (rejection) {
      const [result, source, reason, why] = rejection;
      this.#modules.log.warn('association-rejected', { peer: this.#peer, why });
      this.sendAssociationReject(result, source, reason);
      this.#end();
      return;
    }
    const answers = request.contexts.map((proposed, i) => this.#answer(proposed, i, policy.services));
    this.association = this.#describe(callingAE, calledAE, answers);
    this.#state = 'established';
    this.#socket.setTimeout(this.#options.idleTimeoutMs);
    this.#timer = this.#watch();
    const accepted = new Map(answers.filter(({ result }) => result === 0).map((answer) => [answer.id, answer]));
    const exchangeOptions = {
      peer: this.#peer,
      peerAE: callingAE,
      maxPduLength: Math.min(request.maxPduLength || MAX_SENT, MAX_SENT),
      timeoutMs: this.#options.dimseTimeoutMs,
    };
    this.#exchange = new Exchange(this.#modules.services, accepted, exchangeOptions, this.#modules.log, {
      send: (...parts) => writeAll(this.#socket, parts),
      giveUp: (why) => this.giveUp(why),
      hold: () => this.#reader.hold(),
      settled: () => this.#settled(),
      read: () => this.#flow(),
      lend: (chunk) => this.#buffers.lend(chunk),
      giveBack: (chunk) => this.#buffers.giveBack(chunk),
    });
    for (const { abstractSyntax, extended } of answers) if (extended) this.#extended.set(abstractSyntax, extended);
    this.sendAssociationAccept();
    const { length } = answers;
    this.#modules.log.info('association-accepted', { peer: this.#peer, contexts: length, accepted: accepted.size });
  }

  /** Contexts beyond the limit are refused without a reason (PS3.8 §9.3.3.2). */
  #answer(proposed: ProposedContext, i: number, services: ReadonlySet<ServiceName> | undefined): AnsweredContext {
    const { id, abstractSyntax } = proposed;
    if (i >= this.#options.maxContexts) return { id, abstractSyntax, transferSyntax: '', result: 2 };
    const { stores } = this.#options;
    return answerContext(proposed, { ...(services && { services }), ...(stores && { stores }) });
  }

  /** The association in the library's terms, from which it writes the A-ASSOCIATE-AC. */
  #describe(callingAE: string, calledAE: string, answers: AnsweredContext[]): typeof this.association {
    const association = new dimse.association.Association(callingAE, calledAE);
    association.setMaxPduLength(this.#options.maxPduLength);
    // They ascend, so that the library keeps their ids.
    for (const answer of answers) {
      association.addPresentationContext(answer.abstractSyntax, answer.id);
      const context = association.getPresentationContext(answer.id);
      context.setResult(answer.result, answer.transferSyntax || undefined);
      if (!answer.roles || answer.result !== 0) continue;
      context.setUserRole(answer.roles.scu);
      context.setProviderRole(answer.roles.scp);
    }
    return association;
  }

  /** An operation was answered: what was put off while it ran comes now. */
  #settled(): void {
    if (this.#state !== 'established') return;
    if (this.#draining && !this.#exchange?.performing) this.giveUp('shutting down');
    else if (this.#releaseAsked) this.#release();
    else if (this.#reader.held) this.#receive(() => this.#reader.resume());
  }

  #release(): void {
    this.sendAssociationReleaseResponse();
    this.#end();
  }

  /** Called by the library with each of its PDUs. */
  _sendPdu(written: { getType(): number; writePdu(): Buffer }): void {
    const bytes = written.writePdu();
    this.#socket.write(written.getType() === pdu.ASSOCIATE_AC ? withExtendedNegotiation(bytes, this.#extended) : bytes);
  }

  /** A peer that sends a byte now and then is never silent, and would keep its association for days. */
  #watch(): NodeJS.Timeout {
    let before = { received: 0, pauses: 0, arriving: false };
    return setInterval(() => {
      const arriving = this.#reader.inside || this.#exchange?.arriving === true;
      const now = { received: this.#received, pauses: this.#pauses, arriving: arriving && !this.#socket.isPaused() };
      const slow = now.received - before.received < MIN_PROGRESS && now.pauses === before.pauses;
      if (before.arriving && now.arriving && slow) this.giveUp('a message that arrives too slowly');
      before = now;
    }, this.#options.idleTimeoutMs);
  }

  /** A peer that waits for us is not idle; one that does not take our answer is. */
  #idle(): void {
    const exchange = this.#exchange;
    const waits = exchange?.busy && (!exchange.arriving || this.#socket.isPaused());
    if (waits && this.#socket.writableLength === 0) {
      this.#socket.setTimeout(this.#options.idleTimeoutMs);
      return;
    }
    this.giveUp('silence');
  }

  /** Nothing is read or answered any more; the peer gets a moment to read our last PDU. */
  #end(): void {
    if (this.#state === 'ending' || this.#state === 'closed') return;
    this.#state = 'ending';
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#socket.destroy(), LINGER_MS);
    this.#exchange?.stop();
    this.#socket.setTimeout(0);
    this.#socket.resume();
    this.#socket.end();
  }

  async #closed(): Promise<void> {
    const { log, closed } = this.#modules;
    clearTimeout(this.#timer);
    const lost = this.#state === 'established';
    this.#state = 'closed';
    this.#exchange?.stop();
    while (this.#exchange?.busy) await this.#exchange.busy;
    if (lost) log.warn('association-lost', { peer: this.#peer });
    if (this.#exchange) log.info('association-ended', { peer: this.#peer, operations: this.#exchange.answered });
    closed(this);
  }
}
