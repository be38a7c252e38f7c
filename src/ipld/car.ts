import { decode, encode } from '@ipld/dag-cbor';
import { CID } from 'multiformats/cid';
import { DagpacsError } from '../kernel/errors.ts';
import { type Cid, cidFromDigest, DAG_CBOR, DAG_PB, RAW } from './cid.ts';

/**
 * CARv1 (https://ipld.io/specs/transport/car/carv1/): a header, then sections, each a varint length, a CID and the block's
 * bytes. Packs hold blocks named by CIDv1 and sha2-256 only; anything else is taken for damage.
 */

/**
 * `{ roots: [bafkqaaa], version: 1 }` in dag-cbor behind its length. A pack has no root, but readers such as go-car refuse
 * an empty list: the empty identity CID names a block that everybody has.
 */
const HEADER = Buffer.from('19a265726f6f747381d82a4500015500006776657273696f6e01', 'hex');

const SHA2_256 = 0x12;
const DIGEST_SIZE = 32;
/** Bytes of a CIDv1 with a one-byte codec and a sha2-256 digest: version, codec, 0x12, digest's length, digest. */
const CID_SIZE = 4 + DIGEST_SIZE;
/** No block that DagPACS writes comes near this; IPFS peers refuse larger ones. */
const MAX_BLOCK = 2 * 1024 * 1024;

/** The first bytes of every pack; do not change them. */
export function carHeader(): Buffer {
  return HEADER;
}

/** The first bytes of a CARv1 file with these roots. */
export function carHeaderOf(roots: readonly Cid[]): Buffer {
  const header = encode({ roots, version: 1 });
  const length = Buffer.allocUnsafe(varintSize(header.length));
  writeVarint(length, header.length);
  return Buffer.concat([length, header]);
}

/**
 * Reads the header at the start of a CARv1 file; `buffer` must hold it whole.
 * @throws DagpacsError `block-damaged`
 */
export function parseCarHeader(buffer: Uint8Array): { roots: Cid[]; end: number } {
  let length = 0;
  let start = 0;
  for (let byte = 0x80; byte >= 0x80; start += 1) {
    byte = buffer[start] ?? 0;
    length += (byte & 0x7f) * 0x80 ** start;
    if (start > 3) throw damaged('no header');
  }
  const end = start + length;
  try {
    const header = decode<{ version?: unknown; roots?: unknown }>(buffer.subarray(start, end));
    const { version, roots } = header;
    if (version === 1 && Array.isArray(roots) && roots.every((root) => root instanceof CID)) return { roots, end };
  } catch (cause) {
    throw new DagpacsError('block-damaged', 'no CAR file: its header cannot be read', { rule: 'CARv1' }, { cause });
  }
  throw new DagpacsError('block-damaged', 'no CAR file of version 1', { rule: 'CARv1' });
}

/** What stands before a block of `length` bytes: the section's length and the CID. */
export function sectionHead(cid: Cid, length: number): Buffer {
  const section = cid.bytes.length + length;
  const head = Buffer.allocUnsafe(varintSize(section) + cid.bytes.length);
  head.set(cid.bytes, writeVarint(head, section));
  return head;
}

/** Offsets count from byte 0 of the buffer that was parsed. */
export interface CarSection {
  cid: Cid;
  dataStart: number;
  /** May lie beyond the buffer. */
  dataEnd: number;
  /** Where the next section starts. */
  next: number;
}

/**
 * Reads the head of the section at `offset`; the block's own bytes need not be in the buffer. Undefined where the buffer
 * ends within the head.
 * @throws DagpacsError `block-damaged` for what no section of a pack starts with
 */
export function parseSection(buffer: Uint8Array, offset: number): CarSection | undefined {
  let at = offset;
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = buffer[at];
    if (byte === undefined) return undefined;
    at += 1;
    length += (byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (byte === 0 && shift > 0) throw damaged('length with a needless byte');
      break;
    }
    if (shift === 21) throw damaged('length of more than four bytes');
  }
  if (length < CID_SIZE || length > CID_SIZE + MAX_BLOCK) throw damaged('length that no block has');
  if (at + CID_SIZE > buffer.length) return undefined;
  const codec = buffer[at + 1] as number;
  if (buffer[at] !== 1 || buffer[at + 2] !== SHA2_256 || buffer[at + 3] !== DIGEST_SIZE) {
    throw damaged('no CIDv1 with a sha2-256 digest');
  }
  if (codec !== RAW && codec !== DAG_PB && codec !== DAG_CBOR) throw damaged('unknown codec');
  const dataEnd = at + length;
  const cid = cidFromDigest(codec, buffer.subarray(at + 4, at + CID_SIZE));
  return { cid, dataStart: at + CID_SIZE, dataEnd, next: dataEnd };
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size += 1;
  return size;
}

/** Returns the offset after the varint. */
function writeVarint(target: Uint8Array, value: number): number {
  let at = 0;
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) target[at++] = (rest % 0x80) | 0x80;
  target[at++] = rest;
  return at;
}

function damaged(rule: string): DagpacsError {
  return new DagpacsError('block-damaged', `CAR section: ${rule}`, { rule });
}
