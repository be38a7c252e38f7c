import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import type { DicomJson } from '../../src/dicom/model.ts';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { makeSlice } from '../fixtures/dicom.ts';
import { findscu } from '../fixtures/findscu.ts';
import { scanBytes } from '../fixtures/scanning.ts';
import { retrieve, stow } from '../fixtures/stow.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';
import { onPath } from '../fixtures/tools.ts';

interface Custody {
  versions: {
    stage: string;
    receivedFrom: string;
    rejection?: { at: string; by: string; reason: string; note: string };
  }[];
}

const SMALL = { rows: 16, columns: 16 };
const slice = (series: number, instance: number, more: object = {}) =>
  makeSlice({ ...SMALL, study: 7, series, instance, ...more });
const remove = (bridge: Bridge, path: string) => fetch(`${bridge.dicomWeb}${path}`, { method: 'DELETE' });

async function json<T>(bridge: Bridge, path: string): Promise<T> {
  const response = await fetch(`${bridge.dicomWeb}${path}`);
  if (response.status !== 200) throw new Error(`${path}: ${response.status}`);
  return (await response.json()) as T;
}

test('what is deleted is hidden, provable, and stays so', async (t) => {
  const dataDir = await makeTempFolder();
  t.teardown(() => removeFolder(dataDir));
  const env = { DAGPACS_ANCHOR_MAX_AGE_MS: '100' };
  let bridge = await startBridge({ dataDir, env });
  t.teardown(() => bridge.stop());
  const [first, second, wrong, other] = [
    slice(1, 1),
    slice(1, 2),
    slice(1, 3, { patientName: 'WRONG^PATIENT' }),
    slice(2, 1),
  ];
  await stow(bridge.dicomWeb, [first, second, other, wrong]);
  const { studyInstanceUID: study, seriesInstanceUID: series, sopInstanceUID: sop } = await scanBytes(wrong);
  const { seriesInstanceUID: otherSeries, sopInstanceUID: otherSop } = await scanBytes(other);
  const at = `/studies/${study}/series/${series}/instances/${sop}`;
  const custody = async (uid: string) =>
    (await (await fetch(`${bridge.url}/custody/instances/${uid}`)).json()) as Custody;
  const tagOf = async (path: string) =>
    (await fetch(`${bridge.dicomWeb}${path}`, { method: 'HEAD' })).headers.get('etag');

  const before = await tagOf(`/studies/${study}/metadata`);
  for (const [path, status] of [
    [`${at}?reason=1`, 400],
    [`${at}0`, 404],
    [`/studies/${study}/series/x`, 400],
    [`/studies/1.2.3`, 404],
  ] as const) {
    t.equal((await remove(bridge, path)).status, status, path);
  }

  t.equal((await remove(bridge, `${at}?reason=113001`)).status, 204);
  t.not(await tagOf(`/studies/${study}/metadata`), before, 'cached metadata are not valid any more');
  t.equal((await remove(bridge, at)).status, 404, 'once');
  for (const path of [at, `${at}/metadata`, `${at}/frames/1`, `${at}/rendered`, `${at}/bulkdata/7FE00010`]) {
    t.equal((await fetch(`${bridge.dicomWeb}${path}`)).status, 404, path);
  }
  t.equal((await json<DicomJson[]>(bridge, `/studies/${study}/metadata`)).length, 3);
  t.equal((await json<DicomJson[]>(bridge, '/instances')).length, 3);
  t.equal((await retrieve(bridge.dicomWeb, `/studies/${study}`)).length, 3);
  const [row] = await json<DicomJson[]>(bridge, '/studies?PatientName=WRONG*&includefield=PatientID');
  t.equal(row, undefined, 'the study is what its other instances say');
  const [left] = await json<[DicomJson]>(bridge, '/studies');
  t.strictSame([left['00201206']?.Value, left['00201208']?.Value], [[2], [3]]);
  t.strictSame(left['00080061']?.Value, ['CT'], 'the note is not a modality of the study');
  if (onPath('findscu')) {
    const keys = [
      'QueryRetrieveLevel=IMAGE',
      `StudyInstanceUID=${study}`,
      `SeriesInstanceUID=${series}`,
      'SOPInstanceUID',
    ];
    t.equal((await findscu(bridge.dimse, keys, '-S')).datasets.length, 2);
  }

  const [version] = (await custody(sop)).versions;
  t.match(version?.rejection, {
    at: /^\d{4}-.*Z$/,
    by: /^http:.*127\.0\.0\.1$/,
    reason: '113001',
    note: /^2\.25\.\d+$/,
  });
  const note = version?.rejection?.note ?? '';
  t.match((await custody(note)).versions[0]?.receivedFrom, /^delete:http:/);
  t.equal(
    (await fetch(`${bridge.url}/custody/instances/${sop}/versions/1`)).status,
    200,
    'the bytes are there for who has to prove them',
  );
  for (const uid of [sop, note]) {
    let status = 0;
    for (let tries = 0; status !== 200 && tries < 200; tries++) {
      status = (await fetch(`${bridge.url}/custody/instances/${uid}/receipt`)).status;
      if (status !== 200) await sleep(100);
    }
    t.equal(status, 200, 'a receipt, of the note too');
  }
  const committed = await fetch(`${bridge.dicomWeb}/commitment-requests/2.25.1`, {
    method: 'POST',
    headers: { 'content-type': 'application/dicom+json' },
    body: JSON.stringify({
      '00081199': {
        vr: 'SQ',
        Value: [
          { '00081150': { vr: 'UI', Value: ['1.2.840.10008.5.1.4.1.1.2'] }, '00081155': { vr: 'UI', Value: [sop] } },
        ],
      },
    }),
  });
  t.match(await committed.text(), /"00081197":\{"vr":"US","Value":\[274\]\}/);

  const again = await stow(bridge.dicomWeb, [wrong]);
  t.match(again, { status: 409, failed: [{ reason: 0x0111, text: /rejected/ }] });
  const corrected = await stow(bridge.dicomWeb, [slice(1, 3)]);
  t.equal(corrected.status, 200, 'other bytes are a correction');
  t.equal((await json<DicomJson[]>(bridge, '/instances')).length, 4);
  t.equal((await stow(bridge.dicomWeb, [wrong])).status, 409, 'the rejected bytes stay rejected');

  t.equal((await remove(bridge, `/studies/${study}/series/${otherSeries}?reason=113039`)).status, 204);
  t.equal((await fetch(`${bridge.dicomWeb}/studies/${study}/series/${otherSeries}/metadata`)).status, 404);
  t.equal((await json<DicomJson[]>(bridge, '/series')).length, 1);
  t.equal((await stow(bridge.dicomWeb, [other])).status, 200, 'what expired may come back');
  t.equal((await json<DicomJson[]>(bridge, '/series')).length, 2);
  t.match((await custody(otherSop)).versions, [{ rejection: { reason: '113039' } }, { rejection: undefined }]);

  t.equal((await remove(bridge, `/studies/${study}`)).status, 204);
  const gone = async () => {
    t.strictSame(await json(bridge, '/studies'), []);
    t.strictSame(await json(bridge, '/patients'), []);
    t.strictSame(await json(bridge, '/instances?SOPInstanceUID=*'), []);
    t.equal((await fetch(`${bridge.dicomWeb}/studies/${study}`)).status, 404);
    const status = (await (await fetch(`${bridge.url}/custody/status`)).json()) as { counts: object };
    t.match(status.counts, { studies: 0, series: 0, instances: 0 });
    t.match((await custody(otherSop)).versions[1]?.rejection?.reason, 'unspecified');
  };
  await gone();
  const receipt = await fetch(`${bridge.url}/custody/studies/${study}/receipt`);
  t.equal(receipt.status, 200, 'the study can be proved');

  await bridge.kill();
  bridge = await startBridge({ dataDir, env });
  await gone();
  await bridge.stop();
  await rm(join(dataDir, 'index.sqlite'));
  bridge = await startBridge({ dataDir, env: { ...env, DAGPACS_DELETE: 'off' } });
  await gone();

  const off = await remove(bridge, `/studies/${study}`);
  t.equal(off.status, 405);
  t.notMatch(off.headers.get('allow'), /DELETE/);
});
