import type { Test } from 'tap';
import { ask, CT, made, type OpenIndex, SR, values } from '../../fixtures/additions.ts';

/** Versions, their order, transactions and the cursor. */
export function versionSuite(t: Test, open: OpenIndex): void {
  const one = made({ study: '1.1', series: '1.1.1', sop: '1.1.1.1', attributes: { '00200013': ['IS', 2] } });
  const two = made({ study: '1.1', series: '1.1.1', sop: '1.1.1.2', attributes: { '00200013': ['IS', 1] } });
  const report = made({ study: '1.1', series: '1.1.2', sop: '1.1.2.1', sopClass: SR });

  t.test('what is added comes back, in the order of its numbers', async (t) => {
    const index = await open(t);
    t.strictSame(index.cursor(), { pack: 0, offset: 0 }, 'an empty index has followed nothing');
    await index.add([one, two, report]);
    t.strictSame(index.cursor(), report.next);

    const { header, frames, bulk, dataset: _dataset, next: _next, ...identity } = one;
    const version = index.version('1.1.1.1');
    t.ok(version);
    if (!version) return;
    t.match(version, { ...identity, node: {}, object: {}, version: 1 });
    t.ok(version.node.equals(one.node));
    t.ok(version.object.equals(one.object));
    t.strictSame({ ...index.details(version), header: null }, { header: null, frames, bulk });
    t.strictSame(Buffer.from(index.details(version).header), Buffer.from(header));

    const sops = (uids: { sopInstanceUID: string }[]) => uids.map(({ sopInstanceUID }) => sopInstanceUID);
    t.strictSame(sops(index.instances('1.1')), ['1.1.1.2', '1.1.1.1', '1.1.2.1']);
    t.strictSame(sops(index.instances('1.1', '1.1.1')), ['1.1.1.2', '1.1.1.1']);
    t.strictSame(sops(index.headers('1.1', '1.1.1')), ['1.1.1.2', '1.1.1.1']);
    t.strictSame(index.instances('1.1', '1.9'), []);
    t.strictSame(index.instances('1.9'), []);
    t.match(index.counts(), { studies: 1, series: 2, instances: 3, versions: 3, stored: 3, final: 0 });
    t.strictSame(sops(index.pending(2).versions), ['1.1.1.1', '1.1.1.2'], 'pending in the order of the log');
    t.equal(index.pending(2).oldest, one.receivedAt);
    t.strictSame(index.pendingCount(), 3);

    const scanned = index.scan(0, 2);
    t.strictSame(
      scanned.map(({ node, object, confirmedBy }) => [node.toString(), object.toString(), confirmedBy]),
      [one, two].map(({ node, object }) => [node.toString(), object.toString(), []]),
      'gone through in the order of the log',
    );
    const rest = index.scan(scanned[1]?.number ?? 0, 2);
    t.ok(rest.length === 1 && rest[0]?.node.equals(report.node));
    t.strictSame(index.scan(rest[0]?.number ?? 0, 2), []);
    const unknown = made({ study: '1.1', series: '1.1.1', sop: '1.1.1.9' }).node;
    t.strictSame(index.knownNodes([report.node, unknown, one.node]), [report.node, one.node]);
  });

  t.test('a frame table of any length comes back', async (t) => {
    const index = await open(t);
    const frames = { kind: 'encapsulated', frames: Array.from({ length: 5000 }, (_, i) => [i * 1000, 999]) } as const;
    await index.add([{ ...one, frames }]);
    const version = index.version('1.1.1.1');
    t.strictSame(version && index.details(version).frames, frames);
  });

  t.test('rows are seen when they are durable, and gone when they are not', async (t) => {
    const index = await open(t);
    const disk = Promise.withResolvers<undefined>();
    const first = index.add([one], disk.promise);
    const failing = Promise.withResolvers<undefined>();
    const second = index.add([two], failing.promise);
    const third = index.add([report]);
    t.equal(index.version('1.1.1.1'), undefined, 'not yet durable, not yet seen');
    index.setValue('chain', '31337');
    t.equal(index.getValue('chain'), '31337', 'other writes do not wait for the disk');
    t.equal(index.counts().versions, 0);
    disk.resolve(undefined);
    await first;
    t.equal(index.version('1.1.1.1')?.version, 1);
    failing.reject(new Error('the disk is gone'));
    await t.rejects(second, { message: 'the disk is gone' });
    await third;
    t.equal(index.version('1.1.1.2'), undefined);
    t.strictSame(index.cursor(), report.next);
    t.match(index.counts(), { studies: 1, series: 2, instances: 2, versions: 2 });
    await index.add([two]);
    t.match(index.counts(), { studies: 1, series: 2, instances: 3, versions: 3 });
  });

  t.test('a node that is held is passed over', async (t) => {
    const index = await open(t);
    await index.add([one, two]);
    const revision = index.revision('1.1');
    await index.add([one, two]);
    t.match(index.counts(), { studies: 1, series: 1, instances: 2, versions: 2 });
    t.equal(index.revision('1.1'), revision);
  });

  t.test('a new version is the current one, in the series that it names', async (t) => {
    const index = await open(t);
    await index.add([one, report]);
    const before = { study: index.revision('1.1'), series: index.revision('1.1', '1.1.2') };
    t.not(before.series, 0);
    const moved = made({ study: '1.1', series: '1.1.3', sop: '1.1.2.1', salt: 'again', sopClass: CT });
    await index.add([moved]);
    t.match(index.counts(), { studies: 1, series: 2, instances: 2, versions: 3 });
    t.equal(index.version('1.1.2.1')?.seriesInstanceUID, '1.1.3');
    t.equal(index.version('1.1.2.1', 1)?.seriesInstanceUID, '1.1.2', 'the old one as it was');
    t.equal(index.version('1.1.2.1', 3), undefined);
    t.strictSame(
      index.versions('1.1.2.1').map(({ version }) => [version.version, version.sopClassUID]),
      [
        [1, SR],
        [2, CT],
      ],
    );
    t.strictSame(index.versions('1.9'), []);
    t.strictSame(values(ask(index, { level: 'series', studyInstanceUID: '1.1' }), '0020000E'), ['1.1.1', '1.1.3']);
    const [study] = ask(index, {});
    t.strictSame(study?.['00080062']?.Value, [CT], 'the class that is gone is not in the study any more');
    t.strictSame([study?.['00201206']?.Value, study?.['00201208']?.Value], [[2], [2]]);
    t.not(index.revision('1.1'), before.study);
    t.equal(index.revision('1.1', '1.1.2'), 0, 'an empty series is none');
    t.not(index.revision('1.1', '1.1.3'), 0);
    await index.add([made({ study: '1.1', series: '1.1.2', sop: '1.1.2.1', salt: 'back' })]);
    t.strictSame(values(ask(index, { level: 'series', studyInstanceUID: '1.1' }), '0020000E'), ['1.1.1', '1.1.2']);
    t.equal(index.version('1.1.2.1')?.version, 3);
  });

  t.test('a SOP Instance UID stays in its study', async (t) => {
    const index = await open(t);
    await index.add([one]);
    const stray = made({ study: '1.2', series: '1.2.1', sop: '1.1.1.1' });
    const refused = index.add([stray]);
    const other = index.add([two]);
    await t.rejects(refused, { code: 'instance-in-other-study' });
    await other;
    t.match(index.counts(), { studies: 1, series: 1, instances: 2 });
  });
}
