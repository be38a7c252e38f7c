import { sealedSize } from '../../crypto/sealed-stream.ts';
import { carHeaderOf, sectionHead } from '../../ipld/car.ts';
import { type Cid, cidOf, DAG_CBOR } from '../../ipld/cid.ts';
import { decodeInstanceNode } from '../../ipld/nodes.ts';
import { asRaw, encodeStudy, LINKS_PER_PART } from '../../ipld/study-node.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Block, BlockStore } from '../../ports/blocks.ts';
import type { Index } from '../../ports/index.ts';
import { walkDag } from '../objects/dag.ts';
import { wholeBlock } from '../objects/whole-block.ts';

/** A study as a CARv1 file. */
export interface StudyCar {
  /** Its one root, a study node (`ipld/study-node.ts`). */
  root: string;
  /** Versions of instances in it. */
  versions: number;
  /** Bytes of the sealed objects in it: nearly all of the file. */
  size: number;
  /** The file, every block checked before it is given. @throws DagpacsError `block-missing`, `block-damaged` */
  bytes(): AsyncIterable<Uint8Array>;
}

/**
 * Everything of a study that is not in the vault, under one root: all versions with their sealed objects, and the records
 * that prove them. The same study gives the same bytes.
 * @throws DagpacsError `not-found`
 */
export async function exportStudy(
  studyInstanceUID: string,
  { blocks, index }: { blocks: BlockStore; index: Index },
): Promise<StudyCar> {
  const nodes: Cid[] = [];
  const records = new Map<string, { sequence: number; record: Cid }>();
  let size = 0;
  for (const { sopInstanceUID } of index.instances(studyInstanceUID)) {
    for (const { version, batch } of index.versions(sopInstanceUID)) {
      nodes.push(version.node);
      size += sealedSize(version.size);
      if (batch) records.set(batch.id, batch);
    }
  }
  const [first] = nodes;
  if (!first) throw new DagpacsError('not-found', 'no such study is held');
  const { study } = decodeInstanceNode(await wholeBlock(first, blocks));
  const ordered = [...records.values()].sort((a, b) => a.sequence - b.sequence).map(({ record }) => record);
  const own = new Map<string, Uint8Array | Cid>(ordered.map((record) => [asRaw(record).toString(), record]));
  const root = partsOf(study, nodes, ordered.map(asRaw), own);

  const get = async (cid: Cid): Promise<Uint8Array> => {
    const made = own.get(cid.toString());
    if (made instanceof Uint8Array) return made;
    return wholeBlock(made ?? cid, blocks);
  };
  return {
    root: root.cid.toString(),
    versions: nodes.length,
    size,
    async *bytes() {
      yield carHeaderOf([root.cid]);
      for await (const { cid, bytes } of walkDag(root, get, { dups: false })) {
        yield sectionHead(cid, bytes.length);
        yield bytes;
      }
    },
  };
}

/** The study node and its further parts, last first, since each names the next; all but the root go to `own`. */
function partsOf(
  study: Uint8Array,
  instances: readonly Cid[],
  records: readonly Cid[],
  own: Map<string, Uint8Array | Cid>,
): Block {
  const links = [...instances.map((cid) => ({ instance: cid })), ...records.map((cid) => ({ record: cid }))];
  let part: Block | undefined;
  for (let at = Math.floor((links.length - 1) / LINKS_PER_PART) * LINKS_PER_PART; at >= 0; at -= LINKS_PER_PART) {
    const here = links.slice(at, at + LINKS_PER_PART);
    const bytes = encodeStudy({
      study,
      instances: here.flatMap((link) => ('instance' in link ? [link.instance] : [])),
      records: here.flatMap((link) => ('record' in link ? [link.record] : [])),
      next: part?.cid ?? null,
    });
    if (part) own.set(part.cid.toString(), part.bytes);
    part = { cid: cidOf(DAG_CBOR, bytes), bytes };
  }
  return part as Block;
}
