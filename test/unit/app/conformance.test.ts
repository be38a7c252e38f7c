import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { conformanceStatement, conformanceTables } from '../../../src/app/conformance.ts';
import { isStorage, serviceOf } from '../../../src/edges/dimse/negotiation.ts';

const text = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'conformance.md'), 'utf8');

test('the tables of docs/conformance.md are those of the code', (t) => {
  t.equal(text, conformanceStatement(text), 'npm run conformance makes them anew');
  t.throws(() => conformanceStatement('nothing'), { code: 'bad-setting' }, 'each table has its place');
  t.end();
});

test('what the statement promises is what an association is answered', (t) => {
  const tables = conformanceTables();
  const uids = (name: string) => [...(tables[name] ?? '').matchAll(/`([0-9.]+)`/g)].map(([, uid = '']) => uid);
  t.equal(uids('storage-classes').length, 204);
  for (const uid of uids('storage-classes')) if (!isStorage(uid)) t.fail(uid);
  for (const uid of uids('sop-classes')) t.ok(serviceOf(uid), uid);
  t.equal(uids('sop-classes').length, 11, 'Verification, nine of Query/Retrieve, Storage Commitment');
  t.notOk(serviceOf('1.2.840.10008.5.1.4.31'), 'no worklist');
  t.end();
});
