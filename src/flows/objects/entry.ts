import { unwrapKey } from '../../crypto/key-wrap.ts';
import { openEntry, sealEntry } from '../../crypto/sealed-entry.ts';
import { openedSize } from '../../crypto/sealed-stream.ts';
import type { StudySecrets } from '../../crypto/study-key.ts';
import type { BulkValue, FrameTable } from '../../dicom/model.ts';
import type { Cid } from '../../ipld/cid.ts';
import { decodeEntry, type Entry, encodeEntry } from '../../ipld/entry.ts';
import type { InstanceNode } from '../../ipld/nodes.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import { openObject } from './sealed-object.ts';

/** What an instance node's entry says of its instance. */
export type InstanceEntry = Entry<FrameTable, Record<string, BulkValue>>;

/** Encodes an entry and seals it under the study key, bound to its object. */
export function sealInstanceEntry(
  study: StudySecrets,
  object: Cid,
  entry: InstanceEntry,
): { plain: Uint8Array; sealed(): Buffer } {
  const plain = encodeEntry(entry);
  return { plain, sealed: () => sealEntry(study.entryKey, plain, object.bytes) };
}

/** Opens the entry of an instance node. @throws DagpacsError `block-damaged`, `block-missing` */
export async function openInstanceEntry(
  study: StudySecrets,
  node: InstanceNode,
  blocks: BlockStore,
): Promise<InstanceEntry> {
  if (!('entryKey' in node)) return decodeEntry(openEntry(study.entryKey, node.entry, node.object.bytes));
  const key = unwrapKey(study.wrappingKey, node.entryKey);
  const opener = await openObject(key, node.entry, openedSize(node.entrySize), blocks);
  const chunks: Uint8Array[] = [];
  for await (const chunk of opener.range()) chunks.push(chunk);
  return decodeEntry(Buffer.concat(chunks));
}
