import { zstdDecompressSync } from 'node:zlib';
import { studyReference } from '../../crypto/study-key.ts';
import type { DicomJson } from '../../dicom/model.ts';
import { type Cid, DAG_PB } from '../../ipld/cid.ts';
import {
  decodeErasure,
  decodeInstanceNode,
  decodeRecord,
  ERASURE_TYPE,
  INSTANCE_TYPE,
  nodeType,
  RECORD_TYPE,
} from '../../ipld/nodes.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Block, BlockStore, Position } from '../../ports/blocks.ts';
import type { Addition, Index } from '../../ports/index.ts';
import type { Vault } from '../../ports/vault.ts';
import { toBatch, toHex } from '../objects/batch.ts';
import { openInstanceEntry } from '../objects/entry.ts';
import { walkObject } from '../objects/sealed-object.ts';
import { secretsOf } from '../objects/secrets.ts';

export interface CatchUpModules {
  blocks: BlockStore;
  vault: Vault;
  index: Index;
  log: Log;
  /** Told of each instance node or record that is passed over, beside the log. */
  passedOver?(cid: Cid, reason: string): void;
}

/** Versions that one index transaction takes. */
const GROUP = 256;

/**
 * Brings the index to the end of the log: what was committed but not indexed before a crash or a failure of the index, or
 * all of it where the index is new. What cannot be opened or is not whole is counted and reported, never silently left out.
 * @returns how many nodes were read, and how many were passed over
 */
export async function catchUp(modules: CatchUpModules): Promise<{ nodes: number; passedOver: number }> {
  const { blocks, index, log } = modules;
  const keys = new KeysByReference(modules.vault);
  const done = { nodes: 0, passedOver: 0 };
  let group: Addition[] = [];
  let erased: Set<string> | undefined;
  const flush = async () => {
    if (group.length > 0) await index.add(group);
    group = [];
  };
  // Only what is durable, or the index could be ahead of the log after a power cut.
  const end = blocks.position();
  await blocks.commit();
  for await (const block of blocks.replay(index.cursor(), end)) {
    const type = nodeType(block.bytes);
    try {
      if (type === INSTANCE_TYPE) {
        group.push({ ...(await additionOf(block, keys, blocks)), next: block.next });
        if (group.length >= GROUP) await flush();
      } else if (type === RECORD_TYPE) {
        await flush();
        await addRecord(block, index);
      }
      done.nodes += 1;
    } catch (error) {
      if (!isDagpacsError(error) || error.code === 'storage-failed') throw error;
      if (type === INSTANCE_TYPE && error.code === 'not-found') {
        erased ??= await erasedIn(blocks);
        if (erased.has(toHex(decodeInstanceNode(block.bytes).study))) continue;
      }
      done.passedOver += 1;
      modules.passedOver?.(block.cid, error.message);
      log.warn('log-entry-passed-over', { code: error.code, reason: error.message });
    }
  }
  await flush();
  return done;
}

/** References of the studies that the log says were erased: their nodes are left out by intent. */
export async function erasedIn(blocks: BlockStore): Promise<Set<string>> {
  const erased = new Set<string>();
  for await (const { bytes } of blocks.replay({ pack: 0, offset: 0 }, blocks.position())) {
    if (nodeType(bytes) === ERASURE_TYPE) erased.add(toHex(decodeErasure(bytes).study));
  }
  return erased;
}

/** What an instance node says of its instance. @throws DagpacsError `not-found` (no key), `block-missing`, `block-damaged` */
export async function additionOf(
  { cid, bytes }: Block,
  keys: KeysByReference,
  blocks: BlockStore,
): Promise<Omit<Addition, 'next'>> {
  const node = decodeInstanceNode(bytes);
  const entry = await openInstanceEntry(secretsOf(await keys.find(node.study)), node, blocks);
  // A node may be whole whose object is not, where a disk filled up between them: it was never answered with success.
  // What was dropped here because the swarm holds it had been whole before.
  const allHere = !blocks.thinned();
  for await (const block of walkObject(node.object, blocks)) {
    // What is here is not read, which would cost more than all the rest.
    if (allHere && block.cid.code !== DAG_PB && !blocks.has(block.cid)) await blocks.read(block.cid, 0, 0);
  }
  const dataset = JSON.parse(zstdDecompressSync(entry.header).toString()) as DicomJson;
  return { ...entry, dataset, node: cid, object: node.object, wrappedKey: node.key };
}

async function addRecord({ cid, bytes, next }: Block & { next: Position }, index: Index): Promise<void> {
  const record = decodeRecord(bytes);
  const { studies, ...batch } = toBatch(cid, record);
  await index.addBatch(batch, record.leaves, studies, next);
}

/** Finds study keys by reference; the vault is read through once, and only where there is something to catch up. */
export class KeysByReference {
  readonly #vault: Vault;
  #keys: Map<string, Uint8Array> | undefined;

  constructor(vault: Vault) {
    this.#vault = vault;
  }

  /** @throws DagpacsError `not-found` */
  async find(reference: Uint8Array): Promise<Uint8Array> {
    if (!this.#keys) {
      this.#keys = new Map();
      for await (const key of this.#vault.all()) this.#keys.set(studyReference(key).toString('hex'), key);
    }
    const key = this.#keys.get(Buffer.from(reference).toString('hex'));
    if (!key) throw new DagpacsError('not-found', 'the study key of an instance node is not in the vault');
    return key;
  }
}
