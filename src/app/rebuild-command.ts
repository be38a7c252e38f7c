import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openCarDirectory } from '../adapters/blocks/car-directory.ts';
import { lockDirectory } from '../adapters/blocks/lock.ts';
import { openPackStore } from '../adapters/blocks/pack-store.ts';
import { openIndex } from '../adapters/index/sqlite.ts';
import { openLedger } from '../adapters/ledger/ledger.ts';
import { openKuboArchive } from '../adapters/swarm/kubo-archive.ts';
import { openFileVault } from '../adapters/vault/file-vault.ts';
import { type Gap, type Progress, rebuild } from '../flows/upkeep/rebuild.ts';
import { DagpacsError } from '../kernel/errors.ts';
import { createLog } from '../kernel/log.ts';
import { untilConnected } from './chain-command.ts';
import { blockOptions, ledgerOptions } from './compose.ts';
import { type Config, copiesOf, kuboApis, readConfig } from './config.ts';
import { NO, saying, UsageError } from './outcome.ts';
import { progressBar } from './progress-bar.ts';

const USAGE = `Usage: dagpacs rebuild [--full | --lazy] [--car DIRECTORY]

Makes DAGPACS_DATA_DIR anew from the chain (DAGPACS_CHAIN_RPC), the blocks (DAGPACS_KUBO_API, or the CAR files of a
directory) and the keys that \`dagpacs vault restore\` put there. It can be interrupted and run again.

  --full   fetch every block (the default)
  --lazy   fetch what the index is made of, and leave the pixels in the swarm until somebody asks for them

Exit: 0 all is there, 1 there are gaps (each is said), 2 could not be done
`;

/** Milliseconds that the chain has for its first answer. */
const CHAIN_MS = 30_000;

/** `dagpacs rebuild`. @returns the exit code */
export function rebuildCommand(args: string[]): Promise<number> {
  return saying('dagpacs rebuild', USAGE, async () => {
    const options = { car: { type: 'string' }, full: { type: 'boolean' }, lazy: { type: 'boolean' } } as const;
    const { values } = parseArgs({ args, options });
    if (values.lazy && values.full) throw new UsageError('--full or --lazy?');
    if (values.lazy && values.car !== undefined)
      throw new UsageError('--lazy does not go with --car: nobody would give the rest');
    const config = readConfig();
    if (config.DAGPACS_CHAIN_RPC === '')
      throw new UsageError('DAGPACS_CHAIN_RPC is needed: what a bridge’s own anvil held is gone');
    if (values.car === undefined && config.DAGPACS_KUBO_API === '')
      throw new UsageError('DAGPACS_KUBO_API or --car is needed');
    requireIdentity(config);
    const undo: (() => unknown)[] = [];
    try {
      return await run(config, values, undo);
    } finally {
      for (const step of undo.reverse()) await step();
    }
  });
}

/** Without these the ledger would make an account or a contract of its own, which has no anchors. */
function requireIdentity(config: Config): void {
  const chain = join(config.DAGPACS_DATA_DIR, 'chain');
  const set = config.DAGPACS_CHAIN_KEY !== '' || config.DAGPACS_CHAIN_KEY_FILE !== '';
  const hasKey = set || existsSync(join(chain, 'key'));
  const hasContract = config.DAGPACS_CHAIN_CONTRACT !== '' || existsSync(join(chain, 'deployment.json'));
  if (hasKey && hasContract) return;
  const rule = 'is needed, or a restored backup';
  const attribute = hasKey ? 'DAGPACS_CHAIN_CONTRACT' : 'DAGPACS_CHAIN_KEY';
  throw new DagpacsError('bad-setting', `${attribute} ${rule}: run dagpacs vault restore first`, { attribute, rule });
}

async function run(
  config: Config,
  { car, lazy = false }: { car?: string; lazy?: boolean },
  undo: (() => unknown)[],
): Promise<number> {
  const dataDir = config.DAGPACS_DATA_DIR;
  // What is passed over is told as a gap.
  const log = createLog(config.DAGPACS_LOG_LEVEL === 'info' ? 'info' : 'error', (line) => process.stderr.write(line));
  undo.push(lockDirectory(dataDir));
  const ledger = openLedger(ledgerOptions(config), log);
  undo.push(() => ledger.close());
  const archive =
    car === undefined
      ? await openKuboArchive(kuboApis(config), config.DAGPACS_KUBO_AUTH || undefined)
      : await openCarDirectory(car);
  undo.push(() => archive.close());
  const blocks = await openPackStore({ ...blockOptions(config), log });
  undo.push(() => blocks.close());
  const vault = await openFileVault({ directory: join(dataDir, 'vault') });
  const index = openIndex({ dataDir, log, keys: config.DAGPACS_QIDO_INDEX });
  undo.push(() => index.close());
  await untilConnected(ledger, CHAIN_MS);

  const began = performance.now();
  const bar = progressBar();
  const rebuilt = await rebuild({
    archive,
    copies: copiesOf(config),
    blocks,
    vault,
    index,
    ledger,
    log,
    lazy,
    gap: tellGap,
    progress: ({ batches, ofBatches, instances }: Progress) =>
      bar.show(batches, ofBatches, `${batches}/${ofBatches} batches, ${instances} versions`),
  });
  bar.end();
  const seconds = (performance.now() - began) / 1000;
  const { batches, instances, unanchored, gaps } = rebuilt;
  const rate = Math.round((instances + unanchored) / seconds);
  process.stdout.write(`${instances} versions of ${batches} batches in ${seconds.toFixed(1)} s (${rate}/s)\n`);
  if (unanchored > 0)
    process.stdout.write(`${unanchored} versions that were not anchored: the bridge will anchor them\n`);
  process.stdout.write(gaps === 0 ? 'no gaps\n' : `${gaps} gaps\n`);
  return gaps === 0 ? 0 : NO;
}

function tellGap({ batch, cid, reference, reason }: Gap): void {
  const where = batch === undefined ? '' : ` batch ${batch}`;
  process.stdout.write(`gap:${where} ${cid}${reference === undefined ? '' : ` of study ${reference}`}: ${reason}\n`);
}
