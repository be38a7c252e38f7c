/** Hex strings are `0x` and lower case, as in Ethereum JSON-RPC. */
export type Hex = `0x${string}`;

/** What goes on the chain for a batch. Nothing here names a patient. */
export interface Anchor {
  /** The batch's id: the SHA-256 of its record block, which is also the digest in the record's CID. */
  batch: Hex;
  /** 0 for an institution's first batch, then without gaps. */
  sequence: number;
  /** Merkle root of the batch before; 32 zero bytes for the first. */
  previousRoot: Hex;
  merkleRoot: Hex;
  /** Leaves in the tree. */
  count: number;
  /** Per study in the batch: its reference, and how many of its instances are anchored up to and including this batch. */
  studies: { reference: Hex; total: number }[];
}

/** A transaction that is signed but perhaps not sent yet: what the outbox persists before it broadcasts. */
export interface SignedTransaction {
  nonce: number;
  hash: Hex;
  raw: Hex;
}

/** Where an anchor lies. */
export interface Anchored {
  transactionHash: Hex;
  blockNumber: number;
  blockHash: Hex;
  /** ISO 8601, from the block's timestamp. */
  blockTime: string;
}

export interface LedgerStatus {
  state: 'starting' | 'connected' | 'unreachable' | 'mismatch';
  chainId?: number;
  contract?: Hex;
  /** Our own address. */
  sender?: Hex;
  head?: { number: number; hash: Hex; time: string };
  reason?: string;
  /** JSON-RPC URL of the bridge's own chain, for whoever wants to look at it. */
  url?: string;
}

/** The EVM chain with the AnchorLog contract. All methods throw DagpacsError `chain-unavailable` or `chain-mismatch`. */
export interface Ledger {
  status(): Promise<LedgerStatus>;
  /** What the contract expects next from us. */
  next(): Promise<{ sequence: number; previousRoot: Hex }>;
  /** Where the batch is anchored on the chain as it is now, or undefined. */
  find(batch: Hex): Promise<Anchored | undefined>;
  /** All anchors of our account, in the order of the chain. */
  anchors(): AsyncIterable<{ anchor: Omit<Anchor, 'studies'>; anchored: Anchored }>;
  /** Our transaction count in mined blocks, and with what the node has pending. */
  nextNonce(): Promise<{ confirmed: number; pending: number }>;
  /** Signs a transaction for `anchor` at our next free nonce, or in the place of `replaces`, with a higher fee than that. */
  sign(anchor: Anchor, replaces?: SignedTransaction): Promise<SignedTransaction>;
  /** Hands a signed transaction to the node; a node that has it already is success. @throws DagpacsError `transaction-refused`, `account-empty` */
  broadcast(transaction: SignedTransaction): Promise<void>;
  /** The hash of a block on the chain as it is now; undefined where the chain is not that long. */
  hashAt(block: number): Promise<Hex | undefined>;
  /** The highest block that the chain's profile calls final. */
  finalized(): Promise<number>;
  close(): Promise<void>;
}
