import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { carHeaderOf, sectionHead } from '../../src/ipld/car.ts';
import { cidOf, DAG_CBOR, parseCid } from '../../src/ipld/cid.ts';
import { decodeInstanceNode, encodeInstanceNode, INSTANCE_TYPE, nodeType } from '../../src/ipld/nodes.ts';
import { encodeStudy } from '../../src/ipld/study-node.ts';
import { startBridge } from '../fixtures/bridge.ts';
import { carBlocks } from '../fixtures/car-blocks.ts';
import { dagpacs } from '../fixtures/command.ts';
import { allVersions, untilStage } from '../fixtures/custody.ts';
import { blocksOf, damage } from '../fixtures/damage.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { skipKubo, startKuboNode } from '../fixtures/kubo.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

const patientName = 'Wanderlust^Wilma';
/** One of several leaves, one small, and a second version of that. */
const FILES = [
  makeSlice({ study: 'car', instance: 1, rows: 1100, columns: 1100, patientName }),
  makeSlice({ study: 'car', instance: 2, rows: 64, columns: 64, patientName }),
  makeSlice({ study: 'car', instance: 2, rows: 64, columns: 64, patientName: 'Wanderlust^Walter' }),
];
const UIDS = [1, 2].map((instance) => uid('instance', 'car', 'CT', 1, instance));
const STUDY = uid('study', 'car');

function sendCar(url: string, bytes: Buffer<ArrayBuffer>, type = 'application/vnd.ipld.car'): Promise<Response> {
  return fetch(`${url}/custody/car`, { method: 'POST', headers: { 'content-type': type }, body: bytes });
}

/** A CAR whose one node is that of a version, but for its key, which is that of another. */
function forge(blocks: ReadonlyMap<string, Buffer>, nodes: readonly string[]): Buffer {
  const [one, other] = nodes
    .map((cid) => blocks.get(cid) ?? Buffer.alloc(0))
    .filter((bytes) => nodeType(bytes) === INSTANCE_TYPE)
    .map(decodeInstanceNode);
  if (!one || !other) throw new Error('there are no two nodes');
  const node = encodeInstanceNode({ ...one, key: other.key });
  const instances = [cidOf(DAG_CBOR, node)];
  const root = encodeStudy({ study: one.study, instances, records: [], next: null });
  const named = [root, node].map((bytes) => [cidOf(DAG_CBOR, bytes), bytes] as const);
  const rest = [...blocks].map(([cid, bytes]) => [parseCid(cid), bytes] as const);
  const sections = [...named, ...rest].flatMap(([cid, bytes]) => [sectionHead(cid, bytes.length), bytes]);
  return Buffer.concat([carHeaderOf([cidOf(DAG_CBOR, root)]), ...sections]);
}

test('a study goes out as a CAR file, and in again where blocks were lost', { skip: skipKubo }, async (t) => {
  const dataDir = await tempFolder(t);
  const folder = await tempFolder(t);
  const env = { DAGPACS_ANCHOR_MAX_AGE_MS: '100' };
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  for (const file of FILES) t.equal((await stow(bridge.dicomWeb, [file])).status, 200);
  await stow(bridge.dicomWeb, [makeSlice({ study: 'other', instance: 1, rows: 64, columns: 64 })]);
  const custody = await untilStage(bridge.url, UIDS, 'anchored');
  const objects = custody.flatMap(({ versions }) => versions.map(({ cid }) => cid));

  const out = join(folder, 'study.car');
  t.match(await dagpacs(dataDir, ['car', 'export', STUDY, '--out', out]), { code: 0, stderr: /^3 versions/ });
  const car = await readFile(out);
  const blocks = new Map(carBlocks(car));
  const [root] = blocks.keys();
  for (const secret of [patientName, 'Wanderlust', STUDY, ...UIDS])
    t.notOk(car.includes(secret), 'nothing is in the open');

  await t.test('a Kubo takes it, and every block of its root', async (t) => {
    const kubo = await startKuboNode();
    t.teardown(() => kubo.stop());
    const said = (await kubo.ipfs('dag', 'import', '--stats', out)).toString();
    t.match(said, new RegExp(`Pinned root\\s+${root}\\s+success`));
    const refs = await kubo.ipfs('refs', '--offline', '--recursive', '--unique', root ?? '');
    const reached = new Set([root, ...refs.toString().trim().split('\n')]);
    t.strictSame(reached, new Set(blocks.keys()), 'the root leads to all that is in the file, and to nothing else');
    for (const cid of objects) t.ok(reached.has(cid));
    await kubo.ipfs('pin', 'verify');
    // What Kubo exports is the same study for us.
    await writeFile(join(folder, 'kubo.car'), await kubo.ipfs('dag', 'export', '--progress=false', root ?? ''));
  });

  await bridge.stop();
  t.match(await dagpacs(dataDir, ['car', 'export', STUDY, '--out', join(folder, 'again.car')]), { code: 0 });
  t.ok((await readFile(join(folder, 'again.car'))).equals(car), 'without a bridge, and again: the same bytes');
  t.match(await dagpacs(dataDir, ['car', 'export', '1.2.3']), { code: 2, stderr: /no such study/ });

  const held = await blocksOf(dataDir);
  const leaf = [...blocks].find(([, bytes]) => bytes.length === 1_048_576)?.[0] ?? '';
  const nodes = [...blocks.keys()].filter((cid) => cid.startsWith('bafyrei') && cid !== root && held.has(cid));
  const victims = [leaf, objects[1] ?? '', nodes[0] ?? ''];
  await damage(dataDir, victims);
  t.match(await dagpacs(dataDir, ['car', 'export', STUDY, '--out', join(folder, 'broken.car')]), { code: 1 });
  bridge = await startBridge({ dataDir, env });
  t.match(await dagpacs(dataDir, ['car', 'export', STUDY, '--out', join(folder, 'broken.car')]), { code: 1 });
  await t.rejects(readFile(join(folder, 'broken.car')), { code: 'ENOENT' }, 'half a file is none');

  const cut = Buffer.from(car);
  for (const [cid, bytes] of carBlocks(cut)) if (cid === leaf) bytes[5] = (bytes[5] as number) ^ 1;
  await writeFile(join(folder, 'cut.car'), cut);
  t.match(await dagpacs(dataDir, ['car', 'import', join(folder, 'cut.car')]), {
    code: 1,
    stdout: new RegExp(`fault: ${leaf}: the block is damaged in the CAR`),
  });
  t.match(await dagpacs(dataDir, ['car', 'import', join(folder, 'kubo.car')]), {
    code: 0,
    stdout: /3 versions, 0 of them new.*1 repaired, 0 stored\nno faults/,
  });
  t.match(
    await dagpacs(dataDir, ['car', 'import', out]),
    { code: 0, stdout: / 0 repaired, 0 stored\n/ },
    'once is enough',
  );
  for (const [cid, bytes] of await blocksOf(dataDir)) t.ok(held.get(cid)?.equals(bytes), `${cid} is what it was`);
  const [first = Buffer.alloc(0), second = Buffer.alloc(0), third = Buffer.alloc(0)] = FILES;
  t.ok((await allVersions(bridge.url, UIDS[0] ?? ''))[0]?.equals(first));
  t.strictSame(await allVersions(bridge.url, UIDS[1] ?? ''), [second, third]);

  for (const [name, bytes] of [
    ['no CAR', Buffer.from('<html>not a CAR file</html>')],
    ['an empty file', Buffer.alloc(0)],
    ['half a header', car.subarray(0, 20)],
    ['no root block', car.subarray(0, 60)],
    [
      'a CAR of something else',
      Buffer.concat([Buffer.from('19a265726f6f747381d82a4500015500006776657273696f6e01', 'hex')]),
    ],
  ] as const) {
    const { status } = await sendCar(bridge.url, bytes);
    t.equal(status, 400, name);
  }
  await writeFile(join(folder, 'bad.car'), '<html>');
  t.match(await dagpacs(dataDir, ['car', 'import', join(folder, 'bad.car')]), { code: 2, stderr: /no CAR file/ });
  t.equal((await sendCar(bridge.url, car, 'application/octet-stream')).status, 415);
  await bridge.stop();

  await t.test('a new bridge with the keys takes it, one without them does not', async (t) => {
    const fresh = await tempFolder(t);
    t.match(await dagpacs(fresh, ['car', 'import', out]), {
      code: 1,
      stdout: /is not in the vault[\s\S]* 0 stored/,
    });
    await rm(join(fresh, 'vault'), { recursive: true });
    await cp(join(dataDir, 'vault'), join(fresh, 'vault'), { recursive: true });
    await writeFile(join(folder, 'forged.car'), forge(blocks, nodes));
    t.match(await dagpacs(fresh, ['car', 'import', join(folder, 'forged.car')]), {
      code: 1,
      stdout: /^fault: bafyrei.*\n1 versions, 0 of them new/,
    });
    t.match(await dagpacs(fresh, ['car', 'import', out]), { code: 0, stdout: /3 versions, 3 of them new/ });
    const other = await startBridge({ dataDir: fresh, env });
    t.ok((await allVersions(other.url, UIDS[0] ?? ''))[0]?.equals(first));
    t.strictSame(await allVersions(other.url, UIDS[1] ?? ''), [second, third]);
    await untilStage(other.url, UIDS, 'anchored');
    await other.stop();
  });
});
