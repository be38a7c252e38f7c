import type { Block } from '../../ports/blocks.ts';
import type { Outgoing } from '../../ports/swarm.ts';
import type { SwarmTuning } from './options.ts';

type Limits = Pick<SwarmTuning, 'partsPerRequest' | 'bytesPerRequest' | 'parallelRequests'>;

/** A leaf has 1 MiB and is sealed: one more always fits behind what is less than full. */
const LARGEST_BLOCK = (1 << 20) + 4096;

/** What one request takes. Blocks are read into `memory`, up to `used`. */
interface Group {
  blocks: Block[];
  bytes: number;
  memory: Buffer | undefined;
  used: number;
}

const emptyGroup = (): Group => ({ blocks: [], bytes: 0, memory: undefined, used: 0 });

/**
 * Gathers blocks and hands full groups to `send`, at most `parallelRequests` at a time, so that no more than those and the
 * next group are in memory. After a failure nothing more is read or sent, and `stop` is called so that what is on its way
 * can be given up.
 * @param send resolves with true where nobody looks at the blocks' bytes any more
 * @param idle memory that was used before: new pages are what costs most in reading blocks; a failed group's is not used again
 */
export async function upload(
  blocks: AsyncIterable<Outgoing>,
  limits: Limits,
  send: (group: readonly Block[]) => Promise<boolean>,
  stop: (reason: unknown) => void,
  idle: Buffer[],
): Promise<void> {
  const flights = new Set<Promise<void>>();
  let failure: { reason: unknown } | undefined;
  const fail = (reason: unknown) => {
    if (failure !== undefined) return;
    failure = { reason };
    stop(reason);
  };

  const launch = async ({ blocks, memory }: Group) => {
    while (flights.size >= limits.parallelRequests) await Promise.race(flights);
    if (failure !== undefined || blocks.length === 0) return;
    const flight: Promise<void> = send(blocks)
      .then((done) => {
        if (done && memory) idle.push(memory);
      }, fail)
      .finally(() => flights.delete(flight));
    flights.add(flight);
  };

  let group = emptyGroup();
  const take = async (block: Outgoing): Promise<Block> => {
    if ('bytes' in block) return block;
    group.memory ??= idle.pop() ?? Buffer.allocUnsafeSlow(limits.bytesPerRequest + LARGEST_BLOCK);
    const bytes = await block.read(group.memory.subarray(group.used));
    if (bytes.buffer === group.memory.buffer) group.used += bytes.length;
    return { cid: block.cid, bytes };
  };

  try {
    for await (const each of blocks) {
      const block = await take(each);
      group.blocks.push(block);
      group.bytes += block.bytes.length;
      if (group.blocks.length >= limits.partsPerRequest || group.bytes >= limits.bytesPerRequest) {
        await launch(group);
        group = emptyGroup();
      }
      if (failure !== undefined) break;
    }
    await launch(group);
  } catch (error) {
    fail(error);
  }
  await Promise.all(flights);
  if (failure !== undefined) throw failure.reason;
}
