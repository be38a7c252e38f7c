import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { associateRequest, data, pdu, readAccept } from '../edges/dimse/raw-peer.ts';
import type { DimseAddress } from '../fixtures/dcmtk.ts';

/** How an operation ended. */
export interface Ended {
  status: number;
  /** Responses before the last one. */
  pending: number;
}

/** An SCU that costs little: what it sends is made as it is sent, and of what comes it reads the statuses. */
export interface Scu {
  /** Sends a command and, where there is one, its data set. @throws where the association ends first */
  request(command: Buffer, dataset?: Iterable<Buffer>): Promise<Ended>;
  release(): Promise<void>;
}

const CONTEXT = 1;
const RELEASE = pdu(5, Buffer.alloc(4));

/** Opens an association with one presentation context. @throws where it is refused */
export async function openScu(to: DimseAddress, abstractSyntax: string, transferSyntax: string): Promise<Scu> {
  const socket = connect(to.port, to.host).setNoDelay(true);
  await once(socket, 'connect');
  const responses = new Responses(socket);
  const accepted = responses.next();
  socket.write(
    associateRequest([{ id: CONTEXT, abstractSyntax, transferSyntaxes: [transferSyntax] }], { called: to.aeTitle }),
  );
  const { type, body } = await accepted;
  const { contexts, maximum } = type === 2 ? readAccept(body) : { contexts: new Map(), maximum: 0 };
  if (contexts.get(CONTEXT)?.[0] !== 0) throw new Error(`${to.aeTitle} refuses ${abstractSyntax}`);
  const room = Math.min(maximum || 131072, 131072) - 6;
  return {
    async request(command, dataset) {
      let pending = 0;
      const first = responses.status();
      socket.write(data(CONTEXT, 3, command));
      for (const [chunk, isLast] of lookingAhead(dataset ?? [])) {
        for (let at = 0; at < chunk.length; at += room) {
          const control = isLast && at + room >= chunk.length ? 2 : 0;
          if (!socket.write(data(CONTEXT, control, chunk.subarray(at, at + room)))) await once(socket, 'drain');
        }
      }
      for (let status = await first; ; status = await responses.status()) {
        if (status >> 8 !== 0xff) return { status, pending };
        pending++;
      }
    },
    async release() {
      const closed = once(socket, 'close');
      socket.end(RELEASE);
      await closed;
    },
  };
}

function* lookingAhead(chunks: Iterable<Buffer>): Generator<[chunk: Buffer, isLast: boolean]> {
  let held: Buffer | undefined;
  for (const chunk of chunks) {
    if (held) yield [held, false];
    held = chunk;
  }
  if (held) yield [held, true];
}

/** PDUs as they come, put together only where they lie in several pieces. */
class Responses {
  #held: Buffer = Buffer.alloc(0);
  #pdus: { type: number; body: Buffer }[] = [];
  #waiting: { resolve(next: { type: number; body: Buffer }): void; reject(error: Error): void } | undefined;
  #ended = false;

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#ended = true;
      this.#waiting?.reject(new Error('the association has ended'));
    });
  }

  next(): Promise<{ type: number; body: Buffer }> {
    const next = this.#pdus.shift();
    if (next) return Promise.resolve(next);
    if (this.#ended) return Promise.reject(new Error('the association has ended'));
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  /** Status of the next response; data sets are passed over. */
  async status(): Promise<number> {
    for (;;) {
      const { type, body } = await this.next();
      if (type !== 4) throw new Error(`a PDU of type ${type}`);
      for (let at = 0; at + 6 <= body.length; at += 4 + body.readUInt32BE(at)) {
        const value = body.subarray(at + 6, at + 4 + body.readUInt32BE(at));
        if (((body[at + 5] ?? 0) & 1) === 1) return statusIn(value);
      }
    }
  }

  #take(chunk: Buffer): void {
    let bytes = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk;
    while (bytes.length >= 6 && bytes.length >= 6 + bytes.readUInt32BE(2)) {
      const end = 6 + bytes.readUInt32BE(2);
      this.#pdus.push({ type: bytes[0] as number, body: bytes.subarray(6, end) });
      bytes = bytes.subarray(end);
    }
    this.#held = bytes;
    const waiting = this.#waiting;
    const [first] = this.#pdus;
    if (!waiting || !first) return;
    this.#waiting = undefined;
    this.#pdus.shift();
    waiting.resolve(first);
  }
}

/** Status (0000,0900) of a command set. */
function statusIn(command: Buffer): number {
  for (let at = 0; at + 8 <= command.length; at += 8 + command.readUInt32LE(at + 4)) {
    if (command.readUInt16LE(at + 2) === 0x0900) return command.readUInt16LE(at + 8);
  }
  return -1;
}
