import { hash } from 'node:crypto';
import { CID } from 'multiformats/cid';
import { create } from 'multiformats/hashes/digest';

/** A content identifier (CIDv1, sha2-256): the only kind that DagPACS makes. */
export type Cid = CID;

/** Multicodec codes of the blocks that DagPACS writes. */
export const RAW = 0x55;
export const DAG_PB = 0x70;
export const DAG_CBOR = 0x71;
const SHA2_256 = 0x12;

/** The CIDv1 of a block whose SHA-256 is already known. */
export function cidFromDigest(codec: number, sha256: Uint8Array): Cid {
  return CID.createV1(codec, create(SHA2_256, sha256));
}

/** The CIDv1 of `bytes` as a block of `codec`. */
export function cidOf(codec: number, bytes: Uint8Array): Cid {
  return cidFromDigest(codec, hash('sha256', bytes, 'buffer'));
}

/** Reads a binary CID, as in a CAR section. @throws where it is not one. */
export function cidFromBytes(bytes: Uint8Array): Cid {
  return CID.decode(bytes);
}

/** Reads a CID's string form. @throws where it is not one. */
export function parseCid(text: string): Cid {
  return CID.parse(text);
}

/** True where `bytes` hash to `cid`; false too for a hash function other than sha2-256. */
export function matchesCid(cid: Cid, bytes: Uint8Array): boolean {
  return cid.multihash.code === SHA2_256 && Buffer.from(cid.multihash.digest).equals(hash('sha256', bytes, 'buffer'));
}
