import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Test, test } from 'tap';
import type { IndexOptions } from '../../src/adapters/index/options.ts';
import { openIndex } from '../../src/adapters/index/sqlite.ts';
import type { Match } from '../../src/dicom/query.ts';
import { ask, made, single, values, wildcard } from '../fixtures/additions.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { batchSuite } from './index/batches.ts';
import { querySuite } from './index/queries.ts';
import { rejectionSuite } from './index/rejections.ts';
import { versionSuite } from './index/versions.ts';

function open(dataDir: string, events: string[] = [], options: Partial<IndexOptions> = {}) {
  const event = (name: string) => {
    events.push(name);
  };
  return openIndex({ dataDir, log: { info: event, warn: event, error: event }, ...options });
}

test('the index port, by SQLite', async (t) => {
  const make = async (t: Test) => {
    const dataDir = await tempFolder(t);
    const index = open(dataDir);
    t.teardown(() => index.close());
    return index;
  };
  versionSuite(t, make);
  rejectionSuite(t, make);
  batchSuite(t, make);
  querySuite(t, make);
});

const instance = made({ study: '1.1', series: '1.1.1', sop: '1.1.1.1', attributes: { '00100020': ['LO', 'P1'] } });

test('the database file', async (t) => {
  const dataDir = await tempFolder(t);
  const first = open(dataDir);
  await first.add([instance]);
  first.setValue('chain', '31337');
  for (const name of readdirSync(dataDir)) {
    t.equal(statSync(join(dataDir, name)).mode & 0o777, 0o600, `${name} is nobody else's to read`);
  }
  const waiting = first.add([made({ study: '1.1', series: '1.1.1', sop: '1.1.1.2' })], Promise.resolve(undefined));
  await first.close();
  await waiting;

  const second = open(dataDir);
  t.match(second.counts(), { studies: 1, instances: 2 }, 'close waits for what is under way');
  t.equal(second.getValue('chain'), '31337');
  await second.add([made({ study: '1.1', series: '1.1.1', sop: '1.1.1.3', attributes: { '00100020': ['LO', 'P1'] } })]);
  t.strictSame(values(ask(second, {}), '00201208'), [3], 'counting goes on where it was');
  await second.close();
});

test('keys that a setting names are indexed, those that are held already too', async (t) => {
  const dataDir = await tempFolder(t);
  const events: string[] = [];
  const of = (n: number, institution: string, more: Record<string, [string, ...(string | number | object)[]]> = {}) =>
    made({
      study: `1.${n}`,
      series: `1.${n}.1`,
      sop: `1.${n}.1.1`,
      attributes: { '00080080': ['LO', institution], ...more } as never,
    });
  const details = {
    '00081050': ['PN', { Alphabetic: 'Curie^Marie' }, { Ideographic: '山田' }],
    '00400275': ['SQ', { '00400009': { vr: 'SH', Value: ['SPS9'] } }],
    '0008002A': ['DT', '20240101003000+0100'],
    '00180050': ['DS', '1.50'],
    '00102160': ['SH', 'A'],
    '00081080': ['LO', 'one', 'two'],
  } as Record<string, [string, ...(string | object)[]]>;
  const first = open(dataDir, events, { keys: ['00080080'] });
  await first.add([of(1, 'North', details), of(2, 'South')]);
  // More than may be searched through: what is still answered is answered by the index.
  const many = Array.from({ length: 10_001 }, (_, n) =>
    made({ study: '2.1', series: '2.1.1', sop: `2.1.1.${n}`, attributes: { '00080080': ['LO', 'Elsewhere'] } }),
  );
  await first.add(many);
  const found = (index: typeof first, ...matches: Match[]) =>
    values(ask(index, { level: 'instance', matches }), '00080018');
  t.strictSame(found(first, single('00080080', 'North')), ['1.1.1.1']);
  t.strictSame(found(first, wildcard('00080080', '*th')), ['1.2.1.1', '1.1.1.1']);
  const later = made({ study: '1.2', series: '1.2.1', sop: '1.2.1.2', attributes: { '00080080': ['LO', 'East'] } });
  await first.add([later]);
  t.strictSame(found(first, single('00080080', 'South')), [], 'a series is what its newest instance says');
  t.strictSame(found(first, single('00080080', 'East')).length, 2);
  t.throws(() => found(first, single('00081050', 'curie*')), {
    code: 'invalid-parameter',
    subject: { attribute: 'PerformingPhysicianName' },
  });
  await first.close();

  const paths = ['00081050', '00400275.00400009', '0008002A', '00180050', '00102160', '00081080', '00081010'];
  const second = open(dataDir, events, { keys: paths });
  t.strictSame(events, ['index-keys-added', 'index-keys-added']);
  const cases: Match[] = [
    wildcard('00081050', 'CURIE*'),
    single('00081050', '山田'),
    single('00400275.00400009', 'SPS9'),
    { tag: '0008002A', kind: 'range', from: '20231231', to: '20231231' },
    single('00180050', '1.5'),
    single('00102160', 'A'),
    single('00081080', 'two'),
    { tag: '00081080', kind: 'uid-list', values: ['two', 'three'] },
    { tag: '00081080', kind: 'any', of: [single('', 'none'), wildcard('', 't*')] },
  ];
  for (const match of cases) t.strictSame(found(second, match), ['1.1.1.1'], JSON.stringify(match));
  t.strictSame(studiesWithout(second, '00081010').length, 3);
  t.strictSame(studiesWithout(second, '00081080').length, 2);
  const byThickness = { level: 'study', order: [{ tag: '00102160', descending: true }] } as const;
  t.strictSame(values(ask(second, { ...byThickness, order: [...byThickness.order] }), '0020000D')[0], '1.1');
  t.throws(() => found(second, single('00080080', 'North')), {
    code: 'invalid-parameter',
    subject: { attribute: 'InstitutionName' },
  });
  await second.close();
});

const studiesWithout = (index: ReturnType<typeof open>, tag: string) =>
  values(ask(index, { matches: [{ tag, kind: 'empty' }] }), '0020000D');

test('the WAL is written back under load, and begun anew', async (t) => {
  const dataDir = await tempFolder(t);
  const events: string[] = [];
  const index = open(dataDir, events, { checkpointPages: 64 });
  const size = () => statSync(join(dataDir, 'index.sqlite-wal')).size;
  let longest = 0;
  let since = 0;
  let count = 0;
  // Frames are written over from the start after a full checkpoint: the file stays as long as it was.
  while (since < 100 && count < 10_000) {
    count += 1;
    await index.add([made({ study: '1.1', series: '1.1.1', sop: `1.1.1.${count}` })]);
    await new Promise((resolve) => setImmediate(resolve));
    since = size() > longest ? 0 : since + 1;
    longest = Math.max(longest, size());
  }
  t.equal(since, 100);
  t.equal(index.counts().instances, count);
  t.strictSame(events, []);
  await index.close();
  const again = open(dataDir);
  t.equal(again.counts().instances, count);
  t.equal(again.instances('1.1').length, count);
  await again.close();
});

test('damage that shows later only is told with what to do', async (t) => {
  const dataDir = await tempFolder(t);
  await open(dataDir).close();
  const path = join(dataDir, 'index.sqlite');
  const database = new DatabaseSync(path);
  const { rootpage } = database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'named_values'").get() ?? {};
  const { page_size: size } = database.prepare('PRAGMA page_size').get() ?? {};
  database.close();
  const bytes = readFileSync(path);
  bytes.fill(0xa5, (Number(rootpage) - 1) * Number(size), Number(rootpage) * Number(size));
  writeFileSync(path, bytes);
  const index = open(dataDir);
  t.teardown(() => index.close());
  t.throws(() => index.getValue('chain'), {
    code: 'storage-failed',
    message: /index\.sqlite is damaged; move it away/,
  });
});

test('an index that cannot be used is set aside', async (t) => {
  const damages = {
    'no database': (file: string) => writeFileSync(file, 'this was the index once, '.repeat(1000)),
    'another schema': (file: string) => {
      const database = new DatabaseSync(file);
      database.exec('PRAGMA user_version = 4711');
      database.close();
    },
    'a lost table': (file: string) => {
      const database = new DatabaseSync(file);
      database.exec('DROP TABLE state');
      database.close();
    },
  };
  for (const [what, damage] of Object.entries(damages)) {
    const dataDir = await tempFolder(t);
    const before = open(dataDir);
    await before.add([instance]);
    before.setValue('chain', '31337');
    await before.close();
    damage(join(dataDir, 'index.sqlite'));
    const events: string[] = [];
    const after = open(dataDir, events);
    t.strictSame(after.cursor(), { pack: 0, offset: 0 }, `${what}: the log is followed from its start`);
    const readable = what !== 'no database';
    t.strictSame(events, readable ? ['index-set-aside'] : ['index-set-aside', 'index-values-lost']);
    t.equal(after.getValue('chain'), readable ? '31337' : undefined, 'what follows from nothing else is taken over');
    t.ok(readdirSync(dataDir).includes('index.sqlite.old'));
    await after.add([instance]);
    t.equal(after.counts().instances, 1);
    await after.close();
  }
});
