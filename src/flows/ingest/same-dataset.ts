import { createHash } from 'node:crypto';
import type { Opener } from '../../crypto/open-range.ts';
import type { Scan } from '../../dicom/model.ts';
import type { Cid } from '../../ipld/cid.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Version } from '../../ports/index.ts';
import type { Vault } from '../../ports/vault.ts';
import { openObject, openSealed } from '../objects/sealed-object.ts';
import { isDamage } from './still-whole.ts';

/** An instance whose blocks are placed but not committed. */
export interface Fresh extends Pick<Scan, 'transferSyntaxUID' | 'datasetOffset' | 'size'> {
  object: Cid;
  key: Uint8Array;
}

/**
 * Whether a held version and a fresh one have the same transfer syntax and data set bytes: the file meta information may
 * differ between what C-STORE and STOW bring. One that cannot be read any more is not the same. Both are read again, which only a repeated UID of equal length costs.
 */
export async function sameDataset(
  held: Version,
  fresh: Fresh,
  modules: { blocks: BlockStore; vault: Vault },
): Promise<boolean> {
  const sameLength = held.size - held.datasetOffset === fresh.size - fresh.datasetOffset;
  if (!sameLength || held.transferSyntaxUID !== fresh.transferSyntaxUID) return false;
  const [left, right] = await Promise.all([
    openSealed(held, modules)
      .then((opener) => digest(opener, held.datasetOffset))
      .catch((error) => {
        if (isDamage(error)) return undefined;
        throw error;
      }),
    openObject(fresh.key, fresh.object, fresh.size, modules.blocks).then((opener) =>
      digest(opener, fresh.datasetOffset),
    ),
  ]);
  return left?.equals(right) ?? false;
}

async function digest(opener: Opener, from: number): Promise<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of opener.range(from)) hash.update(chunk);
  return hash.digest();
}
