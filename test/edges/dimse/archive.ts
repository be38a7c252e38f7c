import { join } from 'node:path';
import type { Test } from 'tap';
import { blockStoreDefaults } from '../../../src/adapters/blocks/options.ts';
import { openPackStore } from '../../../src/adapters/blocks/pack-store.ts';
import { codecDefaults } from '../../../src/adapters/codecs/options.ts';
import { openCodecs } from '../../../src/adapters/codecs/pool.ts';
import { openIndex } from '../../../src/adapters/index/sqlite.ts';
import { openFileVault } from '../../../src/adapters/vault/file-vault.ts';
import type { DimseModules } from '../../../src/edges/dimse/listener.ts';
import { type DimseOptions, dimseDefaults } from '../../../src/edges/dimse/options.ts';
import type { Transcoder } from '../../../src/edges/dimse/outgoing.ts';
import { CommitQueue } from '../../../src/flows/ingest/commit-queue.ts';
import { createIngest } from '../../../src/flows/ingest/ingest.ts';
import { createServe } from '../../../src/flows/serve/serve.ts';
import type { Serve } from '../../../src/flows/serve/served.ts';
import { createTranscode } from '../../../src/flows/serve/transcode.ts';
import type { Log } from '../../../src/kernel/log.ts';
import type { BlockStore } from '../../../src/ports/blocks.ts';
import type { Index } from '../../../src/ports/index.ts';
import { tempFolder } from '../../fixtures/temp.ts';
import { type Collector, startCollector } from './collector.ts';

const pushback = { begin: () => undefined, take: () => undefined };
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

export interface Archive extends Collector {
  index: Index;
  blocks: BlockStore;
  serve: Serve;
  transcoder: Transcoder;
  log: Log;
  options: DimseOptions;
  /** Stores a Part 10 file. */
  keep(file: Uint8Array): Promise<void>;
}

/** A listener before the real ingest, index and serve, without chain and swarm. */
export async function startArchive(
  t: Test,
  options: Partial<DimseOptions> = {},
  modules: Partial<DimseModules> = {},
): Promise<Archive> {
  const dataDir = await tempFolder(t);
  const blocks = await openPackStore({ directory: join(dataDir, 'blocks'), ...blockStoreDefaults, log });
  const vault = await openFileVault({ directory: join(dataDir, 'vault') });
  const index = openIndex({ dataDir, log });
  const commits = new CommitQueue({ blocks, index, catchUp: async () => undefined });
  const ingest = createIngest(
    { conflictPolicy: 'new-version', maxInstanceBytes: 1 << 30 },
    { blocks, vault, index, commits, pushback, onStored: () => undefined },
  );
  const serve = createServe({ blocks, vault, index });
  const codecs = openCodecs(codecDefaults, { log });
  t.teardown(() => codecs.close());
  const transcoder = createTranscode({ source: serve, codecs });
  const collector = await startCollector(options, ingest, { index, serve, transcoder, ...modules });
  t.teardown(async () => {
    await collector.listener.close();
    await commits.idle();
    await index.close();
    await blocks.close();
  });
  return {
    ...collector,
    index,
    blocks,
    serve,
    transcoder,
    log,
    options: { ...dimseDefaults, ...options },
    async keep(file) {
      async function* bytes() {
        yield file;
      }
      const outcome = await ingest({ bytes: bytes(), from: 'test' });
      if (outcome.outcome === 'refused') throw outcome.error;
    },
  };
}
