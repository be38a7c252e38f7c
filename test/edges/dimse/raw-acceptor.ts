import { createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import { readAssociateRequest } from '../../../src/edges/dimse/associate-rq.ts';
import { type Command, readCommand } from '../../../src/edges/dimse/command.ts';
import { command, data, pdu } from './raw-peer.ts';

/** What to do with a request: its status, or nothing more on this connection. */
export type Verdict = number | 'abort' | 'close' | 'silence';

export interface RawAcceptor {
  port: number;
  /** Requests as they came, with their data sets. */
  requests: { command: Command; dataset: Buffer; roles: { scu: boolean; scp: boolean } | undefined }[];
  associations: () => number;
}

function item(type: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(4);
  head[0] = type;
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([head, body]);
}

/**
 * An SCP that takes every presentation context that `accepts` lets it, and answers each request as it is told.
 * @param port 0: a free one
 */
export async function startAcceptor(
  t: Test,
  verdict: (command: Command, count: number) => Verdict,
  { port = 0, maximum = 16384, accepts = (_transferSyntax: string): boolean => true } = {},
): Promise<RawAcceptor> {
  const requests: RawAcceptor['requests'] = [];
  const sockets = new Set<Socket>();
  let associations = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    associations++;
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    serve(socket);
  });
  function serve(socket: Socket): void {
    let held: Buffer = Buffer.alloc(0);
    let current: RawAcceptor['requests'][number] | undefined;
    let contexts: ReturnType<typeof readAssociateRequest>['contexts'] = [];
    const answer = (contextId: number, request: Command): void => {
      const told = verdict(request, requests.length);
      if (told === 'abort') socket.end(pdu(7, Buffer.alloc(4)));
      else if (told === 'close') socket.destroy();
      else if (told !== 'silence') {
        const { field, messageId, sopClassUID, sopInstanceUID } = request;
        const response = { 2: sopClassUID, 256: field | 0x8000, 288: messageId, 2048: 0x0101, 2304: told };
        socket.write(data(contextId, 3, command({ ...response, 4096: sopInstanceUID })));
      }
    };
    const take = (type: number, body: Buffer): void => {
      if (type === 1) {
        ({ contexts } = readAssociateRequest(body));
        const answers = contexts.map(({ id, transferSyntaxes: [syntax = ''] }) =>
          item(0x21, Buffer.of(id, 0, accepts(syntax) ? 0 : 4, 0), item(0x40, Buffer.from(syntax))),
        );
        const length = Buffer.alloc(4);
        length.writeUInt32BE(maximum);
        const application = item(0x10, Buffer.from('1.2.840.10008.3.1.1.1'));
        const fixed = Buffer.concat([Buffer.of(0, 1, 0, 0), body.subarray(4, 68)]);
        socket.write(pdu(2, Buffer.concat([fixed, application, ...answers, item(0x50, item(0x51, length))])));
      } else if (type === 5) socket.end(pdu(6, Buffer.alloc(4)));
      else if (type === 4) {
        const [contextId = 0, control = 0] = body.subarray(4);
        if (control & 1) {
          const roles = contexts.find(({ id }) => id === contextId)?.roles;
          current = { command: readCommand(body.subarray(6)), dataset: Buffer.alloc(0), roles };
          requests.push(current);
        } else if (current) current.dataset = Buffer.concat([current.dataset, body.subarray(6)]);
        const whole = control === 2 || (control === 3 && !current?.command.hasDataset);
        if (whole && current) answer(contextId, current.command);
      }
    };
    socket.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      while (held.length >= 6 && held.length >= 6 + held.readUInt32BE(2)) {
        const end = 6 + held.readUInt32BE(2);
        take(held[0] ?? 0, held.subarray(6, end));
        held = held.subarray(end);
      }
    });
  }
  const bound = await new Promise<number>((resolve) => {
    server.listen(port, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: bound, requests, associations: () => associations };
}
