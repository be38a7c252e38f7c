import { test } from 'tap';
import { encodeDataset } from '../../src/dicom/encode.ts';
import { startAcceptor } from '../edges/dimse/raw-acceptor.ts';
import { associateRequest, command, data, rawPeer, readCommandNumbers } from '../edges/dimse/raw-peer.ts';
import { startBridge } from '../fixtures/bridge.ts';
import { IMPLICIT_LE, makeSeries, uid } from '../fixtures/dicom.ts';
import { stow } from '../fixtures/stow.ts';

const COMMITMENT = '1.2.840.10008.1.20.1';
const INSTANCE = '1.2.840.10008.1.20.1.1';
const CT = '1.2.840.10008.5.1.4.1.1.2';

test('commitment may wait for the chain, and is reported on an association of ours', async (t) => {
  let bridge: Awaited<ReturnType<typeof startBridge>> | undefined;
  const sop = uid('instance', 1, 'CT', 1, 1);
  const anchored = async () => {
    const custody = await (await fetch(`${bridge?.url}/custody/instances/${sop}`)).json();
    return (custody as { versions: { stages: Record<string, string | null> }[] }).versions[0]?.stages.anchored ?? null;
  };
  const reported = Promise.withResolvers<string | null>();
  const { port, requests } = await startAcceptor(t, () => {
    void anchored().then(reported.resolve, reported.reject);
    return 0;
  });
  const peers = [{ aeTitle: 'RAWPEER', host: '127.0.0.1', port, services: ['commit'] }];
  const env = {
    DAGPACS_AE_PEERS: JSON.stringify(peers),
    DAGPACS_COMMIT_AFTER: 'anchored',
    // Time enough to see that it is not anchored yet.
    DAGPACS_ANCHOR_MAX_AGE_MS: '3000',
  };
  bridge = await startBridge({ env });
  t.teardown(() => bridge?.stop());
  await stow(bridge.dicomWeb, makeSeries({ rows: 32, columns: 32, count: 1 }));
  const peer = await rawPeer(bridge.dimse.port);
  peer.send(associateRequest([{ id: 1, abstractSyntax: COMMITMENT, transferSyntaxes: [IMPLICIT_LE] }]));
  await peer.next();
  const information = {
    '00081195': { vr: 'UI', Value: ['2.25.5'] },
    '00081199': {
      vr: 'SQ',
      Value: [{ '00081150': { vr: 'UI', Value: [CT] }, '00081155': { vr: 'UI', Value: [sop] } }],
    },
  };
  const action = command({ 3: COMMITMENT, 256: 0x130, 272: 5, 2048: 0, 4097: INSTANCE, 4104: 1 });
  const bytes = encodeDataset(information, { implicit: true, bigEndian: false });
  peer.send(Buffer.concat([data(1, 3, action), data(1, 2, bytes)]));
  t.equal(readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0))[0x0900], 0, 'taken at once');
  t.equal(await anchored(), null, 'it is not anchored yet');
  peer.socket.destroy();
  t.ok(await reported.promise, 'anchored by the time of the report');
  t.match(requests, [{ command: { typeId: 1 }, roles: { scu: false, scp: true } }], 'all committed');
});
