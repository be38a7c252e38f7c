import type { Block } from '../../ports/blocks.ts';
import type { SwarmTuning } from './options.ts';

type Limits = Pick<SwarmTuning, 'partsPerRequest' | 'bytesPerRequest' | 'parallelRequests'>;

/**
 * Gathers blocks by codec (one request takes one codec) and hands full groups to `send`, at most `parallelRequests` at a
 * time, so that no more than those and one group per codec are in memory. After a failure nothing more is read or sent,
 * and `stop` is called so that what is on its way can be given up.
 */
export async function upload(
  blocks: AsyncIterable<Block>,
  limits: Limits,
  send: (codec: number, group: readonly Block[]) => Promise<void>,
  stop: (reason: unknown) => void,
): Promise<void> {
  const groups = new Map<number, { blocks: Block[]; bytes: number }>();
  const flights = new Set<Promise<void>>();
  let failure: { reason: unknown } | undefined;
  const fail = (reason: unknown) => {
    if (failure !== undefined) return;
    failure = { reason };
    stop(reason);
  };

  const launch = async (codec: number, group: readonly Block[]) => {
    while (flights.size >= limits.parallelRequests) await Promise.race(flights);
    if (failure !== undefined) return;
    const flight: Promise<void> = send(codec, group)
      .catch(fail)
      .finally(() => flights.delete(flight));
    flights.add(flight);
  };

  try {
    for await (const block of blocks) {
      const { code } = block.cid;
      const group = groups.get(code) ?? { blocks: [], bytes: 0 };
      group.blocks.push(block);
      group.bytes += block.bytes.length;
      groups.set(code, group);
      if (group.blocks.length >= limits.partsPerRequest || group.bytes >= limits.bytesPerRequest) {
        groups.delete(code);
        await launch(code, group.blocks);
      }
      if (failure !== undefined) break;
    }
    for (const [code, group] of groups) await launch(code, group.blocks);
  } catch (error) {
    fail(error);
  }
  await Promise.all(flights);
  if (failure !== undefined) throw failure.reason;
}
