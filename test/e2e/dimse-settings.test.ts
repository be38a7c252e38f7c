import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { startBridge } from '../fixtures/bridge.ts';
import { storescu } from '../fixtures/dcmtk.ts';
import { makeSlice } from '../fixtures/dicom.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

test('A700 before the disk is full, and storage classes that are not taken', {
  skip: skipWithout('storescu'),
}, async (t) => {
  const env = {
    DAGPACS_DISK_HEADROOM: String(2 ** 52),
    DAGPACS_DIMSE_SOP_CLASSES: '1.2.840.10008.5.1.4.1.1.2',
  };
  const bridge = await startBridge({ env });
  t.teardown(() => bridge.stop());
  const folder = await tempFolder(t);
  const [ct, mr] = [join(folder, 'ct.dcm'), join(folder, 'mr.dcm')];
  await writeFile(ct, makeSlice({ rows: 16, columns: 16 }));
  await writeFile(mr, makeSlice({ rows: 16, columns: 16, modality: 'MR' }));
  const full = await storescu(bridge.dimse, [ct], '-d');
  t.match(full.output, /DIMSE Status\s*: 0xa700/);
  t.match(full.output, /bytes of the disk stay free/, 'and why');
  const other = await storescu(bridge.dimse, [mr], '-d');
  t.match(other.output, /No presentation context for/i);
  const custody = (await (await fetch(`${bridge.url}/custody/status`)).json()) as { stages: Record<string, number> };
  t.ok(
    Object.values(custody.stages).every((count) => count === 0),
    'nothing is stored',
  );
});
