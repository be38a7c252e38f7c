import { hash } from 'node:crypto';
import { test } from 'tap';
import { DigestSet } from '../../../../src/flows/upkeep/digest-set.ts';

test('a digest set holds what was added and nothing else', (t) => {
  const set = new DigestSet();
  const digest = (n: number) => hash('sha256', `block ${n}`, 'buffer');
  const many = 50_000;
  for (let n = 0; n < many; n += 1) set.add(digest(n));
  for (let n = 0; n < many; n += 7) set.add(digest(n));
  t.equal(set.size, many, 'each once');
  let wrong = 0;
  for (let n = 0; n < 2 * many; n += 1) if (set.has(digest(n)) !== n < many) wrong += 1;
  t.equal(wrong, 0);
  const zeros = Buffer.alloc(32);
  t.notOk(set.has(zeros));
  set.add(zeros);
  t.ok(set.has(zeros), 'a free slot is no digest');
  t.end();
});
