import { INVALID_PARAMETER, ProtocolError } from './pdu.ts';

/** Command Field values (PS3.7 E.1). A response's is its request's with the highest bit set. */
export const C_STORE_RQ = 0x0001;
export const C_GET_RQ = 0x0010;
export const C_FIND_RQ = 0x0020;
export const C_MOVE_RQ = 0x0021;
export const C_ECHO_RQ = 0x0030;
export const N_EVENT_REPORT_RQ = 0x0100;
export const N_ACTION_RQ = 0x0130;
export const C_CANCEL_RQ = 0x0fff;
export const RESPONSE = 0x8000;

const NO_DATA_SET = 0x0101;
const DATA_SET = 0x0000;

/** A command set (PS3.7 §9.3, §10.3), as far as services need it. */
export interface Command {
  field: number;
  messageId: number;
  /** Message ID Being Responded To: what a response answers, or a C-CANCEL names. */
  respondedTo: number;
  hasDataset: boolean;
  /** Affected or Requested SOP Class UID. */
  sopClassUID: string;
  /** Affected or Requested SOP Instance UID. */
  sopInstanceUID: string;
  /** Move Destination (0000,0600); empty where there is none. */
  moveDestination: string;
  /** Event Type ID (0000,1002) or Action Type ID (0000,1008). */
  typeId: number;
  /** Status (0000,0900) of a response. */
  status: number;
}

/** How far a C-GET or C-MOVE has come (PS3.4 C.4.2.1.6 to C.4.2.1.9). */
export interface SubOperations {
  /** Left out of a final response. */
  remaining?: number;
  completed: number;
  failed: number;
  warning: number;
}

/** What a service answers with; the rest of a response's command set follows from the request. */
export interface Response {
  status: number;
  /** Error Comment (0000,0902): at most 64 characters. */
  errorComment?: string;
  /** Offending Element (0000,0901): tag as eight hexadecimal digits. */
  offendingElement?: string;
  subOperations?: SubOperations;
  /** A data set that follows, in the transfer syntax of the presentation context. */
  dataset?: Buffer;
}

/** What is asked of the peer. */
export interface Request {
  field: number;
  sopClassUID: string;
  sopInstanceUID: string;
  /** A data set follows. */
  hasDataset: boolean;
  /** Event Type ID. */
  typeId?: number;
  /** For whom a C-MOVE's C-STORE is done (PS3.7 9.1.1). */
  originator?: { aeTitle: string; messageId: number };
}

const text = (value: Buffer): string => value.toString('latin1').replace(/[ \0]+$/, '');

/**
 * Reads a command set: Implicit VR Little Endian, group 0000 (PS3.7 §6.3.1). Done here rather than by the library, whose
 * reading and writing of the two command sets takes 75 µs an instance.
 * @throws ProtocolError
 */
export function readCommand(bytes: Buffer): Command {
  const numbers: Record<number, number> = {};
  const texts: Record<number, string> = {};
  let at = 0;
  while (at < bytes.length) {
    if (at + 8 > bytes.length) throw new ProtocolError(INVALID_PARAMETER, 'command set ends inside an element');
    const element = bytes.readUInt16LE(at + 2);
    const end = at + 8 + bytes.readUInt32LE(at + 4);
    if (bytes.readUInt16LE(at) !== 0 || end > bytes.length)
      throw new ProtocolError(INVALID_PARAMETER, 'command set with a wrong tag or length');
    const value = bytes.subarray(at + 8, end);
    // Affected SOP Class and Instance UID, and what the N services call Requested.
    if (element === 0x0002 || element === 0x0003) texts[0x0002] = text(value);
    else if (element === 0x1000 || element === 0x1001) texts[0x1000] = text(value);
    else if (element === 0x0600) texts[element] = text(value).trim();
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
    sopClassUID: texts[0x0002] ?? '',
    sopInstanceUID: texts[0x1000] ?? '',
    moveDestination: texts[0x0600] ?? '',
    typeId: numbers[0x1002] ?? numbers[0x1008] ?? 0,
    status: numbers[0x0900] ?? 0,
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

function padded(value: string, pad: string): Buffer {
  return Buffer.from(value.length % 2 ? value + pad : value, 'latin1');
}

const N_SERVICES = 0x0100;

/** The command set that answers `request` (PS3.7 §9.3, §10.3), without its group length. */
export function responseElements(request: Command, response: Response): Buffer[] {
  const { subOperations, dataset } = response;
  const parts: Buffer[] = [];
  if (request.sopClassUID) parts.push(element(0x0002, padded(request.sopClassUID, '\0')));
  parts.push(
    element(0x0100, short(request.field | RESPONSE)),
    element(0x0120, short(request.messageId)),
    element(0x0800, short(dataset ? DATA_SET : NO_DATA_SET)),
    element(0x0900, short(response.status)),
  );
  if (response.offendingElement) parts.push(element(0x0901, Buffer.from(response.offendingElement, 'hex').swap16()));
  if (response.errorComment) parts.push(element(0x0902, padded(response.errorComment, ' ')));
  if (request.sopInstanceUID) parts.push(element(0x1000, padded(request.sopInstanceUID, '\0')));
  if (request.typeId) parts.push(element(request.field === N_ACTION_RQ ? 0x1008 : 0x1002, short(request.typeId)));
  if (subOperations) {
    const { remaining, completed, failed, warning } = subOperations;
    const counts = [remaining, completed, failed, warning];
    for (const [i, count] of counts.entries()) {
      // They are US: of more than that as many are told as there is room for.
      if (count !== undefined) parts.push(element(0x1020 + i, short(Math.min(count, 0xffff))));
    }
  }
  return parts;
}

/** The command set of a request of ours, without its group length. */
export function requestElements(messageId: number, request: Request): Buffer[] {
  const { field, sopClassUID, sopInstanceUID, hasDataset, typeId, originator } = request;
  const parts = [
    element(0x0002, padded(sopClassUID, '\0')),
    element(0x0100, short(field)),
    element(0x0110, short(messageId)),
  ];
  // Priority (medium) is one of the C services.
  if (field < N_SERVICES && field !== C_ECHO_RQ) parts.push(element(0x0700, short(0)));
  parts.push(element(0x0800, short(hasDataset ? DATA_SET : NO_DATA_SET)));
  if (sopInstanceUID) parts.push(element(0x1000, padded(sopInstanceUID, '\0')));
  if (typeId !== undefined) parts.push(element(0x1002, short(typeId)));
  if (originator) {
    parts.push(element(0x1030, padded(originator.aeTitle, ' ')), element(0x1031, short(originator.messageId)));
  }
  return parts;
}
