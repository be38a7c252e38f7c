import { test } from 'tap';
import { nativeModelOf } from '../../src/dicom/native-model.ts';
import { readNativeModel } from '../../src/dicom/read-native-model.ts';
import { type Bridge, startBridge } from '../fixtures/bridge.ts';
import { makeSeries } from '../fixtures/dicom.ts';
import { scanBytes } from '../fixtures/scanning.ts';
import { stow } from '../fixtures/stow.ts';
import { makeTempFolder, removeFolder } from '../fixtures/temp.ts';

const item = (sopClass: string, sop: string) => ({
  '00081150': { vr: 'UI', Value: [sopClass] },
  '00081155': { vr: 'UI', Value: [sop] },
});
const module = (...items: object[]) => ({ '00081199': { vr: 'SQ', Value: items as never[] } });

test('storage commitment over the web', async (t) => {
  const dataDir = await makeTempFolder();
  t.teardown(() => removeFolder(dataDir));
  let bridge = await startBridge({ dataDir });
  const [file] = makeSeries({ count: 1 }) as [Buffer];
  const { sopClassUID, sopInstanceUID } = await scanBytes(file);
  await stow(bridge.dicomWeb, [file]);
  const request = (uid: string, body: string, type = 'application/dicom+json', accept = 'application/dicom+json') =>
    fetch(`${bridge.dicomWeb}/commitment-requests/${uid}`, {
      method: 'POST',
      headers: { 'content-type': type, accept },
      body,
    });
  const check = (uid: string) => fetch(`${bridge.dicomWeb}/commitment-requests/${uid}`);

  const asked = module(item(sopClassUID, sopInstanceUID), item(sopClassUID, '1.2.3'), item('1.2', sopInstanceUID));
  const expected = {
    '00081198': {
      vr: 'SQ',
      Value: [
        { ...item(sopClassUID, '1.2.3'), '00081197': { vr: 'US', Value: [0x0112] } },
        { ...item('1.2', sopInstanceUID), '00081197': { vr: 'US', Value: [0x0119] } },
      ],
    },
    '00081199': { vr: 'SQ', Value: [item(sopClassUID, sopInstanceUID)] },
  };
  const answer = await request('2.25.1', JSON.stringify(asked));
  t.equal(answer.status, 200);
  t.equal(answer.headers.get('content-type'), 'application/dicom+json');
  t.strictSame(await answer.json(), expected);
  t.strictSame(await (await check('2.25.1')).json(), expected, 'and again for who asks');

  const xml = await request('2.25.2', nativeModelOf(asked), 'application/dicom+xml', 'application/dicom+xml');
  t.equal(xml.status, 200);
  t.match(readNativeModel(await xml.text()), { '00081199': { Value: [item(sopClassUID, sopInstanceUID)] } });

  const cases: [string, string, string, number, string][] = [
    ['2.25.1', JSON.stringify(asked), 'application/dicom+json', 409, 'transactionUID'],
    ['x', JSON.stringify(asked), 'application/dicom+json', 400, 'transactionUID'],
    ['2.25.3', JSON.stringify(asked), 'text/plain', 415, 'Content-Type'],
    ['2.25.3', '{', 'application/dicom+json', 400, 'DataSet'],
    ['2.25.3', '[]', 'application/dicom+json', 400, 'ReferencedSOPSequence'],
    ['2.25.3', '{}', 'application/dicom+json', 400, 'ReferencedSOPSequence'],
    ['2.25.3', JSON.stringify(module(item('', '1.2'))), 'application/dicom+json', 400, 'ReferencedSOPSequence'],
    ['2.25.3', '<a/>', 'application/dicom+xml', 400, 'DataSet'],
    ['2.25.3', ' '.repeat(17 << 20), 'application/dicom+json', 413, 'Content-Length'],
  ];
  for (const [uid, body, type, status, attribute] of cases) {
    const refused = await request(uid, body, type);
    t.equal(refused.status, status, `${type} ${body.slice(0, 40)}`);
    t.match(await refused.json(), { attribute, rule: String });
  }
  t.equal((await request('2.25.3', JSON.stringify(asked), 'application/dicom+json', 'text/html')).status, 406);
  t.equal((await check('2.25.3')).status, 404, 'what was refused is not kept');

  await bridge.stop();
  bridge = await startBridge({
    dataDir,
    env: {
      DAGPACS_COMMIT_AFTER: 'anchored',
      DAGPACS_CHAIN_RPC: 'http://127.0.0.1:9',
      DAGPACS_ANCHOR_MAX_AGE_MS: '100000',
    },
  });
  t.teardown(() => (bridge as Bridge).stop());
  const waiting = await check('2.25.1');
  t.equal(waiting.status, 202, 'requests outlive a restart; what committed means is a setting');
  t.ok(Number(waiting.headers.get('retry-after')) > 0);
  t.equal((await request('2.25.4', JSON.stringify(module(item(sopClassUID, sopInstanceUID))))).status, 202);
  t.equal((await request('2.25.5', JSON.stringify(module(item(sopClassUID, '1.2.3'))))).status, 200);
});
