import { join } from 'node:path';
import { forgetReceived } from '../adapters/blocks/car-file.ts';
import { lockDirectory } from '../adapters/blocks/lock.ts';
import { blockStoreDefaults } from '../adapters/blocks/options.ts';
import { openPackStore } from '../adapters/blocks/pack-store.ts';
import { codecDefaults } from '../adapters/codecs/options.ts';
import { openCodecs } from '../adapters/codecs/pool.ts';
import { openIndex } from '../adapters/index/sqlite.ts';
import { openLedger } from '../adapters/ledger/ledger.ts';
import { finalityByProfile, type LedgerOptions, ledgerDefaults } from '../adapters/ledger/options.ts';
import type { SwarmOptions } from '../adapters/swarm/options.ts';
import { openSwarm } from '../adapters/swarm/swarm.ts';
import { openFileVault } from '../adapters/vault/file-vault.ts';
import { type DimseListener, startDimse } from '../edges/dimse/listener.ts';
import { createEcho, createTransfer } from '../edges/dimse/transfers.ts';
import { type HttpOptions, httpDefaults } from '../edges/http/options.ts';
import { type HttpListener, startHttp } from '../edges/http/server.ts';
import { type Outbox, startOutbox } from '../flows/anchor/outbox.ts';
import { createCommitmentRequests } from '../flows/commitment/requests.ts';
import { createPushback } from '../flows/ingest/backlog.ts';
import { CommitQueue } from '../flows/ingest/commit-queue.ts';
import { createIngest } from '../flows/ingest/ingest.ts';
import { mendFromSwarm } from '../flows/objects/mending.ts';
import { createReject } from '../flows/reject/reject.ts';
import { createCustodyView } from '../flows/serve/custody-view.ts';
import { createFileSet } from '../flows/serve/file-set.ts';
import { createGateway } from '../flows/serve/gateway.ts';
import { createRender } from '../flows/serve/render.ts';
import { createServe } from '../flows/serve/serve.ts';
import { createTranscode } from '../flows/serve/transcode.ts';
import { catchUp } from '../flows/upkeep/catch-up.ts';
import { type Eviction, startEviction } from '../flows/upkeep/evict.ts';
import { type Scrubber, startScrub } from '../flows/upkeep/scrub.ts';
import { DagpacsError } from '../kernel/errors.ts';
import type { Log } from '../kernel/log.ts';
import { oneAtATime } from '../kernel/one-at-a-time.ts';
import type { BlockStore } from '../ports/blocks.ts';
import type { Codecs } from '../ports/codecs.ts';
import type { Index } from '../ports/index.ts';
import type { Hex, Ledger } from '../ports/ledger.ts';
import type { Swarm } from '../ports/swarm.ts';
import { type Config, copiesOf, kuboApis } from './config.ts';
import { dimseOptions } from './dimse-options.ts';
import { ownProfile } from './profile.ts';
import { incomingDirectory, studyArchive } from './study-archive.ts';

/** A pack is at least a leaf. */
const MIN_PACK_BYTES = 1 << 20;

const HOUR_MS = 3_600_000;

/** The parts of a running bridge, for whoever starts and stops it. */
export interface Bridge {
  http: HttpListener;
  dimse: DimseListener;
  outbox: Outbox;
  commits: CommitQueue;
  blocks: BlockStore;
  index: Index;
  ledger: Ledger;
  swarm: Swarm;
  codecs: Codecs;
  eviction: Eviction;
  scrub: Scrubber;
  /** Gives the data directory back. */
  release(): void;
}

/** Called in reverse order when a later part cannot be started, so that a failed start leaves nothing behind. */
type Undo = () => unknown;

/**
 * Wires the bridge by hand: the only file that names adapters. When it resolves, all listeners are up.
 * @throws DagpacsError `bad-setting`, `storage-failed`
 */
export async function compose(config: Config, log: Log, ready: () => boolean): Promise<Bridge> {
  const undo: Undo[] = [];
  try {
    return await start(config, log, ready, undo);
  } catch (error) {
    for (const step of undo.reverse()) await step();
    throw error;
  }
}

async function start(config: Config, log: Log, ready: () => boolean, undo: Undo[]): Promise<Bridge> {
  const dataDir = config.DAGPACS_DATA_DIR;
  const release = lockDirectory(dataDir);
  undo.push(release);
  await forgetReceived(incomingDirectory(dataDir));
  const vault = await openFileVault({ directory: join(dataDir, 'vault') });
  const profile = await ownProfile(vault, config);
  const ledger = openLedger({ ...ledgerOptions(config), profile: async () => profile }, log);
  undo.push(() => ledger.close());
  const swarm = openSwarm(swarmOptions(config, log));
  undo.push(() => swarm.close());
  const packs = await openPackStore({ ...blockOptions(config), log });
  undo.push(() => packs.close());
  const { blocks, counts: mended } = mendFromSwarm(packs, swarm, log);
  const index = openIndex({ dataDir, log, keys: config.DAGPACS_QIDO_INDEX });
  undo.push(() => index.close());
  const caughtUp = await catchUp({ blocks, vault, index, log });
  if (caughtUp.nodes > 0) log.info('index-caught-up', caughtUp);

  const commits = new CommitQueue({ blocks, index, catchUp: () => catchUp({ blocks, vault, index, log }) });
  const eviction = startEviction({ maxBytes: config.DAGPACS_BLOCK_CACHE_MAX }, { blocks, index, log });
  undo.push(() => eviction.stop());
  const outbox = startOutbox(
    {
      maxBatch: config.DAGPACS_ANCHOR_MAX_BATCH,
      maxAgeMs: config.DAGPACS_ANCHOR_MAX_AGE_MS,
      copies: copiesOf(config),
    },
    {
      blocks,
      vault,
      index,
      ledger,
      swarm,
      commitRecord: (record, add) => commits.record(record, add),
      onReplicated: () => eviction.notify(),
      log,
    },
  );
  undo.push(() => outbox.stop());
  const pushback = createPushback(
    { outboxMax: config.DAGPACS_OUTBOX_MAX, diskHeadroom: config.DAGPACS_DISK_HEADROOM },
    { index, swarm, blocks },
  );
  const ingest = createIngest(
    { conflictPolicy: config.DAGPACS_CONFLICT_POLICY, maxInstanceBytes: config.DAGPACS_MAX_INSTANCE_BYTES },
    {
      blocks,
      vault,
      index,
      commits,
      pushback,
      onStored: () => outbox.notify(),
    },
  );
  const serve = createServe({ blocks, vault, index });
  const codecs = openCodecs(codecDefaults, { log });
  undo.push(() => codecs.close());
  const transcode = createTranscode({ source: serve, codecs });
  const render = createRender({ serve, source: serve, codecs });
  const turns = oneAtATime();
  const scrub = startScrub(
    { rate: config.DAGPACS_SCRUB_RATE, pauseMs: config.DAGPACS_SCRUB_PAUSE_MS, copies: copiesOf(config) },
    { blocks, index, swarm, log, turns },
  );
  undo.push(() => scrub.stop());
  const fileSet = createFileSet({ serve, source: serve });
  const custody = createCustodyView(
    { outboxMax: config.DAGPACS_OUTBOX_MAX, copies: copiesOf(config) },
    {
      blocks,
      index,
      ledger,
      swarm,
      vault,
      problem: () => outbox.problem(),
      replicationProblem: () => outbox.replicationProblem(),
      mended: () => mended,
      scrub: () => scrub.status(),
    },
  );

  const forDimse = dimseOptions(config);
  const transfer = createTransfer(forDimse, { serve, transcoder: transcode, log });
  const echo = createEcho(forDimse, log);
  const dimse = await listening(
    'DAGPACS_DIMSE_PORT',
    startDimse(forDimse, { ingest, index, serve, transcoder: transcode, log }),
  );
  undo.push(() => dimse.close());
  const http = await listening(
    'DAGPACS_HTTP_PORT',
    startHttp(httpOptions(config), {
      ingest,
      serve,
      transcode,
      render,
      fileSet,
      index,
      reject: createReject({ index, store: ingest }),
      commitments: createCommitmentRequests(
        { commitAfter: config.DAGPACS_COMMIT_AFTER, commitWaitMs: 24 * HOUR_MS, commitKeepMs: 7 * 24 * HOUR_MS },
        index,
      ),
      custody,
      archive: studyArchive(dataDir, {
        blocks,
        index,
        vault,
        commits,
        turns,
        pushback,
        onStored: () => outbox.notify(),
      }),
      scrub,
      gateway: createGateway({ blocks, index }),
      transfer,
      echo,
      log,
      ready,
    }),
  );
  return { http, dimse, outbox, commits, blocks, index, ledger, swarm, codecs, eviction, scrub, release };
}

/** Names the setting to change where an edge cannot have the address it was given. */
async function listening<Listener>(setting: string, started: Promise<Listener>): Promise<Listener> {
  try {
    return await started;
  } catch (error) {
    const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw error;
    const rule = `must be free to listen on (${code})`;
    throw new DagpacsError('bad-setting', (error as Error).message, { attribute: setting, rule }, { cause: error });
  }
}

function httpOptions(config: Config): HttpOptions {
  return {
    ...httpDefaults,
    host: config.DAGPACS_HTTP_HOST,
    port: config.DAGPACS_HTTP_PORT,
    trustProxy: config.DAGPACS_TRUST_PROXY === 'on',
    corsOrigins: config.DAGPACS_CORS_ORIGINS.split(',')
      .map((origin) => origin.trim())
      .filter((origin) => origin !== ''),
    gateway: config.DAGPACS_GATEWAY,
    maxResults: config.DAGPACS_QIDO_MAX,
    storeMaxBytes: config.DAGPACS_STOW_MAX_BYTES,
    allowDelete: config.DAGPACS_DELETE === 'on',
    ...(config.DAGPACS_PUBLIC_URL === '' ? {} : { publicUrl: config.DAGPACS_PUBLIC_URL.replace(/\/+$/, '') }),
  };
}

/** The chain's settings as the ledger takes them. */
export function ledgerOptions(config: Config): LedgerOptions {
  return {
    ...ledgerDefaults,
    directory: join(config.DAGPACS_DATA_DIR, 'chain'),
    finalityDepth: finalityByProfile[config.DAGPACS_CHAIN_PROFILE],
    ...(config.DAGPACS_CHAIN_RPC === '' ? {} : { rpc: config.DAGPACS_CHAIN_RPC }),
    ...(config.DAGPACS_CHAIN_KEY === '' ? {} : { key: config.DAGPACS_CHAIN_KEY as Hex }),
    ...(config.DAGPACS_CHAIN_KEY_FILE === '' ? {} : { keyFile: config.DAGPACS_CHAIN_KEY_FILE }),
    ...(config.DAGPACS_CHAIN_PASSPHRASE_FILE === '' ? {} : { passphraseFile: config.DAGPACS_CHAIN_PASSPHRASE_FILE }),
    ...(config.DAGPACS_CHAIN_CONTRACT === '' ? {} : { contract: config.DAGPACS_CHAIN_CONTRACT as Hex }),
  };
}

/** The block store's settings. Packs are small beside the limit, so that what is dropped is a small part. */
export function blockOptions(config: Config): { directory: string; packBytes: number } {
  const { packBytes } = blockStoreDefaults;
  const limit = config.DAGPACS_BLOCK_CACHE_MAX;
  return {
    directory: join(config.DAGPACS_DATA_DIR, 'blocks'),
    packBytes: limit === 0 ? packBytes : Math.min(packBytes, Math.max(MIN_PACK_BYTES, Math.ceil(limit / 16))),
  };
}

/** The swarm's settings as its adapter takes them. */
export function swarmOptions(config: Config, log: Log): SwarmOptions {
  return {
    dataDir: config.DAGPACS_DATA_DIR,
    log,
    apis: kuboApis(config),
    ...(config.DAGPACS_KUBO_AUTH === '' ? {} : { authorization: config.DAGPACS_KUBO_AUTH }),
    ...(config.DAGPACS_KUBO_BIN === '' ? {} : { bin: config.DAGPACS_KUBO_BIN }),
  };
}
