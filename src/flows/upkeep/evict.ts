import { type Cid, DAG_CBOR, DAG_PB, RAW } from '../../ipld/cid.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { startLoop } from '../../kernel/loop.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Index } from '../../ports/index.ts';
import { walkObject } from '../objects/sealed-object.ts';

export interface EvictionModules {
  blocks: BlockStore;
  index: Index;
  log: Log;
}

export interface Eviction {
  /** Something may be dropped that could not be before. */
  notify(): void;
  stop(): Promise<void>;
}

/** A pack of which less is to be dropped is not worth being written anew. */
const WORTHWHILE = 0.1;
/** Packs after one in which the nodes of its leaves are looked for: a large instance may span several. */
const SPAN = 4;
/** Nodes that the index is asked for at once. */
const GROUP = 500;
const IDLE_MS = 1000;
/** Looking through all packs for nothing is not for every second. */
const FRUITLESS_MS = 60_000;

/**
 * Keeps the local blocks below `maxBytes` (0: no bound) by dropping leaves, oldest pack first, of instances that are
 * replicated. Nodes and records stay: they are the log. What is not known to be replicated stays, however much it is.
 */
export function startEviction({ maxBytes }: { maxBytes: number }, modules: EvictionModules): Eviction {
  const { blocks, log } = modules;
  if (maxBytes === 0) return { notify: () => undefined, stop: async () => undefined };
  /** When nothing could go: until when, or until how many bytes, it is not tried again. */
  let fruitless = { until: 0, bytes: 0 };
  const loop = startLoop({
    round: async () => {
      const { bytes } = blocks.usage();
      if (bytes <= maxBytes || (Date.now() < fruitless.until && bytes < fruitless.bytes)) return false;
      const freed = await evict(maxBytes, modules);
      const again = { until: Date.now() + FRUITLESS_MS, bytes: bytes + maxBytes * WORTHWHILE };
      fruitless = freed > 0 ? { until: 0, bytes: 0 } : again;
      return false;
    },
    idleMs: IDLE_MS,
    onFailure: (error) => log.error('eviction-failed', { reason: (error as Error).message }),
  });
  return {
    notify() {
      fruitless = { until: 0, bytes: 0 };
      loop.wake();
    },
    stop: () => loop.stop(),
  };
}

/** Drops until `maxBytes` are kept or nothing more can go. @returns bytes that were freed */
export async function evict(maxBytes: number, modules: EvictionModules): Promise<number> {
  const { blocks, log } = modules;
  let freed = 0;
  // What was fetched is committed by nobody else, and a pack is closed only once all of it is durable.
  await blocks.commit();
  const packs = await blocks.closedPacks();
  for (const [i, { pack, bytes }] of packs.entries()) {
    if (blocks.usage().bytes <= maxBytes) break;
    const lookIn = packs.slice(i, i + 1 + SPAN).map((each) => each.pack);
    try {
      const drop = await droppable(pack, lookIn, modules);
      if (drop.bytes < bytes * WORTHWHILE) continue;
      freed += await blocks.thin(pack, (cid) => drop.leaves.has(keyOf(cid)));
    } catch (error) {
      // A damaged pack stays as it is; the next one may go.
      if (!isDagpacsError(error)) throw error;
      log.warn('pack-not-thinned', { pack, reason: error.message });
    }
  }
  if (freed > 0) log.info('blocks-evicted', { bytes: freed });
  return freed;
}

/** The leaves of a pack that the swarm is known to hold. */
async function droppable(
  pack: number,
  lookIn: readonly number[],
  { blocks, index }: EvictionModules,
): Promise<{ leaves: Set<string>; bytes: number }> {
  const candidates = new Map<string, number>();
  const leaves = new Set<string>();
  let bytes = 0;
  const take = (cid: Cid) => {
    const key = keyOf(cid);
    const size = candidates.get(key);
    if (size === undefined || leaves.has(key)) return;
    leaves.add(key);
    bytes += size;
  };
  for await (const { cid, size } of blocks.list(pack)) {
    if (cid.code !== RAW) continue;
    candidates.set(keyOf(cid), size);
    if (blocks.wasFetched(cid)) take(cid);
  }
  for (const place of lookIn) {
    if (leaves.size >= candidates.size) break;
    for await (const nodes of groups(blocks.list(place))) {
      for (const { object } of index.replicatedObjects(nodes)) {
        if (object.code !== DAG_PB) take(object);
        else for await (const { cid } of walkObject(object, blocks)) take(cid);
      }
    }
  }
  return { leaves, bytes };
}

async function* groups(listed: AsyncIterable<{ cid: Cid }>): AsyncIterable<Cid[]> {
  let group: Cid[] = [];
  for await (const { cid } of listed) {
    if (cid.code !== DAG_CBOR) continue;
    group.push(cid);
    if (group.length < GROUP) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

/** 32 bytes in a string: a pack of small instances has hundreds of thousands. */
function keyOf(cid: Cid): string {
  return Buffer.from(cid.multihash.digest).toString('latin1');
}
