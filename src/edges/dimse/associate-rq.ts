import { INVALID_PARAMETER, ProtocolError } from './pdu.ts';

/** One proposal of an A-ASSOCIATE-RQ. */
export interface ProposedContext {
  id: number;
  abstractSyntax: string;
  /** In the order of the proposer's preference. */
  transferSyntaxes: string[];
  /** What SCP/SCU Role Selection asks for the abstract syntax (PS3.7 D.3.3.4), where it does. */
  roles?: { scu: boolean; scp: boolean };
  /** Service-class-application-information of SOP Class Extended Negotiation (PS3.7 D.3.3.5), where there is any. */
  extended?: Buffer;
}

export interface AssociateRequest {
  protocolVersion: number;
  calledAE: string;
  callingAE: string;
  applicationContext: string;
  /** In ascending order of their ids. */
  contexts: ProposedContext[];
  /** The longest P-DATA-TF that the peer takes; 0: any. */
  maxPduLength: number;
}

/** Reader of the items and sub-items of an A-ASSOCIATE PDU; every length is checked against what holds it. */
export function* items(
  body: Buffer,
  start: number,
  end: number,
): Generator<{ type: number; start: number; end: number }> {
  let at = start;
  while (at < end) {
    if (at + 4 > end) throw new ProtocolError(INVALID_PARAMETER, 'an A-ASSOCIATE PDU ends inside an item');
    const next = at + 4 + body.readUInt16BE(at + 2);
    if (next > end) throw new ProtocolError(INVALID_PARAMETER, 'an A-ASSOCIATE item exceeds what holds it');
    yield { type: body[at] as number, start: at + 4, end: next };
    at = next;
  }
}

/** Text with its padding (space and, against the standard but often, NUL) cut off. */
export function text(body: Buffer, start: number, end: number): string {
  return body.toString('latin1', start, end).replace(/^[ \0]+|[ \0]+$/g, '');
}

function readContext(body: Buffer, start: number, end: number): ProposedContext {
  if (end - start < 4) throw new ProtocolError(INVALID_PARAMETER, 'presentation context item too short');
  const context: ProposedContext = { id: body[start] as number, abstractSyntax: '', transferSyntaxes: [] };
  for (const item of items(body, start + 4, end)) {
    if (item.type === 0x30) context.abstractSyntax = text(body, item.start, item.end);
    else if (item.type === 0x40) context.transferSyntaxes.push(text(body, item.start, item.end));
  }
  return context;
}

function readUserInformation(body: Buffer, start: number, end: number) {
  let maxPduLength = 0;
  const roles = new Map<string, { scu: boolean; scp: boolean }>();
  const extended = new Map<string, Buffer>();
  for (const item of items(body, start, end)) {
    if (item.type === 0x51 && item.end - item.start === 4) maxPduLength = body.readUInt32BE(item.start);
    else if (item.type === 0x54 && item.end - item.start > 4) {
      const uidEnd = item.start + 2 + body.readUInt16BE(item.start);
      if (uidEnd + 2 !== item.end) throw new ProtocolError(INVALID_PARAMETER, 'role selection item of wrong length');
      roles.set(text(body, item.start + 2, uidEnd), { scu: body[uidEnd] === 1, scp: body[uidEnd + 1] === 1 });
    } else if (item.type === 0x56 && item.end - item.start > 2) {
      const uidEnd = item.start + 2 + body.readUInt16BE(item.start);
      if (uidEnd > item.end) throw new ProtocolError(INVALID_PARAMETER, 'extended negotiation item of wrong length');
      extended.set(text(body, item.start + 2, uidEnd), body.subarray(uidEnd, item.end));
    }
  }
  return { maxPduLength, roles, extended };
}

/**
 * Reads an A-ASSOCIATE-RQ (PS3.8 §9.3.2) without its PDU header. The library's own reader gives contexts other ids than
 * they were proposed with where those do not ascend, and looks at neither protocol version nor application context.
 * @throws ProtocolError
 */
export function readAssociateRequest(body: Buffer): AssociateRequest {
  if (body.length < 68) throw new ProtocolError(INVALID_PARAMETER, 'A-ASSOCIATE-RQ too short');
  const request: AssociateRequest = {
    protocolVersion: body.readUInt16BE(0),
    calledAE: text(body, 4, 20),
    callingAE: text(body, 20, 36),
    applicationContext: '',
    contexts: [],
    maxPduLength: 0,
  };
  let information: ReturnType<typeof readUserInformation> | undefined;
  for (const item of items(body, 68, body.length)) {
    if (item.type === 0x10) request.applicationContext = text(body, item.start, item.end);
    else if (item.type === 0x20) request.contexts.push(readContext(body, item.start, item.end));
    else if (item.type === 0x50) {
      information = readUserInformation(body, item.start, item.end);
      request.maxPduLength = information.maxPduLength;
    }
  }
  request.contexts.sort((a, b) => a.id - b.id);
  request.contexts.forEach((context, i) => {
    if (context.id % 2 === 0 || context.id === request.contexts[i - 1]?.id)
      throw new ProtocolError(INVALID_PARAMETER, 'presentation context ids must be odd and unique');
    const roles = information?.roles.get(context.abstractSyntax);
    if (roles) context.roles = roles;
    const extended = information?.extended.get(context.abstractSyntax);
    if (extended) context.extended = extended;
  });
  return request;
}
