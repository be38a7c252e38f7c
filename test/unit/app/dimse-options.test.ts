import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'tap';
import { readConfig } from '../../../src/app/config.ts';
import { dimseOptions, readPeers } from '../../../src/app/dimse-options.ts';
import { tempFolder } from '../../fixtures/temp.ts';
import { skipWithout } from '../../fixtures/tools.ts';

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

test('beyond loopback only with a policy, or with client certificates', (t) => {
  t.throws(() => readConfig({ DAGPACS_DIMSE_HOST: '0.0.0.0' }), { code: 'bad-setting' });
  const options = dimseOptions(readConfig({ DAGPACS_DIMSE_HOST: '0.0.0.0', DAGPACS_AE_PEERS: '[]' }));
  t.match(options, { host: '0.0.0.0', peers: [], checkCalledAE: false, maxPduLength: 131072 });
  t.end();
});

test('client certificates alone open the port with TLS, and no other', { skip: skipWithout('openssl') }, async (t) => {
  const folder = await tempFolder(t);
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  execFileSync('openssl', [...request, '-keyout', key, '-out', cert, '-subj', '/CN=bridge'], { stdio: 'ignore' });
  const beyond = { DAGPACS_DIMSE_HOST: '0.0.0.0', DAGPACS_DIMSE_TLS_CERT: cert, DAGPACS_DIMSE_TLS_KEY: key };
  t.throws(() => readConfig(beyond), { code: 'bad-setting' }, 'TLS alone tells nobody who calls');
  const certificates = { ...beyond, DAGPACS_DIMSE_TLS_CLIENT_AUTH: 'on' };
  t.throws(
    () => readConfig(certificates),
    { code: 'bad-setting', subject: { attribute: 'DAGPACS_DIMSE_TLS_CLIENT_AUTH' } },
    'by the well-known authorities anybody has one',
  );
  const complete = { ...certificates, DAGPACS_DIMSE_TLS_CA: cert };
  t.match(dimseOptions(readConfig(complete)), { host: '127.0.0.1', tls: { host: '0.0.0.0', clientAuth: true } });
  const both = dimseOptions(readConfig({ ...complete, DAGPACS_AE_PEERS: '[]' }));
  t.match(both, { host: '0.0.0.0', tls: { host: '0.0.0.0' } });
});

test('storage classes may be narrowed, and every limit is a setting', (t) => {
  const CT = '1.2.840.10008.5.1.4.1.1.2';
  const stores = (setting: string) => dimseOptions(readConfig({ DAGPACS_DIMSE_SOP_CLASSES: setting })).stores;
  t.equal(stores(''), undefined);
  t.strictSame(
    [CT, '1.2.840.10008.5.1.4.1.1.4', '1.3.46.1'].map((each) => stores(`${CT}, 1.3.46.1`)?.(each)),
    [true, false, true],
  );
  t.strictSame(
    [CT, '1.3.46.1'].map((each) => stores('standard')?.(each)),
    [true, false],
  );
  t.throws(() => stores('all'), { code: 'bad-setting', subject: { attribute: 'DAGPACS_DIMSE_SOP_CLASSES' } });
  const limits = {
    DAGPACS_DIMSE_MAX_ASSOCIATIONS: 'maxAssociations',
    DAGPACS_DIMSE_MAX_PER_PEER: 'maxPerPeer',
    DAGPACS_DIMSE_MAX_PENDING: 'maxPending',
    DAGPACS_DIMSE_MAX_CONTEXTS: 'maxContexts',
    DAGPACS_DIMSE_ARTIM_MS: 'artimMs',
    DAGPACS_DIMSE_IDLE_MS: 'idleTimeoutMs',
    DAGPACS_DIMSE_TIMEOUT_MS: 'dimseTimeoutMs',
    DAGPACS_DIMSE_SEND_ASSOCIATIONS: 'sendAssociations',
    DAGPACS_DIMSE_SEND_RETRIES: 'sendRetries',
    DAGPACS_DIMSE_SEND_BACKOFF_MS: 'sendBackoffMs',
  };
  const options = dimseOptions(readConfig(Object.fromEntries(Object.keys(limits).map((name) => [name, '7']))));
  for (const name of Object.values(limits)) t.match(options, { [name]: 7 });
  t.end();
});
