import type { Cid } from '../../ipld/cid.ts';
import { type DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Swarm } from '../../ports/swarm.ts';

/** What became of blocks that could not be read here, since the start. */
export interface MendingCounts {
  /** Missing here (evicted or lost), fetched from the swarm. */
  fetched: number;
  /** Damaged here, replaced by what the swarm gave. */
  repaired: number;
  /** Neither here nor in the swarm as they should be. */
  failed: number;
}

/** Blocks that may be fetched or written at once without a reader having to wait for the disk. */
const MAX_UNDER_WAY = 32;

/**
 * A block store whose `mend` asks the swarm. Everything else is the store's own: where all is well nothing is slower.
 * @returns the store, and what it has mended
 */
export function mendFromSwarm(
  blocks: BlockStore,
  swarm: Pick<Swarm, 'get'>,
  log: Log,
): { blocks: BlockStore; counts: Readonly<MendingCounts> } {
  const counts: MendingCounts = { fetched: 0, repaired: 0, failed: 0 };
  const underWay = new Map<string, Promise<Uint8Array>>();

  async function fetch(cid: Cid, local: DagpacsError): Promise<Uint8Array> {
    let bytes: Uint8Array | undefined;
    try {
      bytes = await swarm.get(cid);
    } catch (error) {
      if (!isDagpacsError(error, 'swarm-unavailable')) throw error;
    }
    if (!bytes) {
      counts.failed += 1;
      log.error('block-not-mended', { reason: local.code });
      throw local;
    }
    counts[local.code === 'block-missing' ? 'fetched' : 'repaired'] += 1;
    if (local.code === 'block-damaged') log.warn('block-repaired');
    return bytes;
  }

  async function restore(cid: Cid, bytes: Uint8Array): Promise<void> {
    try {
      await blocks.restore(cid, bytes);
    } catch (failure) {
      // The reader has what he asked for; a full disk is told by whoever writes next.
      log.warn('block-not-restored', { reason: (failure as Error).message });
    } finally {
      underWay.delete(cid.toString());
    }
  }

  async function mend(cid: Cid): Promise<Uint8Array> {
    try {
      const bytes = await blocks.mend(cid);
      underWay.delete(cid.toString());
      return bytes;
    } catch (error) {
      if (!isDagpacsError(error) || (error.code !== 'block-missing' && error.code !== 'block-damaged')) throw error;
      const bytes = await fetch(cid, error);
      const restored = restore(cid, bytes);
      if (error.code === 'block-damaged' || underWay.size > MAX_UNDER_WAY) await restored;
      return bytes;
    }
  }

  return {
    counts,
    blocks: {
      ...blocks,
      mend(cid) {
        const name = cid.toString();
        let mending = underWay.get(name);
        if (!mending) {
          mending = mend(cid);
          underWay.set(name, mending);
          mending.catch(() => underWay.delete(name));
        }
        return mending;
      },
    },
  };
}
