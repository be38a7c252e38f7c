import { carHeader, carHeaderOf, sectionHead } from '../../ipld/car.ts';
import { type Cid, DAG_CBOR, DAG_PB, parseCid } from '../../ipld/cid.ts';
import { readLinks } from '../../ipld/leaves.ts';
import { followPath } from '../../ipld/links.ts';
import { INSTANCE_TYPE, nodeType, RECORD_TYPE } from '../../ipld/nodes.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Block, BlockStore } from '../../ports/blocks.ts';
import type { Index } from '../../ports/index.ts';
import { once, walkDag, walkFile } from '../objects/dag.ts';
import { wholeBlock } from '../objects/whole-block.ts';

/** What of the DAG at the end of a path is asked for (https://specs.ipfs.tech/http-gateways/trustless-gateway/). */
export interface CarSelection {
  scope: 'block' | 'entity' | 'all';
  /** Bytes of the entity, both inclusive; negative ones count from its end, `to` undefined is its end. */
  bytes?: { from: number; to: number | undefined };
  /** Whether a block that occurs more than once is given each time. */
  dups: boolean;
}

export interface Car {
  /** CIDs of the path's logical roots, the one at its end last. */
  roots: string[];
  /** A CARv1 stream, depth first. Ends with an error where a block below the root cannot be given. */
  bytes(): AsyncIterable<Uint8Array>;
}

/**
 * Blocks by CID, for anyone entitled to them: sealed objects, instance nodes and records, each checked against its CID.
 * Errors are DagpacsError `invalid-parameter` (no CID, or a range outside of the entity), `not-found`, `withheld`,
 * `block-damaged`, `storage-failed`.
 */
export interface Gateway {
  /** True where the block is held on this machine. */
  holds(cid: string): boolean;
  /** A block. */
  block(cid: string): Promise<Uint8Array>;
  /** The blocks that verify a path, and those that are selected at its end; `unsupported`: it ends within a block. */
  car(cid: string, path: readonly string[], selection: CarSelection): Promise<Car | 'unsupported'>;
}

/** The identity CID of no bytes: what a client asks for to see whether this is a gateway. */
const PROBE = 'bafkqaaa';

/** The trustless gateway over the block store. */
export function createGateway({ blocks, index }: { blocks: BlockStore; index: Pick<Index, 'knownNodes'> }): Gateway {
  async function get(cid: Cid): Promise<Uint8Array> {
    const bytes = await wholeBlock(cid, blocks);
    // Raw leaves and file nodes are ciphertext and its tree. Structured data are given out where they are known to be ours.
    if (cid.code !== DAG_CBOR) return bytes;
    const type = nodeType(bytes);
    if (type !== INSTANCE_TYPE && type !== RECORD_TYPE) {
      throw new DagpacsError('withheld', 'only sealed objects, instance nodes and records are given out');
    }
    if (type === INSTANCE_TYPE && index.knownNodes([cid]).length === 0) {
      throw new DagpacsError('withheld', 'the instance was erased');
    }
    return bytes;
  }

  /** A block without which there is no answer at all. Nobody makes us look for what we do not know. */
  async function getRoot(cid: Cid, isLinked = false): Promise<Uint8Array> {
    try {
      if (!isLinked && !blocks.has(cid)) throw new DagpacsError('block-missing', 'a block is not in the local store');
      return await get(cid);
    } catch (error) {
      if (!isDagpacsError(error, 'block-missing')) throw error;
      throw new DagpacsError('not-found', 'the block is not held here', { attribute: 'cid' }, { cause: error });
    }
  }

  return {
    holds: (text) => text === PROBE || blocks.has(cidOf(text)),

    async block(text) {
      return text === PROBE ? new Uint8Array() : getRoot(cidOf(text));
    },

    async car(text, path, selection) {
      if (text === PROBE && path.length === 0) {
        return { roots: [PROBE], bytes: () => sections(carHeader(), []) };
      }
      const cid = cidOf(text);
      const above: Block[] = [];
      let end: Block = { cid, bytes: await getRoot(cid) };
      for (let rest = [...path]; rest.length > 0; ) {
        const step = followPath(end.cid, end.bytes, rest);
        if (step.to === 'value') return 'unsupported';
        if (step.to === 'nothing') throw noSuchPath(path, rest);
        above.push(end);
        end = { cid: step.cid, bytes: await getRoot(step.cid, true) };
        rest = step.rest;
      }
      const selected = select(end, get, selection);
      return {
        roots: [...above, end].map((block) => block.cid.toString()),
        async *bytes() {
          yield* sections(carHeaderOf([end.cid]), above);
          yield* sections(undefined, selected());
        },
      };
    },
  };
}

/** @throws DagpacsError `invalid-parameter` where the range lies outside of the entity */
function select(
  root: Block,
  get: (cid: Cid) => Promise<Uint8Array>,
  { scope, bytes, dups }: CarSelection,
): () => AsyncIterable<Block> | Block[] {
  if (scope === 'all' && bytes === undefined) return () => walkDag(root, get, { dups });
  if (scope === 'block' || root.cid.code === DAG_CBOR) return () => [root];
  const size = sizeOf(root);
  const file = (start: number, end: number) => () => {
    const walk = walkFile(root, get, { start, end });
    return dups ? walk : once(walk);
  };
  if (bytes === undefined) return file(0, size);
  const start = bytes.from < 0 ? Math.max(0, size + bytes.from) : bytes.from;
  const last = bytes.to === undefined ? size - 1 : bytes.to < 0 ? size + bytes.to : Math.min(bytes.to, size - 1);
  if (start >= size && size > 0) {
    const subject = { attribute: 'entity-bytes', rule: `must lie within the ${size} bytes of the entity` };
    throw new DagpacsError('invalid-parameter', `entity-bytes ${subject.rule}`, subject);
  }
  return last < start ? () => [root] : file(start, last + 1);
}

/** Bytes of the file that a block is the root of. */
function sizeOf({ cid, bytes }: Block): number {
  return cid.code === DAG_PB ? readLinks(bytes).reduce((sum, { size }) => sum + size, 0) : bytes.length;
}

async function* sections(
  header: Uint8Array | undefined,
  blocks: AsyncIterable<Block> | Iterable<Block>,
): AsyncGenerator<Uint8Array> {
  if (header) yield header;
  for await (const { cid, bytes } of blocks) {
    yield sectionHead(cid, bytes.length);
    yield bytes;
  }
}

/** @throws DagpacsError `invalid-parameter` */
function cidOf(text: string): Cid {
  try {
    return parseCid(text).toV1();
  } catch (cause) {
    const subject = { attribute: 'cid', rule: 'must be a CID (https://github.com/multiformats/cid)' };
    throw new DagpacsError('invalid-parameter', `the path's root ${subject.rule}`, subject, { cause });
  }
}

function noSuchPath(path: readonly string[], rest: readonly string[]): DagpacsError {
  const at = path.length - rest.length;
  const rule = `segment ${at + 1} of the path after the CID leads nowhere`;
  return new DagpacsError('not-found', `there is no such path: ${rule}`, { attribute: 'path', rule });
}
