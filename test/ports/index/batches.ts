import type { Test } from 'tap';
import type { Hex } from '../../../src/ports/ledger.ts';
import { anchoredAt, batchOf, made, type OpenIndex } from '../../fixtures/additions.ts';

const reference: Hex = `0x${'ab'.repeat(32)}`;

/** Batches, their stages and what is counted by them. */
export function batchSuite(t: Test, open: OpenIndex): void {
  t.test('a batch takes its versions through the stages', async (t) => {
    const index = await open(t);
    const versions = ['1', '2', '3'].map((n) => made({ study: '1.1', series: '1.1.1', sop: `1.1.1.${n}` }));
    await index.add(versions);
    const [a, b, c] = versions.map(({ node }) => node);
    if (!a || !b || !c) return;
    const batch = batchOf(0);
    const next = { pack: 1, offset: 10 };
    await index.addBatch(batch, [b, a], [{ reference, total: 2 }], next);
    t.strictSame(index.cursor(), next);
    await index.addBatch(batch, [b, a], [{ reference, total: 2 }], next);
    t.match(index.batch(batch.id), { ...batch, record: {}, studies: [{ reference, total: 2 }], transactions: [] });
    t.ok(index.batch(batch.id)?.record.equals(batch.record));
    t.strictSame(
      index.leaves(batch.id).map(({ sopInstanceUID }) => sopInstanceUID),
      ['1.1.1.2', '1.1.1.1'],
      'in the order of the leaves',
    );
    t.strictSame([index.pendingCount(), index.pending(10).versions.length], [1, 1]);
    t.strictSame([index.batchedInStudy('1.1'), index.batchedInStudy('1.9')], [2, 0]);
    t.match(index.versions('1.1.1.1')[0], { batch: { id: batch.id }, leafIndex: 1, storedAt: versions[0]?.receivedAt });
    t.notOk(index.versions('1.1.1.3')[0]?.batch);

    const unfinished = () =>
      ['anchor', 'final', 'replicate'].map((what) => index.unfinished(what as 'anchor', 9).length);
    t.strictSame(unfinished(), [1, 0, 1]);
    t.match(index.counts(), { stored: 3, replicated: 0, anchored: 0, final: 0 });
    const transactions = [1, 2].map((n) => ({ nonce: 5, hash: `0x0${n}`, raw: `0xff0${n}` }) as const);
    for (const transaction of transactions) index.addTransaction(batch.id, transaction);
    t.strictSame(index.batch(batch.id)?.transactions, transactions);

    index.confirm(batch.id, { node: 'A', at: '2026-01-02T03:05:30.000Z' }, 1);
    t.match(index.counts(), { stored: 1, replicated: 2, anchored: 0, final: 0 });
    index.setAnchored(batch.id, anchoredAt(7));
    t.match(index.counts(), { stored: 1, replicated: 0, anchored: 2, final: 0 });
    t.strictSame(index.batch(batch.id)?.anchored, anchoredAt(7));
    t.strictSame(unfinished(), [0, 1, 0]);
    index.setFinal(batch.id, '2026-01-02T03:09:00.000Z');
    t.match(index.counts(), { stored: 1, replicated: 0, anchored: 0, final: 2 });
    t.strictSame(unfinished(), [0, 0, 0]);
    index.setAnchored(batch.id, undefined);
    t.match(index.counts(), { stored: 1, replicated: 2, anchored: 0, final: 0 }, 'a reorganisation takes both back');
    t.strictSame([index.batch(batch.id)?.anchored, index.batch(batch.id)?.finalAt], [undefined, undefined]);

    await index.addBatch({ ...batchOf(1), anchored: anchoredAt(9) }, [c, a], [], { pack: 1, offset: 20 });
    t.match(index.counts(), { stored: 0, replicated: 2, anchored: 1 }, 'a version stays in its first batch');
    t.strictSame([index.batchedInStudy('1.1', 0), index.batchedInStudy('1.1', 1)], [2, 3]);
    t.equal(index.lastBatch()?.sequence, 1);
    t.strictSame(
      index.batches(5).map(({ sequence }) => sequence),
      [1, 0],
    );
    t.strictSame(
      index.batches(5, 1).map(({ sequence }) => sequence),
      [0],
    );
    t.equal(index.batch(`0x${'00'.repeat(32)}`), undefined);
  });

  t.test('a transaction is kept though versions wait for the disk', async (t) => {
    const index = await open(t);
    await index.addBatch(batchOf(0), [], [], { pack: 0, offset: 1 });
    const disk = Promise.withResolvers<undefined>();
    const waiting = index.add([made({ study: '1.1', series: '1.1.1', sop: '1.1.1.1' })], disk.promise);
    index.addTransaction(batchOf(0).id, { nonce: 0, hash: '0x01', raw: '0x02' });
    t.equal(index.batch(batchOf(0).id)?.transactions.length, 1);
    t.equal(index.counts().versions, 0);
    disk.resolve(undefined);
    await waiting;
    t.equal(index.counts().versions, 1);
  });
}
