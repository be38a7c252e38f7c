import { type Cid, DAG_PB, matchesCid, RAW } from '../../ipld/cid.ts';
import { readLinks } from '../../ipld/leaves.ts';
import { decodeInstanceNode } from '../../ipld/nodes.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { Block, BlockStore } from '../../ports/blocks.ts';
import type { Batch, Index, Scanned } from '../../ports/index.ts';
import type { Hex } from '../../ports/ledger.ts';
import type { Swarm, SwarmNode } from '../../ports/swarm.ts';
import { noteProblem, type ScrubReport } from '../objects/scrub-report.ts';
import { leftOf, pinLeft } from '../objects/unpin.ts';
import { wholeBlock } from '../objects/whole-block.ts';

export interface ScrubBlocksModules {
  blocks: BlockStore;
  index: Index;
  swarm: Swarm;
  /** Told of bytes that were read. */
  pace(bytes: number): Promise<void>;
}

type Held = Awaited<ReturnType<SwarmNode['check']>>;

/** Where a batch lies in the swarm. */
interface Replica {
  batch: Hex | undefined;
  /** The nodes that confirmed it and can be asked now. */
  holders: readonly SwarmNode[];
  /** Whether any node confirmed it, though it cannot be asked now. */
  isConfirmed: boolean;
}

/** A leaf has at most so many bytes. */
const LEAF_BYTES = 1 << 20;

/** Looks at blocks, here and on the swarm's nodes, and puts right what it can. */
export class BlockScrubber {
  readonly #modules: ScrubBlocksModules;
  readonly #report: ScrubReport;

  constructor(modules: ScrubBlocksModules, report: ScrubReport) {
    this.#modules = modules;
    this.#report = report;
  }

  /** All blocks of a version. */
  async version({ node, object, batch, confirmedBy }: Scanned): Promise<void> {
    const replica = { batch, holders: this.holders(confirmedBy), isConfirmed: confirmedBy.length > 0 };
    const bytes = await this.block(node, replica);
    await this.#object(object, replica);
    if (!bytes) return;
    const decoded = decodeInstanceNode(bytes);
    if ('entryKey' in decoded) await this.#object(decoded.entry, replica);
  }

  async #object(cid: Cid, replica: Replica): Promise<void> {
    const bytes = await this.block(cid, replica);
    if (!bytes || cid.code !== DAG_PB) return;
    for (const link of readLinks(bytes)) await this.#object(link.cid, replica);
  }

  /** The nodes that said that they hold something, and can be asked now. */
  holders(identities: readonly string[]): SwarmNode[] {
    return this.#modules.swarm.nodes.filter((node) => {
      const { state, node: identity } = node.status();
      return state === 'connected' && identity !== undefined && identities.includes(identity);
    });
  }

  /** One block, here and with its holders. @returns its bytes; undefined where they are not here */
  async block(cid: Cid, { batch, holders, isConfirmed }: Replica): Promise<Uint8Array | undefined> {
    const { blocks, pace } = this.#modules;
    const held: Record<Held, SwarmNode[]> = { whole: [], missing: [], damaged: [] };
    for (const holder of holders) {
      const state = await this.#ask(holder, cid);
      if (state !== undefined) held[state].push(holder);
    }
    let bytes: Uint8Array | undefined;
    // A leaf may have been dropped where the swarm has it: to fetch it for this would undo that.
    const mayBeDropped = cid.code === RAW && isConfirmed && blocks.thinned() && !blocks.has(cid);
    const isUnanswered = held.missing.length + held.damaged.length === 0;
    const isDropped = mayBeDropped && (held.whole.length > 0 || isUnanswered);
    if (isDropped) this.#report.evicted += 1;
    else bytes = await this.#local(cid);
    await pace((bytes?.length ?? 0) + held.whole.length * (bytes?.length ?? LEAF_BYTES));
    // What nobody could give a moment ago is not asked for again.
    const source = isDropped ? () => wholeBlock(cid, blocks) : async () => bytes;
    for (const holder of held.missing) await this.#give(holder, 'missing', cid, source);
    for (const holder of held.damaged) {
      await this.#give(
        holder,
        'damaged',
        cid,
        source,
        batch === undefined ? undefined : this.#modules.index.batch(batch),
      );
    }
    return bytes;
  }

  async #local(cid: Cid): Promise<Uint8Array | undefined> {
    const { blocks } = this.#modules;
    const report = this.#report;
    try {
      const bytes = await blocks.read(cid);
      if (matchesCid(cid, bytes)) {
        report.blocks += 1;
        report.bytes += bytes.length;
        return bytes;
      }
    } catch (error) {
      if (!isDagpacsError(error)) throw error;
    }
    try {
      const bytes = await blocks.mend(cid);
      report.repaired += 1;
      return bytes;
    } catch (error) {
      if (!isDagpacsError(error)) throw error;
      const problem = error.code === 'block-missing' ? 'missing' : 'damaged';
      report[problem] += 1;
      noteProblem(report, { cid: cid.toString(), where: 'local', problem });
      return undefined;
    }
  }

  async #ask(holder: SwarmNode, cid: Cid): Promise<Held | undefined> {
    try {
      const held = await holder.check(cid);
      this.#report.remote.checked += 1;
      return held;
    } catch (error) {
      if (!isDagpacsError(error, 'swarm-unavailable')) throw error;
      this.#report.remote.unreachable += 1;
      return undefined;
    }
  }

  /** Gives a node a block that it should hold. */
  async #give(
    holder: SwarmNode,
    problem: 'missing' | 'damaged',
    cid: Cid,
    source: () => Promise<Uint8Array | undefined>,
    batch?: Batch,
  ): Promise<void> {
    const { remote } = this.#report;
    try {
      const bytes = await source();
      if (bytes && problem === 'damaged') await this.#replace(holder, { cid, bytes }, batch);
      else if (bytes) await holder.put(one({ cid, bytes }));
      if (bytes && (await holder.check(cid)) === 'whole') {
        remote.restored += 1;
        return;
      }
    } catch (error) {
      if (!isDagpacsError(error)) throw error;
    }
    remote[problem] += 1;
    noteProblem(this.#report, { cid: cid.toString(), where: holder.name, problem });
  }

  /**
   * A node deletes only what no pin holds, and what is uploaded does not replace what is there. Should this end in between, or
   * another block of the batch be damaged too, the pin is found lost at the end of the pass or when the node is connected to.
   */
  async #replace(holder: SwarmNode, block: Block, batch: Batch | undefined): Promise<void> {
    const left = batch && leftOf(batch, this.#modules.index);
    if (batch) await holder.unpin(batch.record);
    for (const { node } of left ?? []) await holder.unpin(node);
    await holder.drop(block.cid);
    await holder.put(one(block));
    if (!batch) return;
    try {
      if (left) await pinLeft(holder, batch, left);
      else await holder.pin(batch.record);
    } catch (error) {
      if (!isDagpacsError(error, 'swarm-unavailable')) throw error;
    }
  }
}

async function* one<T>(value: T): AsyncGenerator<T> {
  yield value;
}
