import { DATA_TF } from './pdu.ts';

/** Bytes of P-DATA-TF before a value: PDU header, and length, context and control of the presentation data value. */
const HEAD = 12;
/** A PDU's length counts what follows its first six bytes. */
const PDV_HEAD = 6;
const COMMAND = 1;
const LAST = 2;

/** The head of a P-DATA-TF with one value of `length` bytes (PS3.8 §9.3.5, Annex E.2). */
export function dataHead(
  contextId: number,
  command: boolean,
  last: boolean,
  length: number,
  out: Buffer,
  at = 0,
): void {
  out[at] = DATA_TF;
  out[at + 1] = 0;
  out.writeUInt32BE(length + PDV_HEAD, at + 2);
  out.writeUInt32BE(length + 2, at + 6);
  out[at + 10] = contextId;
  out[at + 11] = (command ? COMMAND : 0) | (last ? LAST : 0);
}

/** Bytes of a value that a PDU of `maxLength` has room for; they are even, as some readers ask of fragments. */
export function roomOf(maxLength: number): number {
  return Math.max(2, (maxLength - PDV_HEAD) & ~1);
}

/** P-DATA-TF PDUs that hold the parts of one command set or data set, in one buffer. */
export function dataPdus(contextId: number, command: boolean, parts: readonly Buffer[], maxLength: number): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const room = roomOf(maxLength);
  if (length <= room) {
    const head = Buffer.alloc(HEAD);
    dataHead(contextId, command, true, length, head);
    return Buffer.concat([head, ...parts], HEAD + length);
  }
  const bytes = Buffer.concat(parts, length);
  const out: Buffer[] = [];
  for (let at = 0; at < length; at += room) {
    const value = bytes.subarray(at, at + room);
    const head = Buffer.alloc(HEAD);
    dataHead(contextId, command, at + room >= length, value.length, head);
    out.push(head, value);
  }
  return Buffer.concat(out);
}

/** The PDUs of a command set, given as its elements: its group length goes before them. */
export function commandPdus(contextId: number, elements: readonly Buffer[], maxLength: number): Buffer {
  const length = elements.reduce((sum, part) => sum + part.length, 0);
  const group = Buffer.alloc(12);
  // Command Group Length (0000,0000).
  group.writeUInt32LE(4, 4);
  group.writeUInt32LE(length, 8);
  return dataPdus(contextId, true, [group, ...elements], maxLength);
}

/** Messages with the same command set, whose PDUs are given, and a data set each, in one buffer. */
export function messages(
  contextId: number,
  commandSet: Buffer,
  datasets: readonly Buffer[],
  maxLength: number,
): Buffer {
  const room = roomOf(maxLength);
  if (datasets.some(({ length }) => length > room))
    return Buffer.concat(datasets.flatMap((each) => [commandSet, dataPdus(contextId, false, [each], maxLength)]));
  const each = commandSet.length + HEAD;
  const out = Buffer.allocUnsafe(datasets.reduce((sum, { length }) => sum + each + length, 0));
  let at = 0;
  for (const dataset of datasets) {
    out.set(commandSet, at);
    dataHead(contextId, false, true, dataset.length, out, at + commandSet.length);
    out.set(dataset, at + each);
    at += each + dataset.length;
  }
  return out;
}
