import { execFileSync } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { runTool } from '../../fixtures/dcmtk.ts';
import { makeSeries, uid } from '../../fixtures/dicom.ts';
import { tempFolder } from '../../fixtures/temp.ts';
import { skipWithout } from '../../fixtures/tools.ts';
import { startArchive } from './archive.ts';
import { startCollector } from './collector.ts';
import { type RawPeer, rawPeer } from './raw-peer.ts';

const skip = skipWithout('echoscu', 'openssl', 'storescu');

/** A certificate for 127.0.0.1 that vouches for itself. */
async function certificate(t: Test, name: string) {
  const folder = join(await tempFolder(t), name);
  await mkdir(folder);
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-keyout', key, '-out', cert, '-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'],
    ],
    { stdio: 'ignore' },
  );
  return { key, cert, keyText: await readFile(key, 'utf8'), certText: await readFile(cert, 'utf8') };
}

test('associations over TLS, with and without certificates of the callers', { skip }, async (t) => {
  const server = await certificate(t, 'bridge');
  const client = await certificate(t, 'modality');
  const own = { port: 0, cert: server.certText, key: server.keyText };
  const trusted = ['+tls', client.key, client.cert, '+cf', server.cert];
  const echo = (port: number, ...options: string[]) => runTool('echoscu', [...options, '127.0.0.1', String(port)]);

  const open = await startCollector({ tls: { ...own, clientAuth: false } });
  t.teardown(() => open.listener.close());
  const port = open.listener.tlsAddress?.port ?? 0;
  const secure = await echo(port, ...trusted);
  t.equal(secure.code, 0, secure.output);
  t.equal((await echo(port, '+tla', '+cf', server.cert)).code, 0, 'a caller without a certificate');
  t.not((await echo(port)).code, 0, 'nothing in clear');
  t.equal((await echo(open.to.port)).code, 0, 'but on the other port');

  const closed = await startCollector({ tls: { ...own, ca: client.certText, clientAuth: true } });
  t.teardown(() => closed.listener.close());
  const closedPort = closed.listener.tlsAddress?.port ?? 0;
  t.equal((await echo(closedPort, ...trusted)).code, 0);
  t.not((await echo(closedPort, '+tla', '+cf', server.cert)).code, 0);
  const stranger = await certificate(t, 'stranger');
  t.not((await echo(closedPort, '+tls', stranger.key, stranger.cert, '+cf', server.cert)).code, 0);
});

test('handshakes that are not ended do not keep others out', { skip }, async (t) => {
  const server = await certificate(t, 'bridge');
  const tls = { port: 0, cert: server.certText, key: server.keyText, clientAuth: false };
  const { listener } = await startCollector({ tls, maxPending: 8, maxAssociations: 2 });
  t.teardown(() => listener.close());
  const port = listener.tlsAddress?.port ?? 0;
  const open: RawPeer[] = [];
  for (let i = 0; i < 40; i++) {
    const peer = await rawPeer(port);
    // The head of a record with a ClientHello that does not come.
    peer.send(Buffer.of(22, 3, 1, 0, 200));
    open.push(peer);
  }
  await Promise.all(open.slice(0, 32).map(({ closed }) => closed));
  const { code, output } = await runTool('echoscu', ['+tla', '+cf', server.cert, '127.0.0.1', String(port)]);
  t.equal(code, 0, output);
  for (const { socket } of open) socket.destroy();
});

test('a peer that is known with TLS is not known without it', { skip }, async (t) => {
  const server = await certificate(t, 'bridge');
  const tls = { port: 0, cert: server.certText, key: server.keyText, clientAuth: false };
  const peer = { aeTitle: 'SECURE', host: '127.0.0.1', port: 1, services: ['echo'] as const };
  const { listener, to } = await startCollector({ tls, peers: [{ ...peer, tls: true }] });
  t.teardown(() => listener.close());
  const echo = (port: number, ...options: string[]) =>
    runTool('echoscu', [...options, '-aet', 'SECURE', '127.0.0.1', String(port)]);
  t.match((await echo(to.port)).output, /Calling AE Title Not Recognized/);
  const secure = await echo(listener.tlsAddress?.port ?? 0, '+tla', '+cf', server.cert);
  t.equal(secure.code, 0, secure.output);
});

test('storing, and moving to a bridge that listens for TLS', { skip }, async (t) => {
  const { certText, keyText } = await certificate(t, 'bridge');
  const tls = { port: 0, cert: certText, key: keyText, ca: certText, clientAuth: true };
  const receiver = await startCollector({ tls });
  t.teardown(() => receiver.listener.close());
  const there = { aeTitle: 'THERE', host: '127.0.0.1', port: receiver.listener.tlsAddress?.port ?? 0, services: [] };
  const peers = [
    { ...there, tls: true },
    { ...there, aeTitle: 'PLAIN' },
    { ...there, aeTitle: 'MOVESCU', services: ['move'] as const },
  ];
  const archive = await startArchive(t, { peers, tls, sendRetries: 0 });
  const files = makeSeries({ count: 3 });
  for (const file of files) await archive.keep(file);
  const move = (to: string) =>
    runTool('movescu', [
      ...['-S', '-v', '-aem', to, '-aec', 'DAGPACS', '127.0.0.1', String(archive.to.port)],
      ...['-k', 'QueryRetrieveLevel=STUDY', '-k', `StudyInstanceUID=${uid('study', 1)}`],
    ]);
  const moved = await move('THERE');
  t.equal(moved.code, 0, moved.output);
  t.equal(receiver.instances.length, 3);
  t.not((await move('PLAIN')).code, 0);
});
