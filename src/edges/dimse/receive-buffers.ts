import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Large enough that a PDU of 128 KiB takes three reads. */
const SIZE = 64 * 1024;
/** A read that fills less of its buffer is copied: a sender of small pieces may not tie up large ones. */
const WORTH_LENDING = SIZE / 4;

/**
 * The memory that one socket is read into. Node takes 64 KiB anew for every read and leaves them to the garbage collector,
 * which then runs a full collection about every 28 MB received; here a buffer is used again as soon as the last piece of
 * it has been read.
 */
export class ReceiveBuffers {
  #current: Buffer = Buffer.allocUnsafeSlow(SIZE);
  #free: Buffer[] = [];
  /** Buffers of which pieces are out, and how many. */
  #lent = new Map<ArrayBufferLike, { buffer: Buffer; pieces: number }>();

  /** Where the next bytes go. */
  current(): Buffer {
    if (this.#lent.has(this.#current.buffer)) this.#current = this.#free.pop() ?? Buffer.allocUnsafeSlow(SIZE);
    return this.#current;
  }

  /** The bytes that were just received: a view of the buffer, or a copy where they are few. */
  received(length: number): Buffer {
    const bytes = this.#current.subarray(0, length);
    return length < WORTH_LENDING ? Buffer.from(bytes) : bytes;
  }

  /** `piece` is kept: its buffer may not be written to until it is given back. */
  lend(piece: Uint8Array): void {
    if (piece.buffer !== this.#current.buffer) return;
    const entry = this.#lent.get(piece.buffer);
    if (entry) entry.pieces += 1;
    else this.#lent.set(piece.buffer, { buffer: this.#current, pieces: 1 });
  }

  giveBack(piece: Uint8Array): void {
    const entry = this.#lent.get(piece.buffer);
    if (!entry || --entry.pieces > 0) return;
    this.#lent.delete(piece.buffer);
    if (entry.buffer !== this.#current) this.#free.push(entry.buffer);
  }
}

/**
 * Reads an accepted connection through `buffers`. Node offers that (`onread`) for sockets that it is asked to construct,
 * not for those that a server accepts, so the connection's handle is moved to a new one.
 */
export function readInto(accepted: Socket, buffers: ReceiveBuffers, receive: (bytes: Buffer) => void): Socket {
  // What is decrypted lies in buffers of its own.
  if (accepted instanceof TLSSocket) return accepted.on('data', receive);
  const owner = accepted as unknown as { _handle: unknown };
  const onread = {
    buffer: () => buffers.current(),
    callback: (length: number) => {
      receive(buffers.received(length));
      return true;
    },
  };
  const socket = new Socket({ handle: owner._handle, onread } as ConstructorParameters<typeof Socket>[0]);
  owner._handle = null;
  return socket;
}
