import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { readConfig } from '../../../src/app/config.ts';
import { dimseOptions, readPeers } from '../../../src/app/dimse-options.ts';
import { tempFolder } from '../../fixtures/temp.ts';

test('the peers, as JSON and as a file', async (t) => {
  t.equal(readPeers(''), undefined);
  const text = '[{"aeTitle":"WS 1","host":"ws1.example","port":104,"services":["find","move"]},';
  const peers = readPeers(`${text}{"aeTitle":"CT","host":"192.0.2.1","port":11112}]`);
  t.strictSame(peers?.[0], { aeTitle: 'WS 1', host: 'ws1.example', port: 104, services: ['find', 'move'] });
  t.equal(peers?.[1]?.services.length, 6, 'all, where they are left out');
  const path = join(await tempFolder(t), 'peers.json');
  await writeFile(path, '[]');
  t.strictSame(readPeers(path), []);
  for (const wrong of [
    '[',
    '[{"aeTitle":"A"}]',
    '[{"aeTitle":"A","host":"h","port":0}]',
    '[{"aeTitle":"12345678901234567","host":"h","port":1}]',
    '[{"aeTitle":"A","host":"h","port":1,"services":["all"]}]',
    '[{"aeTitle":"A","host":"h","port":1,"service":["find"]}]',
    '/nowhere/peers.json',
  ]) {
    t.throws(() => readPeers(wrong), { code: 'bad-setting', subject: { attribute: 'DAGPACS_AE_PEERS' } }, wrong);
  }
});

test('beyond loopback only with a policy', (t) => {
  t.throws(() => readConfig({ DAGPACS_DIMSE_HOST: '0.0.0.0' }), { code: 'bad-setting' });
  const options = dimseOptions(readConfig({ DAGPACS_DIMSE_HOST: '0.0.0.0', DAGPACS_AE_PEERS: '[]' }));
  t.match(options, { host: '0.0.0.0', peers: [], checkCalledAE: false, maxPduLength: 131072 });
  t.end();
});
