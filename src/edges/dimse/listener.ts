import { createServer, type Server, type Socket } from 'node:net';
import type { Ingest } from '../../flows/ingest/received.ts';
import type { Serve } from '../../flows/serve/served.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Index } from '../../ports/index.ts';
import { DimseAssociation, type Rejection } from './association.ts';
import { type CommitmentIndex, Commitments } from './commitments.ts';
import type { DimseOptions } from './options.ts';
import type { Transcoder } from './outgoing.ts';
import { commitService } from './services/commit.ts';
import { echoService } from './services/echo.ts';
import { findService } from './services/find.ts';
import { getService } from './services/get.ts';
import { moveService } from './services/move.ts';
import type { Service } from './services/service.ts';
import { storeService } from './services/store.ts';
import { createTlsServer } from './tls.ts';

interface Address {
  host: string;
  port: number;
}

export interface DimseListener {
  /** Where it listens. */
  address: Address;
  /** Where it listens for TLS, if it does. */
  tlsAddress: Address | undefined;
  /**
   * Takes no more associations, lets running operations finish, and aborts what is left after `timeoutMs`. Resolves when
   * every connection is closed and every operation has ended.
   */
  drain(timeoutMs: number): Promise<void>;
  /** {@link drain} without patience. */
  close(): Promise<void>;
}

/** What the listener stands on. */
export interface DimseModules {
  ingest: Ingest;
  index: Pick<Index, 'query'> & CommitmentIndex;
  serve: Pick<Serve, 'instances'>;
  transcoder: Transcoder;
  log: Log;
}

/**
 * Starts the DIMSE listener: Verification, Storage and Query/Retrieve as SCP.
 * @throws DagpacsError `bad-setting` where the address cannot be listened on
 */
export async function startDimse(options: DimseOptions, modules: DimseModules): Promise<DimseListener> {
  const { log, index, ingest, serve, transcoder } = modules;
  const commitments = new Commitments(options, index, log);
  const list = [
    echoService,
    storeService(options, ingest, log),
    findService(options, index, log),
    getService({ index, serve, transcoder }, log),
    moveService(options, { index, serve, transcoder }, log),
    commitService(options, commitments),
  ];
  const services = new Map<number, Service>(list.map((service) => [service.field, service]));
  /** In the order in which they connected. */
  const pending = new Set<DimseAssociation>();
  const established = new Set<DimseAssociation>();
  let draining = false;
  const empty = Promise.withResolvers<void>();

  const admit = (association: DimseAssociation): Rejection | undefined => {
    if (draining) return [2, 3, 1, 'shutting down'];
    if (established.size >= options.maxAssociations) return [2, 3, 2, 'too many associations'];
    let same = 0;
    for (const { peer } of established) if (peer === association.peer) same++;
    if (same >= options.maxPerPeer) return [2, 3, 2, 'too many associations of this peer'];
    pending.delete(association);
    established.add(association);
    return undefined;
  };
  const closed = (association: DimseAssociation): void => {
    pending.delete(association);
    established.delete(association);
    if (draining && pending.size + established.size === 0) empty.resolve();
  };

  const accept = (socket: Socket): void => {
    const [oldest] = pending;
    if (oldest && pending.size >= options.maxPending) oldest.giveUp('too many connections without an association');
    pending.add(new DimseAssociation(socket, options, { services, log, admit, closed }));
  };
  const servers: Server[] = [createServer({ noDelay: true, keepAlive: true, pauseOnConnect: true }, accept)];
  /** Connections to the TLS port, whether their handshake is done or not. */
  const handshakes = new Set<Socket>();
  if (options.tls) {
    const limits = {
      handshakeTimeoutMs: options.artimMs,
      maxConnections: options.maxAssociations + 2 * options.maxPending,
    };
    /** Connections whose handshake is not done, by who is at the other end; the oldest make room for others. */
    const shaking = new Map<string, Socket>();
    const server = createTlsServer(options.tls, limits, (socket) => {
      shaking.delete(farEnd(socket));
      accept(socket.setNoDelay(true));
    });
    server.on('connection', (socket: Socket) => {
      const key = farEnd(socket);
      const [oldest] = shaking;
      if (oldest && shaking.size >= options.maxPending) {
        shaking.delete(oldest[0]);
        oldest[1].destroy();
      }
      shaking.set(key, socket);
      handshakes.add(socket);
      socket.once('close', () => {
        handshakes.delete(socket);
        if (shaking.get(key) === socket) shaking.delete(key);
      });
    });
    server.on('tlsClientError', (error: NodeJS.ErrnoException) => {
      log.warn('tls-handshake-failed', { code: error.code ?? error.name });
    });
    servers.push(server);
  }
  const wanted: Address[] = [options, { host: options.host, port: 0, ...options.tls }];
  const addresses: Address[] = [];
  try {
    for (const [i, server] of servers.entries()) addresses.push(await listen(server, wanted[i] as Address));
  } catch (error) {
    for (const server of servers) server.close();
    await commitments.stop();
    throw error;
  }
  const [address, tlsAddress] = addresses as [Address, Address | undefined];
  for (const server of servers)
    server.on('error', (error) => log.error('dimse-listener-failed', { error: error.name }));

  const drain = async (timeoutMs: number): Promise<void> => {
    draining = true;
    for (const server of servers) server.close();
    const stopped = commitments.stop();
    if (pending.size + established.size === 0) {
      for (const socket of handshakes) socket.destroy();
      return stopped;
    }
    for (const association of [...pending, ...established]) association.drain();
    const timer = setTimeout(() => {
      for (const association of established) association.giveUp('shutting down');
    }, timeoutMs);
    await Promise.all([empty.promise, stopped]);
    clearTimeout(timer);
    for (const socket of handshakes) socket.destroy();
  };
  return { address, tlsAddress, drain, close: () => drain(0) };
}

function farEnd({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/** @throws DagpacsError `bad-setting` */
function listen(server: Server, { host, port }: Address): Promise<Address> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const rule = `must be free to listen on (${error.code})`;
      reject(new DagpacsError('bad-setting', `cannot listen on ${host}:${port}`, { rule }, { cause: error }));
    });
    server.listen({ host, port }, () => {
      const bound = server.address() as { address: string; port: number };
      resolve({ host: bound.address, port: bound.port });
    });
  });
}
