import { test } from 'tap';
import { createPushback } from '../../../src/flows/ingest/backlog.ts';
import type { Index } from '../../../src/ports/index.ts';
import type { Swarm } from '../../../src/ports/swarm.ts';

/** A disk and an outbox that are as full as they are said to be. */
function pushback(free: number, unanchored: number) {
  const index = { waiting: () => ({ unanchored, unreplicated: 0 }) } as Index;
  const swarm: Pick<Swarm, 'status'> = { status: async () => ({ state: 'off', peers: 0, nodes: [] }) };
  const blocks = { usage: () => ({ packs: 1, blocks: 1, bytes: 1, free }) };
  return createPushback({ outboxMax: 10, diskHeadroom: 1000 }, { index, swarm, blocks });
}

test('what is refused before it cannot be kept', (t) => {
  t.equal(pushback(1000, 9).begin(), undefined);
  t.match(pushback(1000, 10).begin(), { code: 'pushback', subject: { retryAfter: 30 } });
  t.match(pushback(999, 0).begin(), { code: 'pushback', message: /disk/ });
  const { take } = pushback(1300, 10);
  t.equal(take(200), undefined, 'what waits for the chain does not break off what has begun');
  t.equal(take(100), undefined);
  t.match(take(1), { code: 'pushback', message: /disk/ }, 'in one look at the disk');
  t.end();
});
