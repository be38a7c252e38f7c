import { createHash } from 'node:crypto';
import { unwrapKey } from '../../crypto/key-wrap.ts';
import { type Cid, cidFromDigest, DAG_CBOR, DAG_PB, matchesCid } from '../../ipld/cid.ts';
import { readLinks } from '../../ipld/leaves.ts';
import { decodeInstanceNode, type InstanceNode } from '../../ipld/nodes.ts';
import { decodeStudy, type StudyNode } from '../../ipld/study-node.ts';
import { DagpacsError, type ErrorCode, isDagpacsError } from '../../kernel/errors.ts';
import type { OneAtATime } from '../../kernel/one-at-a-time.ts';
import type { Archive } from '../../ports/archive.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Addition, Index } from '../../ports/index.ts';
import type { Vault } from '../../ports/vault.ts';
import { toHex } from '../objects/batch.ts';
import { type InstanceEntry, openInstanceEntry } from '../objects/entry.ts';
import { openObject } from '../objects/sealed-object.ts';
import { secretsOf } from '../objects/secrets.ts';
import { additionOf, KeysByReference } from './catch-up.ts';

export interface CarImportModules {
  /** The CAR file. */
  archive: Archive;
  blocks: BlockStore;
  index: Index;
  vault: Vault;
  /** Held while a version is taken: blocks of it that lie here, and to which nothing leads yet, are not to be deleted then. */
  turns: OneAtATime;
  /** Appends an instance node behind its blocks and indexes its version. */
  addVersion(node: { cid: Cid; bytes: Uint8Array }, addition: Omit<Addition, 'next'>): Promise<void>;
}

/** Something of the CAR that is not as it should be. */
export interface CarFault {
  /** Its CID. */
  cid: string;
  reason: string;
}

/** How far an import is. */
export interface CarImport {
  versions: number;
  /** Versions that the CAR's root names. */
  ofVersions: number;
  /** Versions that were not held before. */
  added: number;
  /** Blocks that were held as they should be, that were damaged or missing here and are put right, and that are new. */
  held: number;
  repaired: number;
  stored: number;
  /** Blocks and versions that could not be had or taken, and the first of them. */
  failed: number;
  faults: CarFault[];
}

/** What is wrong with one version, and no reason to end. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['not-found', 'block-missing', 'block-damaged']);
/** Faults that are told one by one. */
const MAX_FAULTS = 1000;
/** Versions between two reports. */
const REPORT_EVERY = 16;

/**
 * Takes a study's CAR: every block is checked against its CID before it is stored. What is held as it should be is not
 * written again, so that an import can be repeated; what is missing or damaged here is put right. A version that is new is
 * taken where its study's key is in the vault and nothing newer is held under its UID.
 * @returns after every few versions and at the end, how it stands
 * @throws DagpacsError `invalid-parameter` where `root` is no study node, `storage-failed`
 */
export async function* importStudy(root: Cid | undefined, modules: CarImportModules): AsyncGenerator<CarImport> {
  const done: CarImport = {
    versions: 0,
    ofVersions: 0,
    added: 0,
    held: 0,
    repaired: 0,
    stored: 0,
    failed: 0,
    faults: [],
  };
  const importer = new Importer(modules, done);
  const parts: StudyNode[] = [];
  for (let next: Cid | null | undefined = root; next; next = parts.at(-1)?.next) parts.push(await importer.part(next));
  if (parts.length === 0) throw noStudy('it names no root');
  done.ofVersions = parts.reduce((sum, { instances }) => sum + instances.length, 0);
  for (const { instances, records } of parts) {
    for (const node of instances) {
      await modules.turns(() => importer.version(node));
      done.versions += 1;
      if (done.versions % REPORT_EVERY === 0) yield done;
    }
    for (const record of records) await importer.record(record);
  }
  await modules.blocks.commit();
  yield done;
}

function noStudy(reason: string, cause?: unknown): DagpacsError {
  const subject = { attribute: 'CAR', rule: "must be a study's CAR file" };
  return new DagpacsError('invalid-parameter', `the CAR file cannot be used: ${reason}`, subject, { cause });
}

/** SHA-256 of an instance's bytes. @throws DagpacsError `block-damaged` where they cannot be opened */
async function digestOf(
  key: Uint8Array,
  { object, size }: Pick<Addition, 'object' | 'size'>,
  blocks: BlockStore,
): Promise<Buffer> {
  const digest = createHash('sha256');
  for await (const chunk of (await openObject(key, object, size, blocks)).range()) digest.update(chunk);
  return digest.digest();
}

class Importer {
  readonly #modules: CarImportModules;
  readonly #done: CarImport;
  readonly #keys: KeysByReference;

  constructor(modules: CarImportModules, done: CarImport) {
    this.#modules = modules;
    this.#done = done;
    this.#keys = new KeysByReference(modules.vault);
  }

  async part(cid: Cid): Promise<StudyNode> {
    const bytes = await this.#modules.archive.get(cid);
    if (!bytes || !matchesCid(cid, bytes)) throw noStudy(bytes ? 'its root is damaged' : 'its root is missing');
    try {
      return decodeStudy(bytes);
    } catch (cause) {
      throw noStudy('its root is no study node', cause);
    }
  }

  async version(cid: Cid): Promise<void> {
    const { blocks, index } = this.#modules;
    const [known] = index.knownNodes([cid]);
    const bytes = await this.#find(cid);
    if (!bytes) return;
    const node = decodeInstanceNode(bytes);
    if (known !== undefined) {
      await this.#blocksOf(node);
      await this.#put(cid, bytes);
      return;
    }
    try {
      const study = secretsOf(await this.#keys.find(node.study));
      if ('entryKey' in node && !(await this.#object(node.entry))) return;
      if (!this.#isWelcome(cid, await openInstanceEntry(study, node, blocks))) return;
      if (!(await this.#object(node.object))) return;
      const addition = await additionOf({ cid, bytes }, this.#keys, blocks);
      // Anyone can write a node: only the bytes themselves say that it is one of ours, whole.
      const digest = await digestOf(unwrapKey(study.wrappingKey, node.key), addition, blocks);
      if (!digest.equals(addition.sha256))
        throw new DagpacsError('block-damaged', 'its bytes are not those of its entry');
      await this.#modules.addVersion({ cid, bytes }, addition);
      this.#done.stored += 1;
      this.#done.added += 1;
    } catch (error) {
      if (!isDagpacsError(error) || !REFUSALS.has(error.code)) throw error;
      this.#fault(cid, error.message);
    }
  }

  async #blocksOf(node: InstanceNode): Promise<void> {
    if ('entryKey' in node) await this.#object(node.entry);
    await this.#object(node.object);
  }

  /** A record is put right where its batch is known; batches of a lost index are a rebuild's business. */
  async record(raw: Cid): Promise<void> {
    const batch = this.#modules.index.batch(toHex(raw.multihash.digest));
    if (!batch) return;
    const cid = cidFromDigest(DAG_CBOR, raw.multihash.digest);
    if (await this.#isHeld(cid)) {
      this.#done.held += 1;
      return;
    }
    const bytes = await this.#modules.archive.get(raw);
    if (bytes && matchesCid(cid, bytes)) await this.#put(cid, bytes);
    else this.#fault(raw, bytes ? 'the record is damaged in the CAR' : 'the record is not in the CAR');
  }

  /** Whether it may become the current version; the same bytes that came here by another way are held already. */
  #isWelcome(cid: Cid, { sopInstanceUID, studyInstanceUID, receivedAt, sha256 }: InstanceEntry): boolean {
    const versions = this.#modules.index.versions(sopInstanceUID).map(({ version }) => version);
    const newest = versions.at(-1);
    if (!newest) return true;
    if (versions.some((version) => Buffer.from(sha256).equals(version.sha256))) return false;
    if (newest.studyInstanceUID !== studyInstanceUID) this.#fault(cid, 'its instance is held in another study');
    else if (newest.receivedAt > receivedAt) this.#fault(cid, 'a newer version of its instance is held');
    else return true;
    return false;
  }

  /** A sealed object, from its root down. @returns whether it is all here now */
  async #object(cid: Cid): Promise<boolean> {
    const bytes = await this.#find(cid);
    if (!bytes) return false;
    let whole = true;
    if (cid.code === DAG_PB) for (const link of readLinks(bytes)) whole = (await this.#object(link.cid)) && whole;
    await this.#put(cid, bytes);
    return whole;
  }

  /** A block as it should be, from here or from the CAR; undefined, and told, where neither has it. */
  async #find(cid: Cid): Promise<Uint8Array | undefined> {
    const here = await this.#local(cid);
    if (here) return here;
    const bytes = await this.#modules.archive.get(cid);
    if (bytes && matchesCid(cid, bytes)) return bytes;
    this.#fault(cid, bytes ? 'the block is damaged in the CAR' : 'the block is not in the CAR');
    return undefined;
  }

  async #put(cid: Cid, bytes: Uint8Array): Promise<void> {
    const { blocks } = this.#modules;
    if (await this.#isHeld(cid)) this.#done.held += 1;
    else if (blocks.has(cid)) {
      await blocks.restore(cid, bytes, 'only');
      this.#done.repaired += 1;
    } else {
      await blocks.append(cid, [bytes]);
      this.#done.stored += 1;
    }
  }

  async #isHeld(cid: Cid): Promise<boolean> {
    return (await this.#local(cid)) !== undefined;
  }

  /** The last block that was looked at: it is asked for twice in a row. */
  #last: { cid: Cid; bytes: Uint8Array } | undefined;

  async #local(cid: Cid): Promise<Uint8Array | undefined> {
    const { blocks } = this.#modules;
    if (this.#last?.cid === cid) return this.#last.bytes;
    if (!blocks.has(cid)) return undefined;
    try {
      const bytes = await blocks.read(cid);
      if (!matchesCid(cid, bytes)) return undefined;
      this.#last = { cid, bytes };
      return bytes;
    } catch (error) {
      // A pack that is gone or cut short: as if it were not here.
      if (!isDagpacsError(error, 'block-missing') && !isDagpacsError(error, 'storage-failed')) throw error;
      return undefined;
    }
  }

  #fault(cid: Cid, reason: string): void {
    this.#done.failed += 1;
    if (this.#done.faults.length < MAX_FAULTS) this.#done.faults.push({ cid: cid.toString(), reason });
  }
}
