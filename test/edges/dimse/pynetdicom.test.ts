import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { runTool } from '../../fixtures/dcmtk.ts';
import { makeSeries, uid } from '../../fixtures/dicom.ts';
import { metaOf } from '../../fixtures/part10.ts';
import { freePorts } from '../../fixtures/ports.ts';
import { tempFolder } from '../../fixtures/temp.ts';
import { startArchive } from './archive.ts';

/** A Python that has pynetdicom: a peer that is not made of DCMTK, for those who have it. */
const python = process.env.DAGPACS_TEST_PYTHON ?? 'python3';
const has = spawnSync(python, ['-c', 'import pynetdicom']).status === 0;
const skip =
  has || process.env.DAGPACS_TEST_REQUIRE === 'all'
    ? false
    : 'needs pynetdicom (pip install pynetdicom), in the Python of DAGPACS_TEST_PYTHON';
const ALL = ['echo', 'store', 'find', 'move', 'get', 'commit'] as const;

test('pynetdicom: every service, over one association', { skip }, async (t) => {
  const [port = 0] = await freePorts(1);
  const peers = [{ aeTitle: 'PYNETDICOM', host: '127.0.0.1', port, services: ALL }];
  const { to } = await startArchive(t, { peers, commitGraceMs: 5 });
  const folder = await tempFolder(t);
  const files = makeSeries({ rows: 64, columns: 64, count: 3 });
  const paths = files.map((_, i) => join(folder, `${i}.dcm`));
  for (const [i, file] of files.entries()) await writeFile(paths[i] as string, file);
  const script = join(import.meta.dirname, '..', '..', 'fixtures', 'pynetdicom_peer.py');
  const ran = await runTool(python, [script, to.host, String(to.port), String(port), uid('study', 1), ...paths]);
  t.equal(ran.code, 0, ran.output);
  const sops = files.map((file) => metaOf(file)['00020003'] as string).sort();
  t.strictSame(JSON.parse(ran.output.trim().split('\n').at(-1) ?? ''), {
    established: true,
    echo: 0,
    store: [0, 0, 0],
    find: [0xff00, 0],
    name: 'Phantom^Paula',
    count: 3,
    get: 0,
    move: 0,
    moved: 3,
    action: 0,
    report: { event: 2, committed: 3, failed: [0x0112] },
    received: { get: sops, move: sops },
  });
});
