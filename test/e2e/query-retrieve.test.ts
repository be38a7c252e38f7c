import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { startBridge } from '../fixtures/bridge.ts';
import { runTool, startRecorder } from '../fixtures/dcmtk.ts';
import { makeSeries, uid } from '../fixtures/dicom.ts';
import { findscu } from '../fixtures/findscu.ts';
import { datasetOf, metaOf } from '../fixtures/part10.ts';
import { stow } from '../fixtures/stow.ts';
import { tempFolder } from '../fixtures/temp.ts';
import { skipWithout } from '../fixtures/tools.ts';

const skip = skipWithout('findscu', 'movescu', 'storescp', 'dcm2json');

test('a workstation finds and moves what was pushed, and a stranger does not', { skip }, async (t) => {
  const folder = join(await tempFolder(t), 'received');
  await mkdir(folder);
  const workstation = await startRecorder(folder);
  t.teardown(() => workstation.stop());
  const { host, port, aeTitle } = workstation;
  const peers = [{ aeTitle, host, port, services: ['echo', 'find', 'move'] }];
  const bridge = await startBridge({ env: { DAGPACS_AE_PEERS: JSON.stringify(peers) } });
  t.teardown(() => bridge.stop());
  const files = makeSeries({ rows: 64, columns: 64, count: 3 });
  const { stored } = await stow(bridge.dicomWeb, files);
  t.equal(stored.length, 3);

  const study = uid('study', 1);
  const keys = ['QueryRetrieveLevel=STUDY', `StudyInstanceUID=${study}`, 'NumberOfStudyRelatedInstances'];
  const found = await findscu(bridge.dimse, keys, '-S', '-aet', aeTitle);
  t.match(found.datasets, [{ '00201208': { Value: [3] } }]);
  const stranger = await findscu(bridge.dimse, keys, '-S', '-aet', 'STRANGER');
  t.match(stranger.output, /Calling AE Title Not Recognized/);

  const moved = await runTool('movescu', [
    ...['-S', '-aet', aeTitle, '-aem', aeTitle, '-aec', bridge.dimse.aeTitle],
    ...['-k', 'QueryRetrieveLevel=STUDY', '-k', `StudyInstanceUID=${study}`],
    ...[bridge.dimse.host, String(bridge.dimse.port)],
  ]);
  t.equal(moved.code, 0, moved.output);
  const received = await workstation.files();
  t.equal(received.length, 3);
  for (const file of files) {
    const same = received.find((other) => metaOf(other)['00020003'] === metaOf(file)['00020003']);
    t.ok(same && datasetOf(same).equals(datasetOf(file)));
  }

  const sent = await fetch(`${bridge.url}/dimse/${aeTitle}/send?StudyInstanceUID=${study}`, { method: 'POST' });
  t.equal(sent.status, 200);
  const steps = (await sent.text()).trimEnd().split('\n');
  t.strictSame(JSON.parse(steps.at(-1) ?? ''), { remaining: 0, completed: 3, failed: 0, warning: 0, failedUIDs: [] });
  for (const [path, status] of [
    [`NOBODY/send?StudyInstanceUID=${study}`, 404],
    [`${aeTitle}/send?StudyInstanceUID=1.2.3`, 404],
    [`${aeTitle}/send`, 400],
    [`${aeTitle}/send?StudyInstanceUID=${study}&SOPInstanceUID=1.2`, 400],
  ] as const) {
    t.equal((await fetch(`${bridge.url}/dimse/${path}`, { method: 'POST' })).status, status, path);
  }
  const command = (...args: string[]) =>
    runTool(process.execPath, ['src/cli.ts', ...args], { DAGPACS_DATA_DIR: bridge.dataDir });
  const byCommand = await command('send', aeTitle, study);
  t.equal(byCommand.code, 0, byCommand.output);
  t.match(byCommand.output, /"completed":3,"failed":0/);
  t.equal((await command('send', 'NOBODY', study)).code, 2);

  const echoed = await command('echo', aeTitle);
  t.equal(echoed.code, 0, echoed.output);
  t.match(echoed.output, /^RECORDER answered in \d+\.\d ms\n/);
  t.equal((await command('echo', 'NOBODY')).code, 2);
  await workstation.stop();
  const silent = await command('echo', aeTitle);
  t.equal(silent.code, 1, 'the answer is no');
  t.match(silent.output, /The peer cannot be reached/);
  t.equal((await fetch(`${bridge.url}/dimse/${aeTitle}/echo`, { method: 'POST' })).status, 502);
});
