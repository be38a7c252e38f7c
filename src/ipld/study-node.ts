import { encode } from '@ipld/dag-cbor';
import { type Cid, cidFromDigest, RAW } from './cid.ts';
import { isLink, Shape } from './shape.ts';

export const STUDY_TYPE = 'dagpacs/study';
const VERSION = 1;
const REFERENCE_SIZE = 32;
/** Links of one node, which then stays below 1 MiB. */
export const LINKS_PER_PART = 16_384;

/** The root of a study's CAR, or a further part of it: what the chain and the blocks say of it anyway. */
export interface StudyNode {
  /** The study's reference. */
  study: Uint8Array;
  /** Instance nodes. */
  instances: Cid[];
  /**
   * Records of the batches that they are in, each as the raw block of its bytes: a record links the instances of others,
   * which belong to no study's CAR.
   */
  records: Cid[];
  /** The next part; null in the last. */
  next: Cid | null;
}

/** @returns the block's bytes; its CID is `cidOf(DAG_CBOR, bytes)` */
export function encodeStudy({ study, instances, records, next }: StudyNode): Uint8Array {
  return encode({ type: STUDY_TYPE, v: VERSION, study, instances, records, next });
}

/** @throws DagpacsError `block-damaged` for anything that is no such node of this version */
export function decodeStudy(bytes: Uint8Array): StudyNode {
  const shape = new Shape('study node', bytes);
  shape.constant('type', STUDY_TYPE);
  shape.constant('v', VERSION);
  const links = (name: string) =>
    shape.list(name).map((link) => {
      if (!isLink(link)) throw shape.damaged(`${name} are not links`);
      return link;
    });
  const node = {
    study: shape.bytes('study', REFERENCE_SIZE),
    instances: links('instances'),
    records: links('records'),
    next: shape.takeLinkOrNull('next'),
  };
  shape.end();
  return node;
}

/** The same bytes as a block of no links. */
export function asRaw(cid: Cid): Cid {
  return cidFromDigest(RAW, cid.multihash.digest);
}
