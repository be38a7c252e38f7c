import { type Cid, matchesCid } from '../../ipld/cid.ts';
import { type KuboHttp, KuboRefusal } from './kubo-http.ts';

/** Twice what IPFS peers take: an answer beyond it is no block. */
const MAX_BLOCK = 4 << 20;
const MAX_STAT = 64 * 1024;
const NOT_THERE = /not find|not found/i;
/** A node with `Datastore.HashOnRead` does not give what it finds damaged. */
const DAMAGED = /different hash/;

/**
 * A block by `block/get`; undefined where the node says that it has none. `offline`: its peers are not asked.
 * @throws Error in words, also for bytes that are not the block's
 */
export async function getBlock(
  http: KuboHttp,
  cid: Cid,
  offline: boolean,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  const bytes = await unlessMissing(http.post(`block/get?arg=${cid}&offline=${offline}`, MAX_BLOCK, signal));
  if (bytes && !matchesCid(cid, bytes)) throw new Error('the node gives other bytes than those that the CID names');
  return bytes;
}

/** Whether the node itself holds a block; not where it sees that its copy is damaged. @throws Error in words */
export async function hasBlock(http: KuboHttp, cid: Cid, signal: AbortSignal): Promise<boolean> {
  try {
    return (await unlessMissing(http.post(`block/stat?arg=${cid}&offline=true`, MAX_STAT, signal))) !== undefined;
  } catch (error) {
    if (error instanceof KuboRefusal && DAMAGED.test(error.message)) return false;
    throw error;
  }
}

/** Reads what the node itself holds of a block. @throws Error in words */
export async function checkBlock(
  http: KuboHttp,
  cid: Cid,
  signal: AbortSignal,
): Promise<'whole' | 'missing' | 'damaged'> {
  try {
    const bytes = await unlessMissing(http.post(`block/get?arg=${cid}&offline=true`, MAX_BLOCK, signal));
    if (!bytes) return 'missing';
    return matchesCid(cid, bytes) ? 'whole' : 'damaged';
  } catch (error) {
    if (error instanceof KuboRefusal && DAMAGED.test(error.message)) return 'damaged';
    throw error;
  }
}

/** Has the node delete a block, whether it is there or not. @throws Error in words, where a pin holds it */
export async function dropBlock(http: KuboHttp, cid: Cid, signal: AbortSignal): Promise<void> {
  const answer = await http.post(`block/rm?arg=${cid}&force=true`, MAX_STAT, signal);
  const text = answer.toString().trim();
  const { Error: refusal } = (text === '' ? {} : JSON.parse(text)) as { Error?: unknown };
  if (refusal) throw new Error(`the node does not delete a block: ${refusal}`);
}

async function unlessMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof KuboRefusal && NOT_THERE.test(error.message)) return undefined;
    throw error;
  }
}
