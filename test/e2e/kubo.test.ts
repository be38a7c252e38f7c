import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { startBridge } from '../fixtures/bridge.ts';
import { carBlocks } from '../fixtures/car-blocks.ts';
import { custodyStatus, untilStage } from '../fixtures/custody.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { ipfs, skipKubo } from '../fixtures/kubo.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';

test("what is stored is in the bridge's own Kubo, block by block", { skip: skipKubo }, async (t) => {
  const bridge = await startBridge({ kubo: true, env: { DAGPACS_ANCHOR_MAX_AGE_MS: '100' } });
  t.teardown(() => bridge.stop());
  const folder = await tempFolder(t);
  const repo = join(bridge.dataDir, 'kubo');
  const patientName = 'Swarmwise^Silas';
  // One raw block, and a UnixFS file of several leaves.
  const slices = [
    makeSlice({ study: 'kubo', instance: 1, rows: 64, columns: 64, patientName }),
    makeSlice({ study: 'kubo', instance: 2, rows: 1100, columns: 1100, patientName }),
  ];
  t.equal((await stow(bridge.dicomWeb, slices)).status, 200);
  const custody = await untilStage(
    bridge.url,
    [1, 2].map((instance) => uid('instance', 'kubo', 'CT', 1, instance)),
    'replicated',
  );
  const versions = custody.flatMap((instance) => instance.versions);
  await untilStage(
    bridge.url,
    custody.map(({ sopInstanceUID }) => sopInstanceUID),
    'anchored',
  );
  t.match(await custodyStatus(bridge.url), { swarm: { state: 'connected' } });

  const pinned = (await ipfs(repo, 'pin', 'ls', '--type=recursive', '--quiet')).toString().trim().split('\n');
  const mine = new Map<string, Buffer>();
  const packs = (await readdir(join(bridge.dataDir, 'blocks'))).filter((name) => name.endsWith('.car'));
  for (const name of packs) {
    for (const [cid, bytes] of carBlocks(await readFile(join(bridge.dataDir, 'blocks', name)))) mine.set(cid, bytes);
  }

  for (const { cid, anchor } of versions) {
    t.ok(anchor && pinned.includes(anchor.record), 'the record is pinned');
    const reached = (await ipfs(repo, 'refs', '--offline', '--recursive', '--unique', anchor?.record ?? ''))
      .toString()
      .trim()
      .split('\n');
    t.ok(reached.includes(cid), 'the sealed object hangs on it');
    for (const each of [anchor?.record ?? '', ...reached]) {
      const theirs = await ipfs(repo, 'block', 'get', '--offline', each);
      t.ok(mine.get(each)?.equals(theirs), `${each}: ${theirs.length} bytes, equal on both sides`);
    }
    const sealed = await ipfs(repo, 'cat', '--offline', cid);
    t.notOk(sealed.includes(patientName), 'it is sealed');
    const path = join(folder, cid);
    await writeFile(path, sealed);
    const added = await ipfs(
      repo,
      'add',
      '--only-hash',
      '--quieter',
      '--cid-version=1',
      '--raw-leaves',
      '--chunker=size-1048576',
      path,
    );
    t.equal(added.toString().trim(), cid, 'and its CID is the one that ipfs add gives');
  }
});
