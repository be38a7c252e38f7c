/** Settings of the HTTP listener. */
export interface HttpOptions {
  /** Address to listen on. */
  host: string;
  /** TCP port; 0 takes a free one. */
  port: number;
  /** Base of every URL in answers, path prefix included; undefined: taken from the request. */
  publicUrl?: string;
  /** Take address, host, protocol and path prefix from `Forwarded` and `X-Forwarded-*`. */
  trustProxy: boolean;
  /** Origins of web pages that may read and write from a browser; `*` for any. */
  corsOrigins: string[];
  /** Who is given blocks under `/ipfs`: those on this machine, all who can reach the listener, or nobody. */
  gateway: 'loopback' | 'on' | 'off';
  /** Results that one query answer may have. */
  maxResults: number;
  /** Instances of one STOW request that may wait for their commit while the next ones are read. */
  storeWindow: number;
  /** Bytes that the body of one STOW request may have, without its content coding. */
  storeMaxBytes: number;
  /** Studies, series and instances can be deleted. */
  allowDelete: boolean;
  /** Connections at one time; more are closed at once. */
  maxConnections: number;
  /** Milliseconds in which a request's header must be complete. */
  headersTimeoutMs: number;
  /** Milliseconds without a byte in either direction after which a connection is dropped. */
  idleTimeoutMs: number;
  /** Seconds after which to try again that a pushback without its own number names. */
  retryAfterSeconds: number;
}

/** Defaults. There is no time limit on a whole request: a 4 GB study over a slow line may take an hour. */
export const httpDefaults: HttpOptions = {
  host: '127.0.0.1',
  port: 8080,
  trustProxy: false,
  corsOrigins: [],
  gateway: 'loopback',
  maxResults: 10_000,
  allowDelete: true,
  storeWindow: 16,
  storeMaxBytes: 64 * 1024 ** 3,
  maxConnections: 1024,
  headersTimeoutMs: 15_000,
  idleTimeoutMs: 120_000,
  retryAfterSeconds: 10,
};
