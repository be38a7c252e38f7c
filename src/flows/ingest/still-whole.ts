import { isDagpacsError } from '../../kernel/errors.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Version } from '../../ports/index.ts';
import type { Vault } from '../../ports/vault.ts';
import { openSealed } from '../objects/sealed-object.ts';

/**
 * Whether a held version can be given back: all its bytes are read and authenticated, which only an instance that is sent
 * again costs. What may have been dropped here because the swarm holds it is not fetched for that, and counts as whole.
 */
export async function isStillWhole(held: Version, modules: { blocks: BlockStore; vault: Vault }): Promise<boolean> {
  if (modules.blocks.thinned()) return true;
  try {
    const opener = await openSealed(held, modules);
    for await (const _ of opener.range());
    return true;
  } catch (error) {
    // The key was erased: what is sent again is no repair of that.
    if (isDagpacsError(error, 'not-found')) return true;
    if (isDamage(error)) return false;
    throw error;
  }
}

/** Whether what is held cannot be read any more, whatever comes in. */
export function isDamage(error: unknown): boolean {
  return isDagpacsError(error, 'block-missing') || isDagpacsError(error, 'block-damaged');
}
