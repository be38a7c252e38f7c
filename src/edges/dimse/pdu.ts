/** PDU types (PS3.8 §9.3). */
export const ASSOCIATE_RQ = 0x01;
export const ASSOCIATE_AC = 0x02;
export const ASSOCIATE_RJ = 0x03;
export const DATA_TF = 0x04;
export const RELEASE_RQ = 0x05;
export const RELEASE_RP = 0x06;
export const ABORT = 0x07;

/** Reasons of an A-ABORT by the service provider (PS3.8 §9.3.8). */
export type AbortReason = 0 | 1 | 2 | 4 | 5 | 6;
export const UNRECOGNIZED_PDU = 1;
export const UNEXPECTED_PDU = 2;
export const UNEXPECTED_PARAMETER = 5;
export const INVALID_PARAMETER = 6;

/** The peer broke the upper layer protocol: the association is to be aborted for `reason`. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly reason: AbortReason;

  constructor(reason: AbortReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** A part of a presentation data value (PS3.8 Annex E.2): a view of the bytes as they came. */
export interface Fragment {
  contextId: number;
  command: boolean;
  bytes: Buffer;
  /** These are the last bytes of the message's command set or data set. */
  last: boolean;
}

export interface PduHandler {
  /** Called with a PDU's type before its body is waited for; throws where this PDU may not come now. */
  begin(type: number): void;
  /** A whole PDU that is not P-DATA-TF, without its 6 bytes of header. */
  pdu(type: number, body: Buffer): void;
  fragment(fragment: Fragment): void;
}

export interface PduLimits {
  /** The P-DATA-TF length that the peer was told to keep to. */
  dataLength: number;
}

/** What a sender that counts headers differently may exceed the negotiated length by. */
const SLACK = 64;
/** An A-ASSOCIATE-RQ of 128 presentation contexts with 50 transfer syntaxes each takes 200 KB. */
const MAX_ASSOCIATE = 512 * 1024;
const MAX_SHORT = 64;

/**
 * Cuts a byte stream into PDUs. P-DATA-TF is never put together: its values are handed on in the pieces in which they
 * arrive, so that a fragment costs neither a copy nor memory of the length that a peer claims for it. Whatever outlives the
 * call to {@link push} is copied, but for the fragments, which the handler is to copy or to keep from being overwritten.
 */
export class PduReader {
  readonly #limits: PduLimits;
  readonly #handler: PduHandler;
  /** Header bytes that are split over chunks. */
  readonly #header = Buffer.alloc(6);
  #headerLength = 0;
  #state: 'pdu' | 'body' | 'pdv' | 'value' = 'pdu';
  #type = 0;
  /** Bytes of the PDU that are still to come. */
  #pduLeft = 0;
  #body: Buffer[] = [];
  /** Bytes of the presentation data value that are still to come. */
  #valueLeft = 0;
  #contextId = 0;
  #control = 0;
  #held = false;
  #backlog: Buffer[] = [];

  constructor(limits: PduLimits, handler: PduHandler) {
    this.#limits = limits;
    this.#handler = handler;
  }

  /** Nothing more is handed on until {@link resume}; to be called by the handler. */
  hold(): void {
    this.#held = true;
  }

  get held(): boolean {
    return this.#held;
  }

  /** A PDU has begun and not ended. */
  get inside(): boolean {
    return this.#state !== 'pdu' || this.#headerLength > 0;
  }

  /** Goes on where {@link hold} stopped. @throws ProtocolError */
  resume(): void {
    this.#held = false;
    const backlog = this.#backlog;
    this.#backlog = [];
    for (const chunk of backlog) this.#feed(chunk, true);
  }

  /** @throws ProtocolError where the bytes break PS3.8 §9.3, and what the handler throws */
  push(chunk: Buffer): void {
    this.#feed(chunk, false);
  }

  #feed(chunk: Buffer, owned: boolean): void {
    let at = 0;
    while (at < chunk.length && !this.#held) at = this.#step(chunk, at);
    if (at === chunk.length) return;
    const rest = chunk.subarray(at);
    this.#backlog.push(owned ? rest : Buffer.from(rest));
  }

  #step(chunk: Buffer, at: number): number {
    if (this.#state === 'body') return this.#readBody(chunk, at);
    if (this.#state === 'value') return this.#readValue(chunk, at);
    const end = Math.min(chunk.length, at + 6 - this.#headerLength);
    chunk.copy(this.#header, this.#headerLength, at, end);
    this.#headerLength += end - at;
    // A peer that speaks something else is told so by its first byte, rather than waited for.
    if (this.#state === 'pdu' && this.#headerLength === end - at) this.#handler.begin(this.#header[0] as number);
    if (this.#headerLength < 6) return end;
    this.#headerLength = 0;
    if (this.#state === 'pdu') this.#beginPdu();
    else this.#beginValue();
    return end;
  }

  #beginPdu(): void {
    this.#type = this.#header[0] as number;
    this.#pduLeft = this.#header.readUInt32BE(2);
    if (this.#type === DATA_TF) {
      if (this.#pduLeft > this.#limits.dataLength + SLACK)
        throw new ProtocolError(INVALID_PARAMETER, 'P-DATA-TF exceeds the maximum length');
      if (this.#pduLeft < 6) throw new ProtocolError(INVALID_PARAMETER, 'P-DATA-TF without a value');
      this.#state = 'pdv';
      return;
    }
    if (this.#pduLeft > (this.#type <= ASSOCIATE_AC ? MAX_ASSOCIATE : MAX_SHORT))
      throw new ProtocolError(INVALID_PARAMETER, 'PDU length exceeds its limit');
    this.#body = [];
    this.#state = 'body';
    if (this.#pduLeft === 0) this.#endBody();
  }

  #readBody(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#pduLeft);
    this.#body.push(Buffer.from(chunk.subarray(at, end)));
    this.#pduLeft -= end - at;
    if (this.#pduLeft === 0) this.#endBody();
    return end;
  }

  #endBody(): void {
    const body = this.#body.length === 1 ? (this.#body[0] as Buffer) : Buffer.concat(this.#body);
    this.#body = [];
    this.#state = 'pdu';
    this.#handler.pdu(this.#type, body);
  }

  #beginValue(): void {
    const length = this.#header.readUInt32BE(0);
    this.#contextId = this.#header[4] as number;
    this.#control = this.#header[5] as number;
    this.#pduLeft -= length + 4;
    this.#valueLeft = length - 2;
    if (length < 2 || this.#pduLeft < 0)
      throw new ProtocolError(INVALID_PARAMETER, 'presentation data value exceeds its PDU');
    this.#state = 'value';
    if (this.#valueLeft === 0) this.#endValue(Buffer.alloc(0));
  }

  #readValue(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#valueLeft);
    this.#valueLeft -= end - at;
    const bytes = chunk.subarray(at, end);
    if (this.#valueLeft === 0) this.#endValue(bytes);
    else this.#hand(bytes, false);
    return end;
  }

  #endValue(bytes: Buffer): void {
    if (this.#pduLeft === 0) this.#state = 'pdu';
    else if (this.#pduLeft < 6) throw new ProtocolError(INVALID_PARAMETER, 'P-DATA-TF ends inside a value');
    else this.#state = 'pdv';
    this.#hand(bytes, (this.#control & 2) !== 0);
  }

  #hand(bytes: Buffer, last: boolean): void {
    this.#handler.fragment({ contextId: this.#contextId, command: (this.#control & 1) !== 0, bytes, last });
  }
}
