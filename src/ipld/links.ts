import { decode as decodeCbor } from '@ipld/dag-cbor';
import { decode as decodePb } from '@ipld/dag-pb';
import { CID } from 'multiformats/cid';
import { DagpacsError } from '../kernel/errors.ts';
import { type Cid, DAG_CBOR, DAG_PB } from './cid.ts';

/**
 * The links of a block in the order in which they stand, which is the order of a depth-first walk. A raw block has none.
 * @throws DagpacsError `block-damaged` where `bytes` are not of the CID's codec
 */
export function linksOf(cid: Cid, bytes: Uint8Array): Cid[] {
  if (cid.code === DAG_PB) return decoded(() => decodePb(bytes)).Links.map(({ Hash }) => Hash);
  if (cid.code !== DAG_CBOR) return [];
  const links: Cid[] = [];
  collect(
    decoded(() => decodeCbor(bytes)),
    links,
  );
  return links;
}

/** Where a path leads from a block: through a link, to a value that is none, or nowhere. */
export type Step = { to: 'link'; cid: Cid; rest: string[] } | { to: 'value' } | { to: 'nothing' };

/**
 * Follows a path of one segment or more up to the first link: by field names and places in dag-cbor, by link names in dag-pb.
 * @throws as {@link linksOf}
 */
export function followPath(cid: Cid, bytes: Uint8Array, path: readonly string[]): Step {
  if (cid.code === DAG_PB) {
    const link = decoded(() => decodePb(bytes)).Links.find(({ Name }) => Name !== '' && Name === path[0]);
    return link ? { to: 'link', cid: link.Hash, rest: path.slice(1) } : { to: 'nothing' };
  }
  if (cid.code !== DAG_CBOR) return { to: 'nothing' };
  let value: unknown = decoded(() => decodeCbor(bytes));
  for (const [i, segment] of path.entries()) {
    if (!isContainer(value) || !Object.keys(value).includes(segment)) return { to: 'nothing' };
    value = (value as Record<string, unknown>)[segment];
    if (value instanceof CID) return { to: 'link', cid: value, rest: path.slice(i + 1) };
  }
  return { to: 'value' };
}

/** A map or a list. */
function isContainer(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !(value instanceof Uint8Array);
}

function collect(value: unknown, links: Cid[]): void {
  if (value instanceof CID) links.push(value);
  else if (isContainer(value)) for (const inner of Object.values(value)) collect(inner, links);
}

function decoded<T>(decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    throw new DagpacsError('block-damaged', 'a block is not of its codec', { rule: 'IPLD codec' }, { cause });
  }
}
