import { INVALID_PARAMETER, ProtocolError } from './pdu.ts';

/** Command Field values (PS3.7 E.1). A response's is its request's with the highest bit set. */
export const C_STORE_RQ = 0x0001;
export const C_ECHO_RQ = 0x0030;
export const C_CANCEL_RQ = 0x0fff;
export const RESPONSE = 0x8000;

const NO_DATA_SET = 0x0101;

/** A request's command set (PS3.7 §9.3), as far as services need it. */
export interface Command {
  field: number;
  messageId: number;
  /** Message ID Being Responded To: what a C-CANCEL names. */
  respondedTo: number;
  hasDataset: boolean;
  sopClassUID: string;
  sopInstanceUID: string;
}

/** What a service answers with; the rest of a response's command set follows from the request. */
export interface Response {
  status: number;
  /** Error Comment (0000,0902): at most 64 characters. */
  errorComment?: string;
  /** Offending Element (0000,0901): tag as eight hexadecimal digits. */
  offendingElement?: string;
}

const uid = (value: Buffer): string => value.toString('latin1').replace(/[ \0]+$/, '');

/**
 * Reads a command set: Implicit VR Little Endian, group 0000 (PS3.7 §6.3.1). Done here rather than by the library, whose
 * reading and writing of the two command sets takes 75 µs an instance.
 * @throws ProtocolError
 */
export function readCommand(bytes: Buffer): Command {
  const numbers: Record<number, number> = {};
  const uids: Record<number, string> = {};
  let at = 0;
  while (at < bytes.length) {
    if (at + 8 > bytes.length) throw new ProtocolError(INVALID_PARAMETER, 'command set ends inside an element');
    const element = bytes.readUInt16LE(at + 2);
    const end = at + 8 + bytes.readUInt32LE(at + 4);
    if (bytes.readUInt16LE(at) !== 0 || end > bytes.length)
      throw new ProtocolError(INVALID_PARAMETER, 'command set with a wrong tag or length');
    const value = bytes.subarray(at + 8, end);
    // Affected SOP Class and Instance UID, and what the N services call Requested.
    if (element === 0x0002 || element === 0x0003) uids[0x0002] = uid(value);
    else if (element === 0x1000 || element === 0x1001) uids[0x1000] = uid(value);
    else if (value.length === 2) numbers[element] = value.readUInt16LE(0);
    at = end;
  }
  const field = numbers[0x0100];
  if (field === undefined || numbers[0x0800] === undefined)
    throw new ProtocolError(INVALID_PARAMETER, 'command set without Command Field or Command Data Set Type');
  const messageId = numbers[0x0110];
  if (messageId === undefined && field !== C_CANCEL_RQ && field < RESPONSE)
    throw new ProtocolError(INVALID_PARAMETER, 'request without Message ID');
  return {
    field,
    messageId: messageId ?? 0,
    respondedTo: numbers[0x0120] ?? 0,
    hasDataset: numbers[0x0800] !== NO_DATA_SET,
    sopClassUID: uids[0x0002] ?? '',
    sopInstanceUID: uids[0x1000] ?? '',
  };
}

function element(tag: number, value: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16LE(tag, 2);
  header.writeUInt32LE(value.length, 4);
  return Buffer.concat([header, value]);
}

function short(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16LE(value);
  return out;
}

function padded(text: string, pad: string): Buffer {
  return Buffer.from(text.length % 2 ? text + pad : text, 'latin1');
}

/** Writes the whole P-DATA-TF that answers `request` without a data set (PS3.7 §9.3). */
export function writeResponse(contextId: number, request: Command, response: Response): Buffer {
  const parts: Buffer[] = [];
  if (request.sopClassUID) parts.push(element(0x0002, padded(request.sopClassUID, '\0')));
  parts.push(
    element(0x0100, short(request.field | RESPONSE)),
    element(0x0120, short(request.messageId)),
    element(0x0800, short(NO_DATA_SET)),
    element(0x0900, short(response.status)),
  );
  if (response.offendingElement) parts.push(element(0x0901, Buffer.from(response.offendingElement, 'hex').swap16()));
  if (response.errorComment) parts.push(element(0x0902, padded(response.errorComment, ' ')));
  if (request.sopInstanceUID) parts.push(element(0x1000, padded(request.sopInstanceUID, '\0')));
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const head = Buffer.alloc(24);
  head[0] = 0x04;
  head.writeUInt32BE(length + 18, 2);
  head.writeUInt32BE(length + 14, 6);
  head[10] = contextId;
  // Command, last fragment.
  head[11] = 0x03;
  // Command Group Length (0000,0000).
  head.writeUInt32LE(4, 16);
  head.writeUInt32LE(length, 20);
  return Buffer.concat([head, ...parts]);
}
