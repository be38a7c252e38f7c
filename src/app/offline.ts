import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockDirectory } from '../adapters/blocks/lock.ts';
import { openPackStore } from '../adapters/blocks/pack-store.ts';
import { openIndex } from '../adapters/index/sqlite.ts';
import { openSwarm } from '../adapters/swarm/swarm.ts';
import { openFileVault } from '../adapters/vault/file-vault.ts';
import { CommitQueue } from '../flows/ingest/commit-queue.ts';
import { mendFromSwarm } from '../flows/objects/mending.ts';
import { catchUp } from '../flows/upkeep/catch-up.ts';
import type { Log } from '../kernel/log.ts';
import { type OneAtATime, oneAtATime } from '../kernel/one-at-a-time.ts';
import type { BlockStore } from '../ports/blocks.ts';
import type { Index } from '../ports/index.ts';
import type { Swarm } from '../ports/swarm.ts';
import type { Vault } from '../ports/vault.ts';
import { blockOptions, swarmOptions } from './compose.ts';
import type { Config } from './config.ts';

/** A data directory without its bridge. */
export interface Offline {
  blocks: BlockStore;
  index: Index;
  vault: Vault;
  swarm: Swarm;
  commits: CommitQueue;
  turns: OneAtATime;
}

/** Milliseconds that the swarm is given to connect. */
const SWARM_MS = 5000;
/** The same for a Kubo that has to start; how long that may take is the swarm's to say. */
const CHILD_MS = 180_000;
const LIVE_MS = 5000;

/** The URL of the bridge that runs on a data directory; undefined where none does. */
export async function runningBridge({ DAGPACS_DATA_DIR }: Config): Promise<string | undefined> {
  try {
    const text = readFileSync(join(DAGPACS_DATA_DIR, 'bridge.json'), 'utf8');
    const { http } = JSON.parse(text) as { http: string };
    const { ok } = await fetch(`${http}/health/live`, { signal: AbortSignal.timeout(LIVE_MS) });
    return ok ? http : undefined;
  } catch {
    return undefined; // None was announced, or what was left by one that ended without warning.
  }
}

/**
 * Opens a data directory for a command, with the nodes of `DAGPACS_KUBO_API` where they are set, and else, with `child`, the
 * Kubo that the bridge runs. `undo` takes what has to be called in reverse order at the end.
 * @throws DagpacsError `bad-setting` where a bridge runs on it, `storage-failed`
 */
export async function openOffline(
  config: Config,
  log: Log,
  undo: (() => unknown)[],
  child?: 'child',
): Promise<Offline> {
  const dataDir = config.DAGPACS_DATA_DIR;
  undo.push(lockDirectory(dataDir));
  const isOutside = config.DAGPACS_KUBO_API !== '';
  const none = isOutside || child ? {} : { bin: 'none' };
  const swarm = openSwarm({ ...swarmOptions(config, log), ...none });
  undo.push(() => swarm.close());
  const packs = await openPackStore({ ...blockOptions(config), log });
  undo.push(() => packs.close());
  const { blocks } = mendFromSwarm(packs, swarm, log);
  const vault = await openFileVault({ directory: join(dataDir, 'vault') });
  const index = openIndex({ dataDir, log, keys: config.DAGPACS_QIDO_INDEX });
  undo.push(() => index.close());
  await catchUp({ blocks, vault, index, log });
  const commits = new CommitQueue({ blocks, index, catchUp: () => catchUp({ blocks, vault, index, log }) });
  undo.push(() => commits.idle());
  const until = Date.now() + (isOutside ? SWARM_MS : CHILD_MS);
  while ((await swarm.status()).state === 'starting' && Date.now() < until) await sleep(50);
  return { blocks, index, vault, swarm, commits, turns: oneAtATime() };
}
