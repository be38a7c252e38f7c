import { zstdCompressSync } from 'node:zlib';
import type { Test } from 'tap';
import { NOTE_ORIGIN, type RejectionReason, rejectionNote } from '../../../src/dicom/rejection-note.ts';
import type { Addition } from '../../../src/ports/index.ts';
import { ask, CT, made, type OpenIndex, SR, values } from '../../fixtures/additions.ts';

/** The addition that a deletion makes. */
function note(sop: string, reason: RejectionReason, rejected: readonly Addition[]): Addition {
  const [{ studyInstanceUID, dataset: of }] = rejected as [Addition];
  const uids = { studyInstanceUID, seriesInstanceUID: `${sop}.1`, sopInstanceUID: sop };
  const dataset = rejectionNote({ ...uids, reason, at: '2026-01-03T00:00:00.000Z', instances: rejected, of });
  const addition = made({ study: studyInstanceUID, series: `${sop}.1`, sop });
  return {
    ...addition,
    dataset,
    header: zstdCompressSync(JSON.stringify(dataset)),
    receivedFrom: `${NOTE_ORIGIN}http:::1`,
  };
}

/** Rejection notes hide what they name, and nothing else. */
export function rejectionSuite(t: Test, open: OpenIndex): void {
  const name = (text: string) => ({ '00100010': ['PN', { Alphabetic: text }], '00080060': ['CS', 'CT'] }) as never;
  const one = made({ study: '1.1', series: '1.1.1', sop: '1.1.1.1', attributes: name('RIGHT') });
  const wrong = made({ study: '1.1', series: '1.1.1', sop: '1.1.1.2', attributes: name('WRONG') });
  const report = made({ study: '1.1', series: '1.1.2', sop: '1.1.2.1', sopClass: SR, attributes: name('RIGHT') });
  const other = made({ study: '1.2', series: '1.2.1', sop: '1.2.1.1', attributes: name('RIGHT') });

  t.test('rejected instances are not found, and counts and texts follow', async (t) => {
    const index = await open(t);
    await index.add([one, report, other, wrong]);
    const revision = index.revision('1.1');
    t.strictSame(
      values(
        ask(index, { level: 'study', matches: [{ tag: '00100010', kind: 'single', value: 'WRONG' }] }),
        '0020000D',
      ),
      ['1.1'],
    );
    const reject = note('2.1', '113037', [wrong]);
    await index.add([reject, reject]);
    t.ok(index.revision('1.1') > revision, 'the headers are others now');
    t.equal(index.version('1.1.1.2'), undefined);
    t.equal(index.version('1.1.1.2', 1)?.version, 1, 'a version is found by its number');
    t.strictSame(
      index.instances('1.1').map(({ sopInstanceUID }) => sopInstanceUID),
      ['1.1.1.1', '1.1.2.1'],
    );
    t.equal(index.headers('1.1', '1.1.1').length, 1);
    t.match(index.counts(), { studies: 2, series: 3, instances: 3, versions: 5 });
    t.strictSame(ask(index, { level: 'study', matches: [{ tag: '00100010', kind: 'single', value: 'WRONG' }] }), []);
    const [study] = ask(index, { level: 'study', studyInstanceUID: '1.1' });
    t.match(study, {
      '00201208': { Value: [2] },
      '00080062': { Value: [SR, CT].sort() },
      '00080061': { Value: ['CT'] },
    });
    t.match(index.versions('1.1.1.2')[0]?.rejection, {
      at: reject.receivedAt,
      by: 'http:::1',
      reason: '113037',
      note: '2.1',
    });
    t.equal(index.versions('1.1.1.1')[0]?.rejection, undefined);
    t.equal(index.pending(10).versions.length, 5, 'a note is anchored as all instances are');
  });

  t.test('a study without instances is none, until one comes back', async (t) => {
    const index = await open(t);
    await index.add([one, report, note('2.1', '113039', [one, report, other])]);
    await index.add([other]);
    t.equal(index.revision('1.1'), 0);
    t.equal(index.revision('1.1', '1.1.1'), 0);
    t.match(
      index.counts(),
      { studies: 1, series: 1, instances: 1 },
      'a note is about one study, and about what came before it',
    );
    for (const level of ['study', 'series', 'instance'] as const) {
      t.strictSame(values(ask(index, { level }), '0020000D'), ['1.2'], level);
    }
    t.equal(ask(index, { level: 'patient' }).length, 1);
    const again = made({ study: '1.1', series: '1.1.1', sop: '1.1.1.1', salt: 'again', attributes: name('AGAIN') });
    await index.add([again]);
    t.equal(index.version('1.1.1.1')?.version, 2);
    t.match(index.counts(), { studies: 2, series: 2, instances: 2, versions: 5 });
    const [study] = ask(index, { level: 'study', studyInstanceUID: '1.1' });
    t.match(study, { '00201206': { Value: [1] }, '00201208': { Value: [1] }, '00080062': { Value: [CT] } });
    t.strictSame(
      index.versions('1.1.1.1').map(({ rejection }) => rejection?.reason),
      ['113039', undefined],
    );
  });
}
