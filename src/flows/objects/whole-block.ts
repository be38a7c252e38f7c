import { type Cid, matchesCid } from '../../ipld/cid.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { BlockStore } from '../../ports/blocks.ts';

/** A whole block that is to be trusted without being opened: checked against its CID, and mended where it is not right. */
export async function wholeBlock(cid: Cid, blocks: BlockStore): Promise<Uint8Array> {
  const bytes = await blockAsItLies(cid, blocks);
  return matchesCid(cid, bytes) ? bytes : blocks.mend(cid);
}

/**
 * A whole block for somebody who checks it: fetched only where it is missing, or cannot be read.
 * @param into where it is read to, if that is long enough
 */
export async function blockAsItLies(cid: Cid, blocks: BlockStore, into?: Buffer): Promise<Uint8Array> {
  try {
    return await blocks.read(cid, undefined, undefined, into);
  } catch (error) {
    if (!isDagpacsError(error, 'block-missing') && !isDagpacsError(error, 'block-damaged')) throw error;
    return blocks.mend(cid);
  }
}
