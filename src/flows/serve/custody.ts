import type { Confirmation, Rejection } from '../../ports/index.ts';
import type { LedgerStatus } from '../../ports/ledger.ts';
import type { SwarmStatus } from '../../ports/swarm.ts';
import type { Receipt, StudyReceipt } from '../../proof/receipt.ts';
import type { MendingCounts } from '../objects/mending.ts';
import type { ScrubStatus } from '../objects/scrub-report.ts';

/** Furthest stage of a version. */
export type Stage = 'stored' | 'replicated' | 'anchored' | 'final';

/** When a version reached each stage (ISO 8601); null: not yet. They do not wait for each other. */
export type Stages = Record<Stage, string | null>;

/** `GET /custody/status`. */
export interface CustodyStatus {
  counts: { studies: number; series: number; instances: number; versions: number };
  /** Versions per furthest stage. */
  stages: Record<Stage, number>;
  /**
   * Versions that are in no batch yet, those that are not anchored, the limit of these at which new ones are pushed back, and
   * why anchoring does not go on.
   */
  outbox: { pending: number; waiting: number; limit: number; oldest: string | null; problem: string | null };
  chain: LedgerStatus;
  swarm: SwarmStatus & {
    /** Nodes that must hold an instance pinned for it to be replicated. */
    copies: number;
    /** Versions that are in no batch yet, or in one that is not replicated. */
    waiting: number;
    /** Why batches cannot be replicated that no node is to blame for. */
    problem: string | null;
    /** Nodes that were not reached since something was erased, and batches that they hold with it. */
    owed: { node: string; batches: number }[];
    /** Blocks that could not be read here as they should be, since the start. */
    reads: MendingCounts;
  };
  scrub: ScrubStatus;
  /** Bytes: of the block store, and free on its file system. */
  disk: { packs: number; blocks: number; bytes: number; free: number };
}

/** Where a version is anchored. */
export interface VersionAnchor {
  /** The batch's id. */
  batch: string;
  /** CID of the batch's record. */
  record: string;
  merkleRoot: string;
  leafIndex: number;
  chainId: number;
  contract: string;
  /** The account that anchored it. */
  institution: string;
  transactionHash: string;
  blockNumber: number;
  blockTime: string;
}

export interface VersionCustody {
  version: number;
  /** SHA-256 of the received bytes, hexadecimal. */
  sha256: string;
  size: number;
  transferSyntaxUID: string;
  /** CID of the sealed object. */
  cid: string;
  receivedAt: string;
  receivedFrom: string;
  stage: Stage;
  stages: Stages;
  /** The nodes that hold it pinned. */
  confirmations: Confirmation[];
  anchor?: VersionAnchor;
  /** Who had it hidden from query and retrieval, when and why: deleted. */
  rejection?: Rejection;
}

/** `GET /custody/instances/{SOPInstanceUID}`. */
export interface InstanceCustody {
  studyInstanceUID: string;
  seriesInstanceUID: string;
  sopInstanceUID: string;
  /** Oldest first. */
  versions: VersionCustody[];
}

/** An item of `GET /custody/instances/{SOPInstanceUID}/receipts`. */
export interface VersionReceipt {
  version: number;
  receivedAt: string;
  /** SHA-256 of the received bytes, hexadecimal. */
  sha256: string;
  /** Null while the version is not anchored. */
  receipt: Receipt | null;
}

/** `GET /custody/batches`, `GET /custody/batches/{id}`. */
export interface BatchCustody {
  id: string;
  sequence: number;
  /** CID of the record. */
  record: string;
  merkleRoot: string;
  previousRoot: string;
  /** Leaves. */
  count: number;
  closedAt: string;
  replicatedAt: string | null;
  /** The nodes that hold it pinned, by their peer identity, and since when. */
  confirmations: Confirmation[];
  finalAt: string | null;
  /** Hashes of every transaction that was signed for it, newest last. */
  transactions: string[];
  anchor: {
    chainId: number;
    contract: string;
    institution: string;
    transactionHash: string;
    blockNumber: number;
    blockHash: string;
    blockTime: string;
  } | null;
}

/** What the bridge knows of its instances' versions, stages and anchors: UIDs, but no patient data. */
export interface CustodyView {
  status(): Promise<CustodyStatus>;
  /** @throws DagpacsError `not-found` */
  instance(sopInstanceUID: string): Promise<InstanceCustody>;
  /** Newest first; those with a sequence below `before`, where it is given. */
  batches(limit: number, before?: number): Promise<BatchCustody[]>;
  /** @throws DagpacsError `not-found` */
  batch(id: string): Promise<BatchCustody>;
  /** What proves version `n`, or the current one, against its anchor. @throws DagpacsError `not-found`, `not-anchored` */
  receipt(sopInstanceUID: string, n?: number): Promise<Receipt>;
  /** Every version with its time and receipt, oldest first. @throws DagpacsError `not-found` */
  history(sopInstanceUID: string): Promise<VersionReceipt[]>;
  /**
   * What proves all versions of a study up to batch `sequence` (the last that is anchored, where it is not given), and that
   * there are no more. @throws DagpacsError `not-found`, `not-anchored`
   */
  studyReceipt(studyInstanceUID: string, sequence?: number): Promise<StudyReceipt>;
}
