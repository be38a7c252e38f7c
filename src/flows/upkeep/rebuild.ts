import { merkleRoot } from '../../crypto/merkle.ts';
import { type Cid, cidFromDigest, DAG_CBOR, DAG_PB, matchesCid } from '../../ipld/cid.ts';
import { readLinks } from '../../ipld/leaves.ts';
import { decodeInstanceNode, decodeRecord, INSTANCE_TYPE, nodeType, type RecordNode } from '../../ipld/nodes.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Archive } from '../../ports/archive.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Index } from '../../ports/index.ts';
import type { Anchor, Anchored, Hex, Ledger } from '../../ports/ledger.ts';
import type { Vault } from '../../ports/vault.ts';
import { fromHex, toHex } from '../objects/batch.ts';
import { rememberChain } from '../objects/chain-identity.ts';
import { leftOf } from '../objects/unpin.ts';
import { catchUp } from './catch-up.ts';

export interface RebuildModules {
  archive: Archive;
  blocks: BlockStore;
  vault: Vault;
  index: Index;
  ledger: Ledger;
  log: Log;
  /** Nodes that must hold a batch for it to be replicated. */
  copies: number;
  /** Leave the pixels where they are: the swarm gives them when they are asked for. */
  lazy?: boolean;
  /** Told of everything that is not as it was. */
  gap(gap: Gap): void;
  /** Told after each batch. */
  progress(done: Progress): void;
}

/** Something that the chain says was there and that could not be had again. */
export interface Gap {
  /** The batch's sequence; absent for what is in no anchored batch. */
  batch?: number;
  /** Its CID: a record, an instance node, or a block of a sealed object. */
  cid: string;
  /** The study's reference, where it is known. */
  reference?: string;
  reason: string;
}

export interface Progress {
  batches: number;
  ofBatches: number;
  instances: number;
}

export interface Rebuilt extends Progress {
  /** Instances that are in the archive and in no anchored batch: they are anchored anew. */
  unanchored: number;
  gaps: number;
}

/** Anchors that one index transaction takes. */
const GROUP = 500;
/** Nodes that are asked for at once where they are fetched one by one. */
const AHEAD = 32;
/** Bytes on their way to the log at one time. */
const MAX_WRITING_BYTES = 8 << 20;
/** Bytes that a power cut may have to be fetched again for. */
const MAX_UNSYNCED_BYTES = 64 << 20;

interface Found {
  bytes: Uint8Array;
  held: boolean;
}

type ChainAnchor = { anchor: Omit<Anchor, 'studies'>; anchored: Anchored };

/**
 * Makes an archive anew from the chain, the blocks and the vault. Batch by batch in the order of the chain, the blocks of
 * its instances and then its record are appended to the local log; the index follows from the log, as after any crash.
 * What is held already is not fetched again, so that a rebuild that was interrupted goes on where it was.
 * @throws DagpacsError `chain-unavailable`, `chain-mismatch`, `swarm-unavailable`, `storage-failed`
 */
export async function rebuild(modules: RebuildModules): Promise<Rebuilt> {
  const { archive, blocks, index, ledger } = modules;
  const rebuilt: Rebuilt = { batches: 0, ofBatches: 0, instances: 0, unanchored: 0, gaps: 0 };
  const gap = (found: Gap) => {
    rebuilt.gaps += 1;
    modules.gap(found);
  };
  if (modules.lazy) await blocks.leaveOut();
  const copier = new Copier(archive, blocks, gap, modules.lazy);
  const anchors: ChainAnchor[] = [];
  rebuilt.ofBatches = (await ledger.next()).sequence;
  for await (const found of ledger.anchors()) {
    const { sequence } = found.anchor;
    if (sequence !== anchors.length) throw leftOut(anchors.length);
    anchors.push(found);
    rebuilt.instances += await copier.batch(found.anchor);
    rebuilt.batches += 1;
    modules.progress(rebuilt);
  }
  // A node that has dropped old events, or is behind another that answered before.
  if (anchors.length < rebuilt.ofBatches) throw leftOut(anchors.length);
  for (const cid of archive.others?.() ?? []) {
    if (!blocks.has(cid) && (await copier.loneInstance(cid))) rebuilt.unanchored += 1;
  }
  await blocks.commit();

  await catchUp({
    ...modules,
    passedOver: (cid, reason) => gap({ cid: cid.toString(), ...copier.whatIs(cid), reason }),
  });
  rememberChain(index, await ledger.status());
  for (let at = 0; at < anchors.length; at += GROUP) {
    const group = anchors.slice(at, at + GROUP);
    index.setAllAnchored(group.map(({ anchor, anchored }) => ({ id: anchor.batch, anchored })));
  }
  if (archive.pin) await pinAll(anchors, modules);
  return rebuilt;
}

function leftOut(sequence: number): DagpacsError {
  return new DagpacsError('chain-unavailable', `the node leaves out anchor ${sequence}`);
}

/** What the archive goes on to hold need not be replicated again. */
async function pinAll(anchors: ChainAnchor[], { archive, index, copies }: RebuildModules): Promise<void> {
  for (const { anchor } of anchors) {
    const batch = index.batch(anchor.batch);
    // What is not whole here is not whole there: the outbox pins what is left of it.
    if (!batch || batch.replicatedAt !== undefined || leftOf(batch, index)) continue;
    try {
      const nodes = (await archive.pin?.(batch.record)) ?? [];
      const at = new Date().toISOString();
      for (const node of nodes) index.confirm(batch.id, { node, at }, copies);
    } catch (error) {
      // Not whole there: the outbox brings it what we have.
      if (!isDagpacsError(error, 'swarm-unavailable')) throw error;
    }
  }
}

/** Copies blocks from the archive to the end of the log, what is linked before what links it. */
class Copier {
  readonly #archive: Archive;
  readonly #blocks: BlockStore;
  readonly #gap: (gap: Gap) => void;
  /** Batch and study of each instance node that was copied, for what is found out later. */
  readonly #copied = new Map<string, { batch?: number; reference: string }>();
  /** Blocks on their way to the log, by CID. */
  #writing = new Map<string, Promise<unknown>>();
  #writingBytes = 0;
  #ahead = new Map<string, Promise<Uint8Array | undefined>>();
  #unsyncedBytes = 0;

  readonly #lazy: boolean;
  /** What was left out or dropped before is wanted now. */
  readonly #fills: boolean;

  constructor(archive: Archive, blocks: BlockStore, gap: (gap: Gap) => void, lazy = false) {
    this.#lazy = lazy;
    this.#fills = !lazy && blocks.thinned();
    this.#archive = archive;
    this.#blocks = blocks;
    this.#gap = gap;
  }

  whatIs(node: Cid): { batch?: number; reference?: string } {
    return this.#copied.get(node.toString()) ?? {};
  }

  /** @returns how many of its instance nodes are held now */
  async batch(anchor: Omit<Anchor, 'studies'>): Promise<number> {
    const cid = cidFromDigest(DAG_CBOR, fromHex(anchor.batch));
    const { sequence: batch } = anchor;
    if (!this.#blocks.has(cid) && !this.#lazy) this.#archive.follow(cid);
    const found = await this.#get(cid, { batch });
    const record = found && this.#recordOf(cid, found.bytes, anchor);
    if (!found || !record) return 0;
    let nodes = 0;
    for (const [i, leaf] of record.leaves.entries()) {
      if (this.#lazy && i % AHEAD === 0) this.#fetchAhead(record.leaves.slice(i, i + AHEAD));
      if (await this.#instance(leaf, batch)) nodes += 1;
    }
    await this.#keep(cid, found);
    await this.#written();
    if (this.#unsyncedBytes > MAX_UNSYNCED_BYTES) {
      await this.#blocks.commit();
      this.#unsyncedBytes = 0;
    }
    return nodes;
  }

  /** Copies an instance that no anchored batch has. @returns whether it is one and is held now */
  async loneInstance(cid: Cid): Promise<boolean> {
    const bytes = await this.#archive.get(cid);
    // A damaged block or a record that never got onto the chain: what it would link comes by itself.
    if (!bytes || !matchesCid(cid, bytes) || nodeType(bytes) !== INSTANCE_TYPE) return false;
    const kept = await this.#instance(cid);
    await this.#written();
    return kept;
  }

  #recordOf(cid: Cid, bytes: Uint8Array, anchor: Omit<Anchor, 'studies'>): RecordNode | undefined {
    const record = decodeRecord(bytes);
    const same =
      record.sequence === anchor.sequence &&
      record.leaves.length === anchor.count &&
      toHex(record.merkleRoot) === anchor.merkleRoot &&
      toHex(record.previousRoot) === anchor.previousRoot &&
      toHex(merkleRoot(record.hashes)) === anchor.merkleRoot;
    if (same) return record;
    this.#gap({ batch: anchor.sequence, cid: cid.toString(), reason: 'the record is not what its anchor says' });
    return undefined;
  }

  async #instance(cid: Cid, batch?: number): Promise<boolean> {
    const where = batch === undefined ? {} : { batch };
    const found = await this.#get(cid, where);
    if (!found) return false;
    const node = decodeInstanceNode(found.bytes);
    const reference: Hex = toHex(node.study);
    this.#copied.set(cid.toString(), { ...where, reference });
    if (found.held && !this.#fills) return true;
    // In the order of a depth-first walk, which is that of an export.
    if ('entryKey' in node) await this.#object(node.entry, { ...where, reference });
    await this.#object(node.object, { ...where, reference }, this.#lazy);
    await this.#keep(cid, found);
    return true;
  }

  /** Asks for nodes at once that are needed one after the other. */
  #fetchAhead(nodes: readonly Cid[]): void {
    this.#ahead = new Map(
      nodes.filter((cid) => !this.#blocks.has(cid)).map((cid) => [cid.toString(), this.#archive.get(cid)]),
    );
    // Whoever takes one hears of its failure.
    for (const asked of this.#ahead.values()) asked.catch(() => undefined);
  }

  /** `treeOnly`: without the leaves. */
  async #object(cid: Cid, where: { batch?: number; reference: string }, treeOnly = false): Promise<void> {
    if (treeOnly && cid.code !== DAG_PB) return;
    const found = await this.#get(cid, where);
    if (!found) return;
    if (cid.code === DAG_PB) for (const link of readLinks(found.bytes)) await this.#object(link.cid, where, treeOnly);
    await this.#keep(cid, found);
  }

  /** Appends a block that the log does not hold, without waiting for it. @throws DagpacsError `storage-failed` */
  async #keep(cid: Cid, { bytes, held }: Found): Promise<void> {
    if (held) return;
    const written = this.#blocks.append(cid, [bytes]);
    // Whoever waits for all of them hears of it.
    written.catch(() => undefined);
    this.#writing.set(cid.toString(), written);
    this.#writingBytes += bytes.length;
    this.#unsyncedBytes += bytes.length;
    if (this.#writingBytes > MAX_WRITING_BYTES) await this.#written();
  }

  /** Waits until all that is on its way is in the log. */
  async #written(): Promise<void> {
    await Promise.all(this.#writing.values());
    this.#writing.clear();
    this.#writingBytes = 0;
  }

  /** A block from here or from the archive, checked against its CID, and whether the log holds one under it. */
  async #get(cid: Cid, where: { batch?: number; reference?: string }): Promise<Found | undefined> {
    if (this.#writing.has(cid.toString())) await this.#written();
    const held = this.#blocks.has(cid);
    const here = held ? await this.#blocks.read(cid) : undefined;
    if (here && matchesCid(cid, here)) return { bytes: here, held };
    const bytes = await (this.#ahead.get(cid.toString()) ?? this.#archive.get(cid));
    if (bytes && matchesCid(cid, bytes)) return { bytes, held };
    const reason = bytes ? 'the block is damaged in the archive' : 'the block is not in the archive';
    this.#gap({ ...where, cid: cid.toString(), reason });
    return undefined;
  }
}
