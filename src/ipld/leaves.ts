import { createHash, type Hash } from 'node:crypto';
import { decode, encode, type PBLink } from '@ipld/dag-pb';
import { UnixFS } from 'ipfs-unixfs';
import { DagpacsError } from '../kernel/errors.ts';
import { type Cid, cidFromDigest, cidOf, DAG_PB, RAW } from './cid.ts';

/** Bytes of a leaf; the last may be shorter. */
export const LEAF_SIZE = 1_048_576;
/** Kubo's `--max-file-links`. */
const LINKS_PER_NODE = 174;

/** A block whose bytes are the concatenation of `parts`. */
export interface CutBlock {
  cid: Cid;
  parts: Uint8Array[];
}

/** A file in blocks, as `ipfs add` would name it. */
export interface CutFile {
  root: Cid;
  /** Bytes of the file. */
  size: number;
  /** Leaves and nodes. */
  blocks: number;
}

/** A child of a node on its way up the tree. */
interface Child {
  cid: Cid;
  /** Bytes of the file below it. */
  size: number;
  /** Bytes of all blocks below it, its own included: dag-pb's Tsize. */
  total: number;
}

/**
 * Cuts a stream into the blocks that `ipfs add --cid-version=1 --raw-leaves --chunker=size-1048576` makes: one raw block
 * where it fits, else raw leaves under a balanced tree of UnixFS file nodes. Nothing is copied: a leaf is a list of parts.
 */
export class LeafCutter {
  readonly #emit: (block: CutBlock) => void;
  #parts: Uint8Array[] = [];
  #hash: Hash = createHash('sha256');
  #leafLength = 0;
  #blocks = 0;
  /** Children that wait for their parent, by height: leaves first. */
  readonly #levels: Child[][] = [[]];

  /** `emit` takes leaves in the order of the file, nodes after their children, the root last. */
  constructor(emit: (block: CutBlock) => void) {
    this.#emit = emit;
  }

  /** Takes ownership of `bytes`. A full leaf is emitted when more comes after it, the last at the end. */
  push(bytes: Uint8Array): void {
    let offset = 0;
    while (offset < bytes.length) {
      if (this.#leafLength === LEAF_SIZE) this.#endLeaf();
      const part = bytes.subarray(offset, offset + LEAF_SIZE - this.#leafLength);
      this.#hash.update(part);
      this.#parts.push(part);
      this.#leafLength += part.length;
      offset += part.length;
    }
  }

  /** Emits what is left; nothing may be pushed after. */
  end(): CutFile {
    this.#endLeaf();
    for (let height = 0; ; height += 1) {
      const level = this.#levels[height] ?? [];
      const only = level[0];
      if (only && level.length === 1 && height === this.#levels.length - 1) {
        return { root: only.cid, size: only.size, blocks: this.#blocks };
      }
      this.#endNode(height);
    }
  }

  #endLeaf(): void {
    const cid = cidFromDigest(RAW, this.#hash.digest());
    const leaf = { cid, size: this.#leafLength, total: this.#leafLength };
    this.#put(cid, this.#parts);
    this.#parts = [];
    this.#hash = createHash('sha256');
    this.#leafLength = 0;
    this.#add(0, leaf);
  }

  #add(height: number, child: Child): void {
    if (this.#levels[height]?.length === LINKS_PER_NODE) this.#endNode(height);
    const level = this.#levels[height];
    if (level) level.push(child);
    else this.#levels[height] = [child];
  }

  /** Makes a node of what waits at `height` and adds it one level up. */
  #endNode(height: number): void {
    const children = this.#levels[height] ?? [];
    this.#levels[height] = [];
    const file = new UnixFS({ type: 'file', blockSizes: children.map(({ size }) => BigInt(size)) });
    const links: PBLink[] = children.map(({ cid, total }) => ({ Hash: cid, Name: '', Tsize: total }));
    const bytes = encode({ Data: file.marshal(), Links: links });
    const cid = cidOf(DAG_PB, bytes);
    this.#put(cid, [bytes]);
    const size = children.reduce((sum, child) => sum + child.size, 0);
    const total = children.reduce((sum, child) => sum + child.total, bytes.length);
    this.#add(height + 1, { cid, size, total });
  }

  #put(cid: Cid, parts: Uint8Array[]): void {
    this.#blocks += 1;
    this.#emit({ cid, parts });
  }
}

/** A part of a file: a leaf (raw) or another node (dag-pb). */
export interface FileLink {
  cid: Cid;
  /** Bytes of the file below it. */
  size: number;
}

/**
 * The children of a UnixFS file node, in the order of the file. A root whose CID is raw has none: it is the file.
 * @throws DagpacsError `block-damaged` where `node` is not the dag-pb node of a file
 */
export function readLinks(node: Uint8Array): FileLink[] {
  try {
    const { Data, Links } = decode(node);
    if (!Data) throw new Error('no UnixFS data');
    const file = UnixFS.unmarshal(Data);
    if (file.type !== 'file' || file.data?.length) throw new Error('no file of linked leaves');
    if (file.blockSizes.length !== Links.length) throw new Error('links and block sizes differ');
    return Links.map(({ Hash }, i) => ({ cid: Hash, size: Number(file.blockSizes[i]) }));
  } catch (cause) {
    throw new DagpacsError('block-damaged', 'not a UnixFS file node', { rule: 'UnixFS' }, { cause });
  }
}
