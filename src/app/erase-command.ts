import { parseArgs } from 'node:util';
import { lockDirectory } from '../adapters/blocks/lock.ts';
import { renewDatabase } from '../adapters/index/database.ts';
import { owedUnpins, unpinErased } from '../flows/objects/unpin.ts';
import { compact } from '../flows/upkeep/compact.ts';
import { eraseStudy } from '../flows/upkeep/erase.ts';
import { isDagpacsError } from '../kernel/errors.ts';
import { createLog, type Log } from '../kernel/log.ts';
import { type Config, readConfig } from './config.ts';
import { type Offline, openOffline } from './offline.ts';
import { NO, saying, UsageError } from './outcome.ts';

const USAGE = `Usage: dagpacs erase STUDY...

Erases studies for good: their keys are destroyed, so that their sealed blocks can be opened by nobody, wherever they lie;
the index is made anew without them, and the local packs and the Kubo nodes (the bridge's own too) delete what they hold of
them. Stop the bridge first, and destroy older backups of the keys. What a node that is not reached now still holds is noted,
and deleted when the bridge reaches it.

Exit: 0 all is gone, 1 something is not (each is said), 2 could not be done
`;

/** Every pack, however little of it is garbage. */
const EVERYTHING = { before: Number.POSITIVE_INFINITY, worthwhile: 0 };

/** `dagpacs erase`. @returns the exit code */
export function eraseCommand(args: string[]): Promise<number> {
  return saying('dagpacs erase', USAGE, async () => {
    const { positionals: studies } = parseArgs({ args, allowPositionals: true });
    if (studies.length === 0) throw new UsageError('which study?');
    const config = readConfig();
    const log = createLog('error', (line) => process.stderr.write(line));
    const owes = await opened(config, log, async (parts) => {
      for (const study of studies) {
        const versions = await eraseStudy(study, parts);
        process.stdout.write(`${study}: ${versions} versions erased\n`);
      }
      return Object.keys(owedUnpins(parts.index)).length > 0;
    });
    renewIndex(config, log);
    const forget = async (parts: Offline) => {
      const { swarm, index } = parts;
      for (const node of swarm.nodes) {
        const { node: identity } = node.status();
        if (identity === undefined) continue;
        try {
          const batches = await unpinErased(node, identity, index);
          process.stdout.write(`${node.name}: ${batches} batches unpinned, the rest deleted\n`);
        } catch (error) {
          if (!isDagpacsError(error, 'swarm-unavailable')) throw error;
          process.stdout.write(`${node.name}: ${error.message}\n`);
        }
      }
      await parts.blocks.closePack();
      const freed = await compact(EVERYTHING, { ...parts, log, pace: async () => undefined });
      if (freed === undefined) process.stdout.write('not deleted here: the log is damaged, run dagpacs scrub\n');
      else process.stdout.write(`here: ${freed} bytes deleted\n`);
      const owed = Object.entries(owedUnpins(index));
      for (const [node, batches] of owed) {
        process.stdout.write(`not reached: node ${node}, which still holds ${batches.length} batches whole\n`);
      }
      return owed.length === 0 && freed !== undefined ? 0 : NO;
    };
    return opened(config, log, forget, owes ? 'child' : undefined);
  });
}

async function opened<T>(config: Config, log: Log, act: (parts: Offline) => Promise<T>, child?: 'child'): Promise<T> {
  const undo: (() => unknown)[] = [];
  try {
    return await act(await openOffline(config, log, undo, child));
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

function renewIndex(config: Config, log: Log): void {
  const release = lockDirectory(config.DAGPACS_DATA_DIR);
  try {
    renewDatabase({ dataDir: config.DAGPACS_DATA_DIR, log });
  } finally {
    release();
  }
}
