import { encode } from '@ipld/dag-cbor';
import { type Cid, cidFromBytes } from './cid.ts';
import { isBytes, isCount, isLink, Shape } from './shape.ts';

/** The dag-cbor blocks that DagPACS writes. Encoders are deterministic (https://ipld.io/specs/codecs/dag-cbor/spec/). */

export const INSTANCE_TYPE = 'dagpacs/instance';
export const RECORD_TYPE = 'dagpacs/record';
export const ERASURE_TYPE = 'dagpacs/erasure';
const VERSION = 1;
/** Bytes of a reference and of a Merkle root. */
const DIGEST_SIZE = 32;
/** Bytes of an object key wrapped by RFC 3394. */
const WRAPPED_KEY_SIZE = 40;
/** A sealed entry of more bytes is a sealed object of its own: a block stays below 1 MiB with all its other fields. */
export const MAX_INLINE_ENTRY = 1024 * 1024 - 64 * 1024;

/** The sealed entry (`entry.ts`, `crypto/sealed-entry.ts`) inside the node, or as a sealed object beside it. */
export type SealedEntry =
  | { entry: Uint8Array }
  | {
      entry: Cid;
      /** Its object key, wrapped like the instance's. */
      entryKey: Uint8Array;
      /** Bytes of the sealed object. */
      entrySize: number;
    };

/** What makes a sealed object an instance. */
export type InstanceNode = SealedEntry & {
  /** The study's reference. */
  study: Uint8Array;
  /** The sealed object. */
  object: Cid;
  /** Its bytes. */
  size: number;
  /** Its key, wrapped by the study's wrapping key. */
  key: Uint8Array;
};

/** @returns the block's bytes; its CID is `cidOf(DAG_CBOR, bytes)` */
export function encodeInstanceNode(node: InstanceNode): Uint8Array {
  const { study, object, size, key } = node;
  const sealed =
    'entryKey' in node
      ? { entry: node.entry, entryKey: node.entryKey, entrySize: node.entrySize }
      : { entry: node.entry };
  return encode({ type: INSTANCE_TYPE, v: VERSION, study, object, size, key, ...sealed });
}

/** @throws DagpacsError `block-damaged` for anything that is not an instance node of this version */
export function decodeInstanceNode(bytes: Uint8Array): InstanceNode {
  const shape = new Shape('instance node', bytes);
  shape.constant('type', INSTANCE_TYPE);
  shape.constant('v', VERSION);
  const node = {
    study: shape.bytes('study', DIGEST_SIZE),
    object: shape.link('object'),
    size: shape.count('size'),
    key: shape.bytes('key', WRAPPED_KEY_SIZE),
    ...takeEntry(shape),
  };
  shape.end();
  return node;
}

function takeEntry(shape: Shape): SealedEntry {
  if (!shape.has('entryKey')) return { entry: shape.bytes('entry') };
  return {
    entry: shape.link('entry'),
    entryKey: shape.bytes('entryKey', WRAPPED_KEY_SIZE),
    entrySize: shape.count('entrySize'),
  };
}

/** A batch. */
export interface RecordNode {
  /** 0 for an institution's first batch, then without gaps. */
  sequence: number;
  /**
   * The record before, null for the first. In the block it is a byte string and no link: a recursive pin holds this batch,
   * and does not walk the whole history each time.
   */
  previous: Cid | null;
  /** Merkle root of the batch before; zeros for the first. */
  previousRoot: Uint8Array;
  merkleRoot: Uint8Array;
  /** ISO 8601 UTC. */
  closedAt: string;
  /** Instance nodes, in the order of the Merkle tree's leaves. */
  leaves: Cid[];
  /** The leaves' hashes in the same order: of a leaf whose salt was erased, all that its neighbours' proofs need. */
  hashes: Uint8Array[];
  /** Per study its reference, and how many of its instances are anchored up to and including this batch. */
  studies: [reference: Uint8Array, total: number][];
}

/** @returns the block's bytes; the SHA-256 of them is the batch's id */
export function encodeRecord(record: RecordNode): Uint8Array {
  const { sequence, previous, previousRoot, merkleRoot, closedAt, leaves, hashes, studies } = record;
  const fields = { sequence, previous: previous?.bytes ?? null, previousRoot, merkleRoot, closedAt, leaves, studies };
  return encode({ type: RECORD_TYPE, v: VERSION, ...fields, hashes: Buffer.concat(hashes) });
}

/** @throws DagpacsError `block-damaged` for anything that is not a record of this version */
export function decodeRecord(bytes: Uint8Array): RecordNode {
  const shape = new Shape('record', bytes);
  shape.constant('type', RECORD_TYPE);
  shape.constant('v', VERSION);
  const record = {
    sequence: shape.count('sequence'),
    previous: takePrevious(shape),
    previousRoot: shape.bytes('previousRoot', DIGEST_SIZE),
    merkleRoot: shape.bytes('merkleRoot', DIGEST_SIZE),
    closedAt: shape.text('closedAt'),
    leaves: shape.list('leaves').map((leaf) => {
      if (!isLink(leaf)) throw shape.damaged('leaves are not links');
      return leaf;
    }),
    hashes: takeHashes(shape),
    studies: shape.list('studies').map((study): [Uint8Array, number] => {
      const [reference, total, ...rest] = Array.isArray(study) ? study : [];
      if (!isBytes(reference, DIGEST_SIZE) || !isCount(total) || rest.length > 0) {
        throw shape.damaged('studies are not pairs of reference and total');
      }
      return [reference, total];
    }),
  };
  shape.end();
  if (record.hashes.length !== record.leaves.length) throw shape.damaged('hashes are not as many as leaves');
  return record;
}

/** One byte string of all: a third of the bytes and of the time of a list. */
function takeHashes(shape: Shape): Uint8Array[] {
  const bytes = shape.bytes('hashes');
  if (bytes.length % DIGEST_SIZE !== 0) throw shape.damaged('hashes are not whole');
  return Array.from({ length: bytes.length / DIGEST_SIZE }, (_, i) =>
    bytes.subarray(i * DIGEST_SIZE, (i + 1) * DIGEST_SIZE),
  );
}

function takePrevious(shape: Shape): Cid | null {
  const value = shape.take('previous');
  if (value === null) return null;
  if (!isBytes(value)) throw shape.damaged('previous is not a byte string');
  try {
    return cidFromBytes(value);
  } catch (cause) {
    throw shape.damaged('previous is not a CID', cause);
  }
}

/** The log's word that a study's key was destroyed. */
export interface ErasureNode {
  /** The study's reference, which leads nowhere any more. */
  study: Uint8Array;
  /** ISO 8601 UTC. */
  erasedAt: string;
}

/** @returns the block's bytes */
export function encodeErasure({ study, erasedAt }: ErasureNode): Uint8Array {
  return encode({ type: ERASURE_TYPE, v: VERSION, study, erasedAt });
}

/** @throws DagpacsError `block-damaged` for anything that is not an erasure of this version */
export function decodeErasure(bytes: Uint8Array): ErasureNode {
  const shape = new Shape('erasure', bytes);
  shape.constant('type', ERASURE_TYPE);
  shape.constant('v', VERSION);
  const erasure = { study: shape.bytes('study', DIGEST_SIZE), erasedAt: shape.text('erasedAt') };
  shape.end();
  return erasure;
}

/** Which of ours a dag-cbor block is; undefined for any other block, damaged ones too. */
export function nodeType(
  bytes: Uint8Array,
): typeof INSTANCE_TYPE | typeof RECORD_TYPE | typeof ERASURE_TYPE | undefined {
  // Deterministic maps put shorter keys first: `v`, (`key`, `size`) and then `type`, always with the same bytes. To look for
  // them is not a proof, so what finds them is decoded strictly before it is used.
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, TYPE_WINDOW));
  if (view.includes(INSTANCE_FIELD)) return INSTANCE_TYPE;
  if (view.includes(RECORD_FIELD)) return RECORD_TYPE;
  if (view.includes(ERASURE_FIELD)) return ERASURE_TYPE;
  return undefined;
}

/** `"type": "…"` in dag-cbor. */
const INSTANCE_FIELD = Buffer.concat([encode('type'), encode(INSTANCE_TYPE)]);
const RECORD_FIELD = Buffer.concat([encode('type'), encode(RECORD_TYPE)]);
const ERASURE_FIELD = Buffer.concat([encode('type'), encode(ERASURE_TYPE)]);
/** The field lies within this many bytes of the start. */
const TYPE_WINDOW = 128;
