import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A peer that sends bytes of its own making: right ones, wrong ones, or half of them. */
export interface RawPeer {
  socket: Socket;
  send(bytes: Uint8Array): void;
  /** The next PDU, or undefined when the connection was closed first. */
  next(): Promise<{ type: number; body: Buffer } | undefined>;
  /** Resolves when the connection is closed. */
  closed: Promise<void>;
}

export async function rawPeer(port: number): Promise<RawPeer> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const pdus: { type: number; body: Buffer }[] = [];
  let held: Buffer = Buffer.alloc(0);
  let wake = (): void => undefined;
  let ended = false;
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 6 && held.length >= 6 + held.readUInt32BE(2)) {
      const end = 6 + held.readUInt32BE(2);
      pdus.push({ type: held[0] ?? 0, body: held.subarray(6, end) });
      held = held.subarray(end);
    }
    wake();
  });
  void closed.then(() => {
    ended = true;
    wake();
  });
  return {
    socket,
    closed,
    send: (bytes) => void socket.write(bytes),
    async next() {
      while (pdus.length === 0 && !ended) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return pdus.shift();
    },
  };
}

export function pdu(type: number, body: Uint8Array, length = body.length): Buffer {
  const head = Buffer.alloc(6);
  head[0] = type;
  head.writeUInt32BE(length, 2);
  return Buffer.concat([head, body]);
}

function item(type: number, body: Uint8Array): Buffer {
  const head = Buffer.alloc(4);
  head[0] = type;
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([head, body]);
}

export interface Proposal {
  id: number;
  abstractSyntax: string;
  transferSyntaxes: string[];
}

/** A-ASSOCIATE-RQ. */
export function associateRequest(
  contexts: Proposal[],
  changes: {
    version?: number;
    called?: string;
    calling?: string;
    applicationContext?: string;
    /** SOP Class UID → service-class-application-information. */
    extended?: Record<string, number[]>;
    roles?: Record<string, [scu: number, scp: number]>;
  } = {},
): Buffer {
  const fixed = Buffer.alloc(68);
  fixed.writeUInt16BE(changes.version ?? 1, 0);
  fixed.write((changes.called ?? 'DAGPACS').padEnd(16), 4, 'latin1');
  fixed.write((changes.calling ?? 'RAWPEER').padEnd(16), 20, 'latin1');
  const proposed = contexts.map(({ id, abstractSyntax, transferSyntaxes }) =>
    item(
      0x20,
      Buffer.concat([
        Buffer.of(id, 0, 0, 0),
        item(0x30, Buffer.from(abstractSyntax)),
        ...transferSyntaxes.map((uid) => item(0x40, Buffer.from(uid))),
      ]),
    ),
  );
  const named = (type: number, values: Record<string, number[]> = {}) =>
    Object.entries(values).map(([uid, bytes]) =>
      item(type, Buffer.concat([Buffer.of(0, uid.length), Buffer.from(uid), Buffer.from(bytes)])),
    );
  const subItems = [...named(0x54, changes.roles), ...named(0x56, changes.extended)];
  const user = item(0x50, Buffer.concat([item(0x51, Buffer.of(0, 0, 0x40, 0)), ...subItems]));
  const application = item(0x10, Buffer.from(changes.applicationContext ?? '1.2.840.10008.3.1.1.1'));
  return pdu(0x01, Buffer.concat([fixed, application, ...proposed, user]));
}

/** Presentation context id → result and transfer syntax, and the maximum length, of an A-ASSOCIATE-AC. */
export function readAccept(body: Buffer): { contexts: Map<number, [result: number, uid: string]>; maximum: number } {
  const contexts = new Map<number, [number, string]>();
  let maximum = 0;
  for (let at = 68; at + 4 <= body.length; at += 4 + body.readUInt16BE(at + 2)) {
    const value = body.subarray(at + 4, at + 4 + body.readUInt16BE(at + 2));
    if (body[at] === 0x21) contexts.set(value[0] ?? 0, [value[2] ?? -1, value.toString('latin1', 8)]);
    if (body[at] === 0x50) maximum = value.readUInt32BE(4);
  }
  return { contexts, maximum };
}

/** One P-DATA-TF with one presentation data value. */
export function data(contextId: number, control: number, bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(6);
  head.writeUInt32BE(bytes.length + 2, 0);
  head[4] = contextId;
  head[5] = control;
  return pdu(0x04, Buffer.concat([head, bytes]));
}

/** A command set of the given elements of group 0000: numbers are US, text is UI. */
export function command(elements: Record<number, number | string>): Buffer {
  const parts = Object.entries(elements).map(([tag, value]) => {
    const bytes = typeof value === 'number' ? Buffer.alloc(2) : Buffer.from(value.length % 2 ? `${value}\0` : value);
    if (typeof value === 'number') bytes.writeUInt16LE(value);
    const head = Buffer.alloc(8);
    head.writeUInt16LE(Number(tag), 2);
    head.writeUInt32LE(bytes.length, 4);
    return Buffer.concat([head, bytes]);
  });
  return Buffer.concat(parts);
}

/** US elements of the command set in a P-DATA-TF, by element number. */
export function readCommandNumbers(body: Buffer): Record<number, number> {
  const numbers: Record<number, number> = {};
  for (let at = 6; at + 8 <= body.length; at += 8 + body.readUInt32LE(at + 4)) {
    if (body.readUInt32LE(at + 4) === 2) numbers[body.readUInt16LE(at + 2)] = body.readUInt16LE(at + 8);
  }
  return numbers;
}
