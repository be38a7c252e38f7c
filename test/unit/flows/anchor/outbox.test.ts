import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { openIndex } from '../../../../src/adapters/index/sqlite.ts';
import { openFileVault } from '../../../../src/adapters/vault/file-vault.ts';
import { startOutbox } from '../../../../src/flows/anchor/outbox.ts';
import type { BlockStore } from '../../../../src/ports/blocks.ts';
import type { Ledger } from '../../../../src/ports/ledger.ts';
import type { Swarm } from '../../../../src/ports/swarm.ts';
import { made } from '../../../fixtures/additions.ts';
import { tempFolder } from '../../../fixtures/temp.ts';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

test('what a clock that was wrong has dated into the future does not wait for it', async (t) => {
  const dataDir = await tempFolder(t);
  const index = openIndex({ dataDir, log });
  const vault = await openFileVault({ directory: dataDir });
  await vault.ensure('1.1');
  const receivedAt = new Date(Date.now() + 3_600_000).toISOString();
  await index.add([{ ...made({ study: '1.1', series: '1.1.1', sop: '1.1.1.1' }), receivedAt }]);
  const outbox = startOutbox(
    { maxBatch: 10, maxAgeMs: 40, copies: 1 },
    {
      blocks: {} as BlockStore,
      vault,
      index,
      ledger: { status: async () => ({ state: 'unreachable' }) } as unknown as Ledger,
      swarm: { nodes: [] } as unknown as Swarm,
      commitRecord: (_, add) => add({ pack: 1, offset: 1000 }),
      log,
      onReplicated: () => undefined,
    },
  );
  t.teardown(async () => {
    await outbox.stop();
    await index.close();
  });
  for (let tries = 0; tries < 200 && index.pendingCount() > 0; tries++) await sleep(20);
  t.equal(index.pendingCount(), 0);
  t.equal(index.lastBatch()?.count, 1);
});
