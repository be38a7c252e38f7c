import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import { type ConnectionOptions, connect, createServer, type Server, type TLSSocket } from 'node:tls';
import type { Peer } from './peers.ts';

/** Secure transport (PS3.15 B.12: BCP 195), as acceptor and as requestor. */
export interface TlsOptions {
  /** Address to listen on; undefined: that of the port without TLS. */
  host?: string;
  /** TCP port; 0 takes a free one. */
  port: number;
  /** PEM: our certificate with its chain, and its key. */
  cert: string;
  key: string;
  /** PEM: whom to trust; undefined: the certificate authorities that Node knows. */
  ca?: string;
  /** Callers must show a certificate that {@link ca} vouches for. */
  clientAuth: boolean;
}

/** TLS 1.3's own, and of TLS 1.2 what RFC 9325 §4.2 recommends. */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
].join(':');

/** A server that hands on connections whose handshake is done. */
export function createTlsServer(
  { cert, key, ca, clientAuth }: TlsOptions,
  limits: { handshakeTimeoutMs: number; maxConnections: number },
  accept: (socket: TLSSocket) => void,
): Server {
  const server = createServer(
    {
      cert,
      key,
      ...(ca !== undefined && { ca }),
      requestCert: clientAuth,
      rejectUnauthorized: clientAuth,
      minVersion: 'TLSv1.2',
      ciphers: CIPHERS,
      honorCipherOrder: true,
      handshakeTimeout: limits.handshakeTimeoutMs,
    },
    accept,
  );
  server.maxConnections = limits.maxConnections;
  return server;
}

/** Connects to a peer that speaks TLS; its certificate must be one that we trust, and for its host. */
export function connectTls({ host, port }: Peer, own: TlsOptions | undefined): Socket {
  const options: ConnectionOptions = {
    host,
    port,
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    ...(isIP(host) === 0 && { servername: host }),
    ...(own && { cert: own.cert, key: own.key, ...(own.ca !== undefined && { ca: own.ca }) }),
  };
  return connect(options).setNoDelay(true);
}
