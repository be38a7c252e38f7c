import { type Cid, DAG_PB, matchesCid, RAW } from '../../ipld/cid.ts';
import { readLinks } from '../../ipld/leaves.ts';
import { decodeInstanceNode } from '../../ipld/nodes.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Scanned } from '../../ports/index.ts';
import type { Swarm, SwarmNode } from '../../ports/swarm.ts';
import { noteProblem, type ScrubReport } from '../objects/scrub-report.ts';
import { wholeBlock } from '../objects/whole-block.ts';

export interface ScrubBlocksModules {
  blocks: BlockStore;
  swarm: Swarm;
  /** Told of bytes that were read. */
  pace(bytes: number): Promise<void>;
}

/** Looks at blocks, here and on the swarm's nodes, and puts right what it can. */
export class BlockScrubber {
  readonly #modules: ScrubBlocksModules;
  readonly #report: ScrubReport;

  constructor(modules: ScrubBlocksModules, report: ScrubReport) {
    this.#modules = modules;
    this.#report = report;
  }

  /** All blocks of a version. */
  async version({ node, object, confirmedBy }: Scanned): Promise<void> {
    const holders = this.holders(confirmedBy);
    const bytes = await this.block(node, holders, confirmedBy.length > 0);
    await this.#object(object, holders, confirmedBy.length > 0);
    if (!bytes) return;
    const decoded = decodeInstanceNode(bytes);
    if ('entryKey' in decoded) await this.#object(decoded.entry, holders, confirmedBy.length > 0);
  }

  async #object(cid: Cid, holders: readonly SwarmNode[], isReplicated: boolean): Promise<void> {
    const bytes = await this.block(cid, holders, isReplicated);
    if (!bytes || cid.code !== DAG_PB) return;
    for (const link of readLinks(bytes)) await this.#object(link.cid, holders, isReplicated);
  }

  /** The nodes that said that they hold something, and can be asked now. */
  holders(identities: readonly string[]): SwarmNode[] {
    return this.#modules.swarm.nodes.filter((node) => {
      const { state, node: identity } = node.status();
      return state === 'connected' && identity !== undefined && identities.includes(identity);
    });
  }

  /** One block, here and with its holders. @returns its bytes; undefined where they are not here */
  async block(cid: Cid, holders: readonly SwarmNode[], isReplicated: boolean): Promise<Uint8Array | undefined> {
    const { blocks, pace } = this.#modules;
    const present: SwarmNode[] = [];
    const lacking: SwarmNode[] = [];
    for (const holder of holders) {
      const held = await this.#ask(holder, cid);
      if (held !== undefined) (held ? present : lacking).push(holder);
    }
    let bytes: Uint8Array | undefined;
    // A leaf may have been dropped where the swarm has it: to fetch it for this would undo that.
    const mayBeDropped = cid.code === RAW && isReplicated && blocks.thinned() && !blocks.has(cid);
    const isDropped = mayBeDropped && (present.length > 0 || holders.length === 0);
    if (isDropped) this.#report.evicted += 1;
    else bytes = await this.#local(cid);
    if (bytes) await pace(bytes.length);
    // What nobody could give a moment ago is not asked for again.
    const source = isDropped ? () => wholeBlock(cid, blocks) : async () => bytes;
    for (const holder of lacking) await this.#give(holder, cid, source);
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

  async #ask(holder: SwarmNode, cid: Cid): Promise<boolean | undefined> {
    try {
      const held = await holder.has(cid);
      this.#report.remote.checked += 1;
      return held;
    } catch (error) {
      if (!isDagpacsError(error, 'swarm-unavailable')) throw error;
      this.#report.remote.unreachable += 1;
      return undefined;
    }
  }

  /** Gives a node a block that it should hold; its pin is there still, so that it stays. */
  async #give(holder: SwarmNode, cid: Cid, source: () => Promise<Uint8Array | undefined>): Promise<void> {
    const { remote } = this.#report;
    try {
      const bytes = await source();
      if (bytes) await holder.put(one({ cid, bytes }));
      if (bytes && (await holder.has(cid))) {
        remote.restored += 1;
        return;
      }
    } catch (error) {
      if (!isDagpacsError(error)) throw error;
    }
    remote.missing += 1;
    noteProblem(this.#report, { cid: cid.toString(), where: holder.name, problem: 'missing' });
  }
}

async function* one<T>(value: T): AsyncGenerator<T> {
  yield value;
}
