import { test } from 'tap';
import { makePrivate } from '../../../../src/adapters/swarm/private-config.ts';

test('what is not ours to settle stays, what is does not', (t) => {
  const before = {
    Identity: { PeerID: 'me' },
    Addresses: { API: '/ip4/0.0.0.0/tcp/5001', Swarm: ['/ip4/0.0.0.0/tcp/4001'], NoAnnounce: ['x'] },
    Bootstrap: ['auto'],
    DNS: { Resolvers: { '.': 'auto' } },
    Datastore: { StorageMax: '10GB', Spec: { mounts: [{ type: 'flatfs', sync: false }, { type: 'levelds' }] } },
  };
  const copy = structuredClone(before);
  const after = makePrivate(before);
  t.match(after, {
    Identity: { PeerID: 'me' },
    Addresses: { API: '/ip4/127.0.0.1/tcp/0', Swarm: ['/ip4/127.0.0.1/tcp/0'], NoAnnounce: ['x'] },
    Datastore: { StorageMax: '10GB', HashOnRead: true },
    Routing: { Type: 'none' },
  });
  t.strictSame(after.Bootstrap, []);
  t.strictSame(after.DNS, { Resolvers: {} });
  t.strictSame((after.Datastore as typeof before.Datastore).Spec.mounts, [
    { type: 'flatfs', sync: true },
    { type: 'levelds' },
  ]);
  t.strictSame(before, copy, 'the argument is not changed');
  t.strictSame(makePrivate(after), after, 'settling again changes nothing');
  t.end();
});
