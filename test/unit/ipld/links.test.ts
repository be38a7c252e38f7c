import { encode as encodeCbor } from '@ipld/dag-cbor';
import { encode as encodePb } from '@ipld/dag-pb';
import { test } from 'tap';
import { type Cid, cidOf, DAG_CBOR, DAG_PB, RAW } from '../../../src/ipld/cid.ts';
import { followPath, linksOf } from '../../../src/ipld/links.ts';
import { decodeStudy, encodeStudy, type StudyNode } from '../../../src/ipld/study-node.ts';

const [one, two, three] = ['one', 'two', 'three'].map((text) => cidOf(RAW, Buffer.from(text))) as [Cid, Cid, Cid];
const made = (value: unknown): [Cid, Uint8Array] => {
  const bytes = encodeCbor(value);
  return [cidOf(DAG_CBOR, bytes), bytes];
};

test('links in the order in which they stand', (t) => {
  const [cid, bytes] = made({ zz: one, a: [two, { deep: [[three]] }, Buffer.from('no link'), null, 5] });
  t.strictSame(linksOf(cid, bytes).map(String), [two, three, one].map(String), 'dag-cbor puts short names first');
  const node = encodePb({ Links: [two, one].map((Hash) => ({ Hash, Name: '' })) });
  t.strictSame(linksOf(cidOf(DAG_PB, node), node).map(String), [two, one].map(String));
  t.strictSame(linksOf(one, Buffer.from('one')), []);
  t.throws(() => linksOf(cid, Buffer.from('nothing of the kind')), { code: 'block-damaged' });
  t.end();
});

test('paths within a block', (t) => {
  const [cid, bytes] = made({ list: [{ to: one }, two], text: 'x', bytes: Buffer.from([1, 2]) });
  const follow = (path: string) => followPath(cid, bytes, path.split('/'));
  t.match(follow('list/0/to'), { to: 'link', rest: [] });
  t.match(follow('list/1/more/of/it'), { to: 'link', cid: two, rest: ['more', 'of', 'it'] });
  for (const path of ['list', 'list/0', 'text', 'bytes']) t.strictSame(follow(path), { to: 'value' }, path);
  const nowhere = ['none', 'list/2', 'list/00', 'list/-1', 'list/length', 'text/0', 'bytes/0', 'toString', '__proto__'];
  for (const path of nowhere) t.strictSame(follow(path), { to: 'nothing' }, path);
  const node = encodePb({ Links: [{ Hash: one, Name: 'name' }] });
  t.match(followPath(cidOf(DAG_PB, node), node, ['name', 'rest']), { to: 'link', rest: ['rest'] });
  t.strictSame(followPath(cidOf(DAG_PB, node), node, ['0']), { to: 'nothing' });
  t.strictSame(followPath(one, Buffer.from('one'), ['x']), { to: 'nothing' });
  t.end();
});

test('a study node comes back, and nothing else is one', (t) => {
  const node: StudyNode = { study: Buffer.alloc(32, 7), instances: [one, two], records: [three], next: one };
  const decoded = decodeStudy(encodeStudy(node));
  t.strictSame(decoded.instances.map(String), [one, two].map(String));
  t.strictSame([String(decoded.records[0]), String(decoded.next)], [String(three), String(one)]);
  t.equal(decodeStudy(encodeStudy({ ...node, next: null })).next, null);
  for (const wrong of [
    { ...node, study: Buffer.alloc(31) },
    { ...node, instances: ['text' as never] },
    { ...node, next: 5 as never },
  ]) {
    t.throws(() => decodeStudy(encodeStudy(wrong)), { code: 'block-damaged' });
  }
  t.end();
});
