import { test } from 'tap';
import { makeSeries, uid } from '../../fixtures/dicom.ts';
import { skipOrthanc, startOrthanc } from '../../fixtures/orthanc.ts';
import { datasetOf, metaOf } from '../../fixtures/part10.ts';
import { freePorts } from '../../fixtures/ports.ts';
import { startArchive } from './archive.ts';
import { startCollector } from './collector.ts';

const ALL = ['echo', 'store', 'find', 'move', 'get', 'commit'] as const;

test('Orthanc verifies and pushes', { skip: skipOrthanc }, async (t) => {
  const { listener, instances } = await startCollector();
  t.teardown(() => listener.close());
  const { host, port } = listener.address;
  const orthanc = await startOrthanc({ config: { DicomModalities: { bridge: ['DAGPACS', host, port] } } });
  t.teardown(() => orthanc.stop());
  const post = async (path: string, ...body: (string | Uint8Array<ArrayBuffer>)[]) => {
    const response = await fetch(`${orthanc.url}${path}`, { method: 'POST', body: new Blob(body) });
    t.equal(response.status, 200, path);
    return (await response.json()) as { ID?: string; FailedInstancesCount?: number };
  };
  const files = makeSeries({ count: 5, rows: 128, columns: 128 });
  const ids: (string | undefined)[] = [];
  for (const file of files) ids.push((await post('/instances', new Uint8Array(file))).ID);
  await post('/modalities/bridge/echo', '{}');
  const pushed = await post('/modalities/bridge/store', JSON.stringify(ids));
  t.equal(pushed.FailedInstancesCount, 0);
  t.equal(instances.length, files.length);
  for (const [i, file] of files.entries()) {
    const got = instances.find(({ expect }) => expect?.sopInstanceUID === uid('instance', 1, 'CT', 1, i + 1));
    t.equal(got?.from, 'dimse:ORTHANC@127.0.0.1');
    t.equal(got && metaOf(got.bytes)['00020010'], metaOf(file)['00020010']);
    // It encodes sequences anew, and leaves pixels alone.
    const pixels = datasetOf(file).subarray(-128 * 128 * 2);
    t.ok(got?.bytes.subarray(-pixels.length).equals(pixels));
  }
});

test('Orthanc queries and retrieves, and is sent to', { skip: skipOrthanc }, async (t) => {
  const [dicomPort = 0] = await freePorts(1);
  const orthancPeer = { aeTitle: 'ORTHANC', host: '127.0.0.1', port: dicomPort, services: ALL };
  const { listener, keep } = await startArchive(t, { peers: [orthancPeer] });
  const { host, port } = listener.address;
  const config = { DicomPort: dicomPort, DicomModalities: { bridge: ['DAGPACS', host, port] } };
  const orthanc = await startOrthanc({ config });
  t.teardown(() => orthanc.stop());
  const files = makeSeries({ count: 5, rows: 128, columns: 128 });
  for (const file of files) await keep(file);
  const call = async (path: string, body?: object) => {
    const init = body ? { method: 'POST', body: JSON.stringify(body) } : {};
    const response = await fetch(`${orthanc.url}${path}`, init);
    t.equal(response.status, 200, path);
    return response.json();
  };
  const { ID: query } = (await call('/modalities/bridge/query', {
    Level: 'Study',
    Query: { PatientName: 'Phantom*', StudyInstanceUID: '', ModalitiesInStudy: '' },
  })) as { ID: string };
  const answers = (await call(`/queries/${query}/answers?expand&simplify`)) as Record<string, string>[];
  t.match(answers, [{ StudyInstanceUID: uid('study', 1), ModalitiesInStudy: 'CT', RetrieveAETitle: 'DAGPACS' }]);
  await call(`/queries/${query}/answers/0/retrieve`, { TargetAet: 'ORTHANC', Synchronous: true });
  const kept = (await call('/instances?expand')) as { MainDicomTags: { SOPInstanceUID: string } }[];
  t.strictSame(
    kept.map(({ MainDicomTags }) => MainDicomTags.SOPInstanceUID).sort(),
    files.map((file) => metaOf(file)['00020003']).sort(),
  );
});
