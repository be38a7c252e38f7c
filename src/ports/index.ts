import type { BulkValue, DicomJson, FrameTable } from '../dicom/model.ts';
import type { Query } from '../dicom/query.ts';
import type { RejectionReason } from '../dicom/rejection-note.ts';
import type { Cid } from '../ipld/cid.ts';
import type { Position } from './blocks.ts';
import type { Anchored, Hex, SignedTransaction } from './ledger.ts';

export interface InstanceUIDs {
  studyInstanceUID: string;
  seriesInstanceUID: string;
  sopInstanceUID: string;
}

/** One version of an instance, as served and as proved. */
export interface Version extends InstanceUIDs {
  /** 1 for the first bytes received under this SOP Instance UID. */
  version: number;
  sopClassUID: string;
  transferSyntaxUID: string;
  /** SHA-256 of the received bytes. */
  sha256: Uint8Array;
  /** Bytes received. */
  size: number;
  /** Offset of the first byte after the file meta information. */
  datasetOffset: number;
  /** ISO 8601 UTC with milliseconds. */
  receivedAt: string;
  receivedFrom: string;
  /** The instance node. */
  node: Cid;
  /** The sealed object. */
  object: Cid;
  /** The object key, wrapped by the study key (RFC 3394). */
  wrappedKey: Uint8Array;
}

/** What is kept beside a version's row. */
export interface VersionDetails {
  /** Zstandard of the header's JSON text (UTF-8). */
  header: Uint8Array;
  frames: FrameTable;
  bulk: Record<string, BulkValue>;
}

/** A version to be added: its number is given by the index, in the order of the log. */
export interface Addition extends Omit<Version, 'version'>, VersionDetails {
  /** The parsed header, for the query keys. */
  dataset: DicomJson;
  /** The log's end after its instance node, where that is known when it is added. */
  next?: Position;
}

/** A node's word that it holds all of a batch pinned. */
export interface Confirmation {
  /** Its peer identity. */
  node: string;
  /** ISO 8601. */
  at: string;
}

/** A batch as the index knows it. */
export interface Batch {
  id: Hex;
  sequence: number;
  record: Cid;
  previousRoot: Hex;
  merkleRoot: Hex;
  /** ISO 8601. */
  closedAt: string;
  count: number;
  studies: { reference: Hex; total: number }[];
  /** When as many nodes as are wanted had confirmed it. */
  replicatedAt?: string;
  /** The nodes that hold it pinned, in the order in which they confirmed. */
  confirmations: Confirmation[];
  /** Signed transactions, newest last. */
  transactions: SignedTransaction[];
  anchored?: Anchored;
  finalAt?: string;
}

/** Why a version is not to be seen any more. */
export interface Rejection {
  /** ISO 8601. */
  at: string;
  /** `http:<address>`. */
  by: string;
  reason: RejectionReason;
  /** SOP Instance UID of the rejection note, which is held and proved as any instance. */
  note: string;
}

export interface Custody {
  version: Version;
  storedAt: string;
  batch?: Batch;
  leafIndex?: number;
  rejection?: Rejection;
}

/** A version as {@link Index.scan} lists it. */
export interface Scanned {
  /** Its number among all versions. */
  number: number;
  node: Cid;
  object: Cid;
  /** The id of its batch, where it is in one. */
  batch?: Hex;
  /** The nodes that have confirmed its batch, by identity. */
  confirmedBy: string[];
}

export interface Pending {
  versions: Version[];
  /** ISO 8601 time at which the oldest was received. */
  oldest?: string;
}

/**
 * The index: everything that is looked up rather than followed. It is derived from the log, and one transaction moves its
 * rows and its cursor. Reads are synchronous and see committed rows only.
 */
export interface Index {
  /** How far the index has followed the log. */
  cursor(): Position;
  /**
   * Adds versions (a rejection note, `dicom/rejection-note.ts`, hides what it names) and moves the cursor in one transaction,
   * which is committed when `durable` resolves (to the log's end after them) and rolled back when it rejects (and then so does
   * this). A node that is held already is passed over. Calls run one after the other.
   */
  add(additions: Addition[], durable?: Promise<Position | undefined>): Promise<void>;
  /** Adds a batch from its record, linking the versions whose nodes it lists in leaf order; idempotent by id. */
  addBatch(
    batch: Omit<Batch, 'transactions' | 'studies' | 'confirmations'>,
    nodes: Cid[],
    studies: Batch['studies'],
    next: Position,
  ): Promise<void>;

  /** The current version under a SOP Instance UID, unless it is rejected; or version `n`. */
  version(sopInstanceUID: string, n?: number): Version | undefined;
  /** All versions, oldest first. */
  versions(sopInstanceUID: string): Custody[];
  /** Current versions of a study or series, ordered by series number and UID, then instance number and UID. */
  instances(studyInstanceUID: string, seriesInstanceUID?: string): Version[];
  details(version: Version): VersionDetails;
  /** Zstandard header texts of the current versions, in the order of {@link instances}. */
  headers(studyInstanceUID: string, seriesInstanceUID?: string): (InstanceUIDs & { header: Uint8Array })[];
  /** A number that changes whenever the answer of {@link headers} would. 0 where there is nothing. */
  revision(studyInstanceUID: string, seriesInstanceUID?: string): number;
  /**
   * JSON texts of DICOM JSON objects, read while they are gone through; RetrieveURL is `retrieve:/studies/…`. `more`:
   * results were cut by the limit. @throws DagpacsError `invalid-parameter`
   */
  query(query: Query): { rows: Iterable<string>; more: boolean };

  /** The oldest versions that are in no batch, at most `max`. */
  pending(max: number): Pending;
  /** How many versions are in no batch. */
  pendingCount(): number;
  /** How many versions of the study are in batches up to and including `sequence` (all, where it is not given). */
  batchedInStudy(studyInstanceUID: string, sequence?: number): number;
  /** Every version of the study that is in a batch, with its batch's id and its leaf, in the order of the anchors. */
  leavesOfStudy(studyInstanceUID: string): { version: Version; batch: Hex; leafIndex: number }[];
  batch(id: Hex): Batch | undefined;
  /** Newest first. */
  batches(limit: number, before?: number): Batch[];
  lastBatch(): Batch | undefined;
  /** Batches of one kind of unfinished business, oldest first. */
  unfinished(what: 'anchor' | 'final' | 'replicate', limit: number): Batch[];
  /** Versions of a batch in leaf order. */
  leaves(id: Hex): Version[];
  /** Durable (fsync) before it returns, since a transaction may be sent only after. */
  addTransaction(id: Hex, transaction: SignedTransaction): void;
  /** Sets or, with undefined, takes back (reorganisation) where a batch is anchored. */
  setAnchored(id: Hex, anchored: Anchored | undefined): void;
  /** The same for many, in one transaction. */
  setAllAnchored(changes: { id: Hex; anchored: Anchored | undefined }[]): void;
  setFinal(id: Hex, at: string): void;
  /** Notes that a node holds the batch; with `copies` of them it is replicated. Again is no change. */
  confirm(id: Hex, confirmation: Confirmation, copies: number): void;
  /** Forgets that a node holds the batches; those that are left with less than `copies` are not replicated any more. */
  withdraw(ids: readonly Hex[], node: string, copies: number): void;
  /** Batches that are not replicated and that the node has not confirmed, oldest first. */
  unconfirmed(node: string, limit: number): Batch[];
  /** Records of all batches that a node has confirmed. */
  confirmedBy(node: string): { id: Hex; record: Cid }[];
  /** The nodes that have confirmed anything. */
  confirmingNodes(): string[];
  /** Judges all batches by another number of copies than before. */
  setCopies(copies: number): void;
  /** Of instance nodes, those of versions that are held. */
  knownNodes(nodes: readonly Cid[]): Cid[];
  /** Versions in the order in which they came, from the one after number `after` (0: the first). */
  scan(after: number, limit: number): Scanned[];
  /** Of instance nodes, those whose batch is replicated, with their sealed objects. */
  replicatedObjects(nodes: readonly Cid[]): { node: Cid; object: Cid }[];

  /** Versions per furthest stage, and in all. */
  counts(): {
    studies: number;
    series: number;
    instances: number;
    versions: number;
    stored: number;
    replicated: number;
    anchored: number;
    final: number;
  };
  /** How many versions are not anchored, and not replicated. Cheap enough to be asked twice a second. */
  waiting(): { unanchored: number; unreplicated: number };
  /** Small named values that belong to the installation, such as the chain it is anchored on. */
  getValue(name: string): string | undefined;
  setValue(name: string, value: string): void;
  close(): Promise<void>;
}
