import type { CommitAfter } from '../../flows/commitment/judge.ts';
import type { Peer } from './peers.ts';
import type { TlsOptions } from './tls.ts';

/** Settings of the DIMSE listener. */
export interface DimseOptions {
  /** Address to listen on: one interface, never all of them by default. */
  host: string;
  /** TCP port; 0 takes a free one. */
  port: number;
  /** Our AE title (PS3.8 §9.3.2: 1 to 16 characters). */
  aeTitle: string;
  /** Refuse associations whose Called AE Title is not {@link aeTitle}. */
  checkCalledAE: boolean;
  /**
   * Who may call, and for what; where C-MOVE and Storage Commitment send to. Undefined: anybody, anything, to nowhere.
   */
  peers?: readonly Peer[];
  /** Listen for TLS too, and how; undefined: not. */
  tls?: TlsOptions;
  /** Storage classes that are taken; undefined: every one. */
  stores?: (sopClassUID: string) => boolean;
  /** Presentation contexts of one association; those beyond it are refused. */
  maxContexts: number;
  /** Longest P-DATA-TF that peers are told to send, in bytes (PS3.8 Annex D.1). */
  maxPduLength: number;
  /** Associations at one time; more are rejected as transient, local limit exceeded. */
  maxAssociations: number;
  /** Associations at one time of one AE title at one address. */
  maxPerPeer: number;
  /** Connections that have not asked for an association yet; beyond it, the one that has waited longest is dropped. */
  maxPending: number;
  /** Milliseconds in which a connection must ask for its association (ARTIM, PS3.8 §9.1.4). */
  artimMs: number;
  /** Milliseconds of silence from a peer that owes us bytes, after which its association is aborted. */
  idleTimeoutMs: number;
  /** Milliseconds that a peer may take to answer a request of ours. */
  dimseTimeoutMs: number;
  /** Associations at one time to one destination. */
  sendAssociations: number;
  /** How often an instance is sent again after its association was lost, or its receiver said that it has no room. */
  sendRetries: number;
  /** Milliseconds before the first of these; doubled for each. */
  sendBackoffMs: number;
  /** What has to be true of an instance before Storage Commitment confirms it. */
  commitAfter: CommitAfter;
  /** Milliseconds after which an instance of which that is still not true is reported as failed. */
  commitWaitMs: number;
  /** Milliseconds after which a report that nobody takes is given up. */
  commitGiveUpMs: number;
  /** Milliseconds that a peer has to release the association, before it is reported to on the same one. */
  commitGraceMs: number;
  /** Bytes of an instance that may wait for the ingest; more, and the socket is paused. */
  highWaterBytes: number;
}

/**
 * Defaults. Of the PDU lengths that DCMTK can send, its largest (131072) took the least time: 0.55 ms for an instance of
 * 0.5 MB, where 16384, the usual one, took 0.8 ms.
 */
export const dimseDefaults: DimseOptions = {
  host: '127.0.0.1',
  port: 11112,
  aeTitle: 'DAGPACS',
  checkCalledAE: false,
  maxContexts: 128,
  maxPduLength: 131072,
  maxAssociations: 64,
  maxPerPeer: 64,
  maxPending: 64,
  artimMs: 30_000,
  idleTimeoutMs: 60_000,
  dimseTimeoutMs: 60_000,
  sendAssociations: 2,
  sendRetries: 2,
  sendBackoffMs: 500,
  commitAfter: 'stored',
  commitWaitMs: 24 * 3_600_000,
  commitGiveUpMs: 7 * 24 * 3_600_000,
  commitGraceMs: 1000,
  highWaterBytes: 1 << 20,
};
