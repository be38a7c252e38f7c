import type { Socket } from 'node:net';

/** The longest P-DATA-TF that is sent to a peer that takes more. */
export const MAX_SENT = 131072;

/**
 * Writes parts in one piece, and with them what else is written before the event loop goes on.
 * @returns a promise where the peer is slow: it resolves when there is room again, or the connection is closed
 */
export function writeAll(socket: Socket, parts: readonly Uint8Array[]): Promise<void> | undefined {
  if (socket.writableCorked === 0) {
    socket.cork();
    process.nextTick(() => socket.uncork());
  }
  let room = true;
  for (const part of parts) room = socket.write(part);
  if (room || socket.destroyed) return undefined;
  return new Promise((resolve) => {
    const taken = (): void => {
      socket.off('drain', taken).off('close', taken);
      resolve();
    };
    socket.on('drain', taken).on('close', taken);
  });
}
