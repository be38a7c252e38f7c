import { setTimeout as sleep } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { encodeDataset } from '../../src/dicom/encode.ts';
import { startAcceptor } from '../edges/dimse/raw-acceptor.ts';
import { associateRequest, command, data, rawPeer, readCommandNumbers } from '../edges/dimse/raw-peer.ts';
import { startBridge } from '../fixtures/bridge.ts';
import { custodyOf } from '../fixtures/custody.ts';
import { IMPLICIT_LE, makeSeries, uid } from '../fixtures/dicom.ts';
import { skipKubo, startKuboNode } from '../fixtures/kubo.ts';
import { stow } from '../fixtures/stow.ts';
import { startTcpProxy } from '../fixtures/tcp-proxy.ts';
import { tempFolder } from '../fixtures/temp.ts';

const COMMITMENT = '1.2.840.10008.1.20.1';
const INSTANCE = '1.2.840.10008.1.20.1.1';
const CT = '1.2.840.10008.5.1.4.1.1.2';
const SOP = uid('instance', 1, 'CT', 1, 1);

const stageOf = async (url: string, stage: 'anchored' | 'replicated') =>
  (await custodyOf(url, SOP)).versions[0]?.stages[stage] ?? null;

/** Asks for one instance, and goes. */
async function ask(port: number): Promise<number | undefined> {
  const peer = await rawPeer(port);
  peer.send(associateRequest([{ id: 1, abstractSyntax: COMMITMENT, transferSyntaxes: [IMPLICIT_LE] }]));
  await peer.next();
  const information = {
    '00081195': { vr: 'UI', Value: ['2.25.5'] },
    '00081199': {
      vr: 'SQ',
      Value: [{ '00081150': { vr: 'UI', Value: [CT] }, '00081155': { vr: 'UI', Value: [SOP] } }],
    },
  };
  const action = command({ 3: COMMITMENT, 256: 0x130, 272: 5, 2048: 0, 4097: INSTANCE, 4104: 1 });
  const bytes = encodeDataset(information, { implicit: true, bigEndian: false });
  peer.send(Buffer.concat([data(1, 3, action), data(1, 2, bytes)]));
  const status = readCommandNumbers((await peer.next())?.body ?? Buffer.alloc(0))[0x0900];
  peer.socket.destroy();
  return status;
}

/** A peer that is told, and what was true of the instance by then. */
async function told(t: Test, look: () => Promise<string | null>) {
  const reported = Promise.withResolvers<string | null>();
  const { port, requests } = await startAcceptor(t, () => {
    void look().then(reported.resolve, reported.reject);
    return 0;
  });
  const peers = [{ aeTitle: 'RAWPEER', host: '127.0.0.1', port, services: ['commit'] }];
  return { reported: reported.promise, requests, env: { DAGPACS_AE_PEERS: JSON.stringify(peers) } };
}

test('commitment may wait for the chain, and is reported on an association of ours', async (t) => {
  let bridge: Awaited<ReturnType<typeof startBridge>> | undefined;
  const anchored = () => stageOf(bridge?.url ?? '', 'anchored');
  const { reported, requests, env } = await told(t, anchored);
  // Time enough to see that it is not anchored yet.
  const more = { DAGPACS_COMMIT_AFTER: 'anchored', DAGPACS_ANCHOR_MAX_AGE_MS: '3000' };
  bridge = await startBridge({ env: { ...env, ...more } });
  t.teardown(() => bridge?.stop());
  await stow(bridge.dicomWeb, makeSeries({ rows: 32, columns: 32, count: 1 }));
  t.equal(await ask(bridge.dimse.port), 0, 'taken at once');
  t.equal(await anchored(), null, 'it is not anchored yet');
  t.ok(await reported, 'anchored by the time of the report');
  t.match(requests, [{ command: { typeId: 1 }, roles: { scu: false, scp: true } }], 'all committed');
});

test('commitment may wait for a Kubo, over the end of the process', { skip: skipKubo }, async (t) => {
  const dataDir = await tempFolder(t);
  const node = await startKuboNode();
  t.teardown(() => node.stop());
  const proxy = await startTcpProxy(node.url);
  t.teardown(() => proxy.stop());
  proxy.set('refuse');
  let bridge: Awaited<ReturnType<typeof startBridge>> | undefined;
  const replicated = () => stageOf(bridge?.url ?? '', 'replicated');
  const { reported, requests, env } = await told(t, replicated);
  const more = { DAGPACS_COMMIT_AFTER: 'replicated', DAGPACS_KUBO_API: proxy.url, DAGPACS_ANCHOR_MAX_AGE_MS: '100' };
  bridge = await startBridge({ dataDir, env: { ...env, ...more } });
  t.teardown(() => bridge?.stop());
  await stow(bridge.dicomWeb, makeSeries({ rows: 32, columns: 32, count: 1 }));
  t.equal(await ask(bridge.dimse.port), 0, 'taken at once');
  // The first look at a request is after a second.
  await sleep(2500);
  t.equal(await replicated(), null, 'nobody has a copy');
  t.strictSame(requests, [], 'so that nothing is said of it');
  await bridge.kill();
  bridge = await startBridge({ dataDir, env: { ...env, ...more } });
  proxy.set('pass');
  t.ok(await reported, 'replicated by the time of the report');
  t.match(requests, [{ command: { typeId: 1 }, roles: { scu: false, scp: true } }], 'all committed');
  const record = (await custodyOf(bridge.url, SOP)).versions[0]?.anchor?.record ?? '';
  const pins = (await node.ipfs('pin', 'ls', '--type=recursive', '--quiet')).toString();
  t.ok(pins.includes(record), 'the node has it pinned');
});
