import { test } from 'tap';
import { startBridge } from '../fixtures/bridge.ts';
import { custodyOf, untilStage, versionBytes } from '../fixtures/custody.ts';
import { EXPLICIT_LE, IMPLICIT_LE, makeSlice, uid } from '../fixtures/dicom.ts';
import { datasetOf } from '../fixtures/part10.ts';
import { connectScu } from '../fixtures/raw-scu.ts';
import { retrieve, stow } from '../fixtures/stow.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const small = { rows: 32, columns: 32, study: 'versions' };
const sop = uid('instance', 'versions', 'CT', 1, 1);
const path = `/studies/${uid('study', 'versions')}/series/${uid('series', 'versions', 'CT', 1)}/instances/${sop}`;
const first = makeSlice(small);
const second = makeSlice({ ...small, patientName: 'Phantom^Renamed' });
const third = makeSlice({ ...small, transferSyntaxUID: IMPLICIT_LE });

function wire(file: Buffer, transferSyntaxUID = EXPLICIT_LE) {
  return { sopClassUID: CT, sopInstanceUID: sop, transferSyntaxUID, dataset: datasetOf(file) };
}

test('the same instance again, and other bytes under its UID', async (t) => {
  const bridge = await startBridge({ env: { DAGPACS_ANCHOR_MAX_AGE_MS: '100' } });
  t.teardown(() => bridge.stop());
  const count = async () => (await custodyOf(bridge.url, sop)).versions.length;
  const current = async () => (await retrieve(bridge.dicomWeb, path)).map(({ body }) => body);
  const store = async (file: Buffer, transferSyntaxUID?: string) => {
    const scu = await connectScu(bridge.dimse, [wire(file, transferSyntaxUID)]);
    const { status } = await scu.store(wire(file, transferSyntaxUID));
    await scu.release();
    return status;
  };

  t.equal((await stow(bridge.dicomWeb, [first])).status, 200);
  t.equal((await stow(bridge.dicomWeb, [first])).status, 200, 'again by STOW: success');
  t.equal(await store(first), 0, 'again by C-STORE: success');
  t.equal((await stow(bridge.dicomWeb, [makeSlice({ ...small, meta: { '00020016': ['AE', 'OTHER'] } })])).status, 200);
  t.equal((await stow(bridge.dicomWeb, [first, first])).status, 200, 'twice in one request');
  t.equal(await count(), 1, 'stored once: file meta information does not count');

  t.equal(await store(second), 0, 'other bytes: success');
  t.equal(await count(), 2, 'a new version');
  const [now] = await current();
  t.ok(now && datasetOf(now).equals(datasetOf(second)), 'which is the current one');
  t.ok((await versionBytes(bridge.url, sop, 1)).equals(first), 'the old one is there');
  const studies = (await (await fetch(`${bridge.dicomWeb}/studies?PatientName=Phantom^Renamed`)).json()) as unknown[];
  t.equal(studies.length, 1, 'queries see the current one');

  t.equal((await stow(bridge.dicomWeb, [first])).status, 200, 'the old one again: success');
  t.equal(await count(), 2);
  t.ok((await current())[0]?.equals(now as Buffer), 'changes nothing');

  t.equal(await store(third, IMPLICIT_LE), 0);
  t.equal(await count(), 3, 'another transfer syntax is another version');

  const [custody] = await untilStage(bridge.url, [sop], 'anchored');
  t.equal(
    new Set(custody?.versions.map(({ anchor }) => `${anchor?.batch} ${anchor?.leafIndex}`)).size,
    3,
    'all are anchored',
  );

  const elsewhere = makeSlice({ ...small, study: 'elsewhere', overrides: { '00080018': ['UI', sop] } });
  const refused = await stow(bridge.dicomWeb, [elsewhere]);
  t.equal(refused.status, 409, 'the UID in another study is refused');
  t.equal(refused.failed[0]?.sopInstanceUID, sop);
  t.not(await store(elsewhere), 0, 'by C-STORE too');
  t.equal(await count(), 3);

  const other = makeSlice({ ...small, study: 'announced' });
  t.equal((await stow(bridge.dicomWeb, [other], uid('study', 'versions'))).status, 409, "not the path's study");
});

for (const [policy, status] of [
  ['conflict', 409],
  ['first-wins', 200],
] as const) {
  test(`DAGPACS_CONFLICT_POLICY=${policy}`, async (t) => {
    const bridge = await startBridge({ env: { DAGPACS_CONFLICT_POLICY: policy } });
    t.teardown(() => bridge.stop());
    t.equal((await stow(bridge.dicomWeb, [first])).status, 200);
    t.equal((await stow(bridge.dicomWeb, [second])).status, status);
    t.equal((await custodyOf(bridge.url, sop)).versions.length, 1);
    t.ok((await retrieve(bridge.dicomWeb, path))[0]?.body.equals(first), 'the first stays');
  });
}
