import { dagCborCid, fromHex, type Hex } from './bytes.ts';

/**
 * Receipts: docs/receipt.md. Every byte string is 0x and lower-case hexadecimal digits, every CID a base32 CIDv1; nothing
 * stands in a receipt that is not checked against the file or the chain.
 */

export const RECEIPT_TYPE = 'dagpacs/receipt';
export const STUDY_RECEIPT_TYPE = 'dagpacs/study-receipt';
const VERSION = 1;

/** One leaf of a batch's Merkle tree, opened. */
export interface OpenedLeaf {
  /** SHA-256 of the received bytes. */
  digest: Hex;
  /** 32 bytes that belong to this leaf alone. */
  salt: Hex;
  /** CID of the instance node. */
  node: string;
  leafIndex: number;
  /** Siblings from the leaf up (RFC 9162 §2.1.3.1). */
  path: Hex[];
}

/** The header of a batch: what its transaction says of it. */
export interface BatchHeader {
  /** 0 for the institution's first batch. */
  sequence: number;
  previousRoot: Hex;
  merkleRoot: Hex;
  /** Leaves of the tree. */
  count: number;
  /** CID of the record; its digest is the batch's id. */
  record: string;
}

/** Where a batch is anchored. */
export interface AnchorPlace {
  chainId: number;
  contract: Hex;
  /** The account that anchored it. */
  institution: Hex;
  transactionHash: Hex;
  blockNumber: number;
  blockHash: Hex;
  /** ISO 8601 UTC with milliseconds, from the block's timestamp. */
  blockTime: string;
}

/** Proves that one version of an instance was in an institution's custody at a block's time. */
export interface Receipt extends OpenedLeaf {
  type: typeof RECEIPT_TYPE;
  v: typeof VERSION;
  /** The study's reference: its name on the chain. */
  reference: Hex;
  batch: BatchHeader;
  anchor: AnchorPlace;
}

/** Proves all versions of a study that were anchored up to a batch, and that there are no more. */
export interface StudyReceipt {
  type: typeof STUDY_RECEIPT_TYPE;
  v: typeof VERSION;
  reference: Hex;
  /** What the last of the batches says: how many leaves the study has up to it. */
  total: number;
  /** Every batch with a leaf of the study, ascending. */
  batches: { batch: BatchHeader; anchor: AnchorPlace }[];
  /** `of`: the place in `batches`. */
  leaves: (OpenedLeaf & { of: number })[];
}

/** Why something is not a receipt. */
export class NotAReceipt extends Error {
  override readonly name = 'NotAReceipt';
}

/** @throws NotAReceipt for any value that is not a whole receipt of this version and nothing more */
export function parseReceipt(value: unknown): Receipt {
  const fields = new Fields('receipt', value);
  const receipt: Receipt = {
    type: fields.constant('type', RECEIPT_TYPE),
    v: fields.constant('v', VERSION),
    reference: fields.hex('reference', 32),
    ...takeLeaf(fields),
    batch: takeBatch(fields.take('batch')),
    anchor: takeAnchor(fields.take('anchor')),
  };
  fields.end();
  return receipt;
}

/** @throws NotAReceipt for any value that is not a whole study receipt of this version and nothing more */
export function parseStudyReceipt(value: unknown): StudyReceipt {
  const fields = new Fields('study receipt', value);
  const receipt: StudyReceipt = {
    type: fields.constant('type', STUDY_RECEIPT_TYPE),
    v: fields.constant('v', VERSION),
    reference: fields.hex('reference', 32),
    total: fields.count('total'),
    batches: fields.list('batches').map((item) => {
      const inner = new Fields('batches', item);
      const batch = { batch: takeBatch(inner.take('batch')), anchor: takeAnchor(inner.take('anchor')) };
      inner.end();
      return batch;
    }),
    leaves: fields.list('leaves').map((item) => {
      const inner = new Fields('leaves', item);
      const leaf = { ...takeLeaf(inner), of: inner.count('of') };
      inner.end();
      return leaf;
    }),
  };
  fields.end();
  return receipt;
}

function takeLeaf(fields: Fields): OpenedLeaf {
  return {
    digest: fields.hex('digest', 32),
    salt: fields.hex('salt', 32),
    node: fields.cid('node'),
    leafIndex: fields.count('leafIndex'),
    path: fields.list('path').map((sibling) => hexOf(sibling, 32, 'path')),
  };
}

function takeBatch(value: unknown): BatchHeader {
  const fields = new Fields('batch', value);
  const batch = {
    sequence: fields.count('sequence'),
    previousRoot: fields.hex('previousRoot', 32),
    merkleRoot: fields.hex('merkleRoot', 32),
    count: fields.count('count'),
    record: fields.cid('record'),
  };
  fields.end();
  return batch;
}

function takeAnchor(value: unknown): AnchorPlace {
  const fields = new Fields('anchor', value);
  const anchor = {
    chainId: fields.count('chainId'),
    contract: fields.hex('contract', 20),
    institution: fields.hex('institution', 20),
    transactionHash: fields.hex('transactionHash', 32),
    blockNumber: fields.count('blockNumber'),
    blockHash: fields.hex('blockHash', 32),
    blockTime: fields.text('blockTime'),
  };
  fields.end();
  return anchor;
}

/** Takes the fields of a JSON object one by one; what is absent, superfluous or of another form is refused. */
class Fields {
  readonly #what: string;
  readonly #fields: Map<string, unknown>;

  constructor(what: string, value: unknown) {
    this.#what = what;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refused(`${what} is not an object`);
    this.#fields = new Map(Object.entries(value));
  }

  take(name: string): unknown {
    const value = this.#fields.get(name);
    if (!this.#fields.delete(name)) throw refused(`${this.#what}: ${name} is missing`);
    return value;
  }

  constant<T>(name: string, expected: T): T {
    if (this.take(name) !== expected) throw refused(`${this.#what}: ${name} is not ${expected}`);
    return expected;
  }

  hex(name: string, size: number): Hex {
    return hexOf(this.take(name), size, `${this.#what}: ${name}`);
  }

  cid(name: string): string {
    const text = this.text(name);
    if (!dagCborCid(text)) throw refused(`${this.#what}: ${name} is not the CID of a dag-cbor block`);
    return text;
  }

  text(name: string): string {
    const value = this.take(name);
    if (typeof value !== 'string') throw refused(`${this.#what}: ${name} is not text`);
    return value;
  }

  count(name: string): number {
    const value = this.take(name);
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw refused(`${this.#what}: ${name} is not a count`);
    return value as number;
  }

  list(name: string): unknown[] {
    const value = this.take(name);
    if (!Array.isArray(value)) throw refused(`${this.#what}: ${name} is not a list`);
    return value;
  }

  end(): void {
    if (this.#fields.size > 0) throw refused(`${this.#what}: fields that this version does not know`);
  }
}

function hexOf(value: unknown, size: number, what: string): Hex {
  const bytes = typeof value === 'string' ? fromHex(value) : undefined;
  if (bytes?.length !== size) throw refused(`${what} is not ${size} bytes in hexadecimal`);
  return value as Hex;
}

function refused(reason: string): NotAReceipt {
  return new NotAReceipt(reason);
}
