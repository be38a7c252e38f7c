import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import type { ScrubReport } from '../../src/flows/objects/scrub-report.ts';
import { startBridge } from '../fixtures/bridge.ts';
import { allVersions } from '../fixtures/custody.ts';
import { storescu } from '../fixtures/dcmtk.ts';
import { makeSlice, uid } from '../fixtures/dicom.ts';
import { mountSmallDisk, skipSmallDisk, unmount } from '../fixtures/small-disk.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

const MEBIBYTE = 1 << 20;

function slice(instance: number): Buffer {
  // Every third has a whole leaf in the log before its end comes.
  const side = instance % 3 === 0 ? 800 : 300;
  return makeSlice({ study: 'full', instance, rows: side, columns: side });
}

test('a full disk is overload, and nothing that was promised is lost', { skip: skipSmallDisk }, async (t) => {
  const folder = await tempFolder(t);
  mountSmallDisk(folder, 40 * MEBIBYTE);
  t.teardown(() => unmount(folder));
  const dataDir = join(folder, 'data');
  const filler = join(folder, 'filler');
  const env = { DAGPACS_DISK_HEADROOM: '0', DAGPACS_ANCHOR_MAX_AGE_MS: '200' };
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  await writeFile(filler, Buffer.alloc(24 * MEBIBYTE));

  const promised: number[] = [];
  const refused: number[] = [];
  for (let instance = 1; refused.length < 12 && instance < 100; instance += 1) {
    const { status, retryAfter } = await stow(bridge.dicomWeb, [slice(instance)]);
    if (status === 200) promised.push(instance);
    else {
      refused.push(instance);
      t.equal(status, 503);
      t.ok(Number(retryAfter) > 0);
    }
  }
  t.ok(promised.length > 5 && refused.length === 12, 'it was full');

  const whole = async (when: string) => {
    for (const instance of promised) {
      const [bytes] = await allVersions(bridge.url, uid('instance', 'full', 'CT', 1, instance));
      t.ok(bytes?.equals(slice(instance)), `${instance} ${when}`);
    }
  };
  await whole('while the disk is full');
  await rm(filler);
  // The free space is looked at twice a second.
  await sleep(600);
  for (const instance of refused.slice(0, 3)) {
    t.equal((await stow(bridge.dicomWeb, [slice(instance)])).status, 200, 'without a restart');
    promised.push(instance);
  }
  await bridge.kill();
  bridge = await startBridge({ dataDir, env });
  await whole('after the end of the process');
  const response = await fetch(`${bridge.url}/custody/scrub`, { method: 'POST' });
  const report = JSON.parse((await response.text()).trim().split('\n').at(-1) ?? '') as ScrubReport;
  t.match(report, { versions: promised.length, missing: 0, damaged: 0 });
});

test('instances that begin together do not take the head room', {
  skip: skipSmallDisk || skipWithout('storescu'),
}, async (t) => {
  const folder = await tempFolder(t);
  const files = await tempFolder(t);
  mountSmallDisk(folder, 64 * MEBIBYTE);
  t.teardown(() => unmount(folder));
  const env = { DAGPACS_DISK_HEADROOM: String(32 * MEBIBYTE), DAGPACS_ANCHOR_MAX_AGE_MS: '200' };
  const bridge = await startBridge({ dataDir: join(folder, 'data'), env });
  t.teardown(() => bridge.stop());
  const names = Array.from({ length: 6 }, (_, i) => join(files, `${i}.dcm`));
  for (const [i, name] of names.entries())
    await writeFile(name, makeSlice({ study: 'together', instance: i + 1, rows: 2200, columns: 2200 }));
  const outputs = await Promise.all(names.map((name) => storescu(bridge.dimse, [name], '-d')));
  const statuses = outputs.map(({ output }) => /DIMSE Status\s*: (0x[0-9a-f]{4})/.exec(output)?.[1]);
  t.ok(statuses.includes('0xa700'), 'not all of them are taken');
  t.strictSame(
    statuses.filter((status) => status !== '0xa700' && status !== '0x0000'),
    [],
  );
  const { bavail, bsize } = await statfs(folder);
  // What is open in the index's own files is not counted.
  t.ok(bavail * bsize > 28 * MEBIBYTE, `${bavail * bsize} bytes are left`);
});
