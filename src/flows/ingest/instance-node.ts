import { wrapKey } from '../../crypto/key-wrap.ts';
import { ENTRY_OVERHEAD } from '../../crypto/sealed-entry.ts';
import { sealedSize } from '../../crypto/sealed-stream.ts';
import type { StudySecrets } from '../../crypto/study-key.ts';
import { type Cid, cidOf, DAG_CBOR } from '../../ipld/cid.ts';
import { encodeInstanceNode, MAX_INLINE_ENTRY, type SealedEntry } from '../../ipld/nodes.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import { type InstanceEntry, sealInstanceEntry } from '../objects/entry.ts';
import { Placement } from './placement.ts';

export interface NodeParts {
  study: StudySecrets;
  /** The sealed object's root. */
  object: Cid;
  /** Its key, wrapped. */
  wrappedKey: Uint8Array;
  facts: InstanceEntry;
}

/**
 * Makes an instance's node. An entry too large for a block is placed as a sealed object of its own; `written` resolves when
 * the operating system has that.
 */
export function createNode(
  parts: NodeParts,
  blocks: BlockStore,
): { cid: Cid; bytes: Uint8Array; written: Promise<void> } {
  const { study, object, wrappedKey, facts } = parts;
  const { plain, sealed } = sealInstanceEntry(study, object, facts);
  let entry: SealedEntry;
  let written = Promise.resolve();
  if (plain.length + ENTRY_OVERHEAD <= MAX_INLINE_ENTRY) {
    entry = { entry: sealed() };
  } else {
    const placement = new Placement(blocks);
    // The header is bounded (16 MiB), so the disk need not be waited for between its leaves.
    void placement.push(plain)?.catch(() => undefined);
    placement.finish();
    const placed = placement.place();
    written = placed.written;
    entry = {
      entry: placed.root,
      entryKey: wrapKey(study.wrappingKey, placement.key),
      entrySize: sealedSize(plain.length),
    };
  }
  const node = { study: study.reference, object, size: sealedSize(facts.size), key: wrappedKey, ...entry };
  const bytes = encodeInstanceNode(node);
  return { cid: cidOf(DAG_CBOR, bytes), bytes, written };
}
