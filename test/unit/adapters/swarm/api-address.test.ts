import { test } from 'tap';
import { apiUrl, kuboAddress } from '../../../../src/adapters/swarm/api-address.ts';

test('URLs and multiaddrs of an RPC API', (t) => {
  for (const [address, url] of [
    ['http://127.0.0.1:5001', 'http://127.0.0.1:5001/api/v0'],
    ['http://127.0.0.1:5001/', 'http://127.0.0.1:5001/api/v0'],
    ['http://kubo:5001/api/v0/', 'http://kubo:5001/api/v0'],
    ['https://proxy.example/ipfs?x=1#y', 'https://proxy.example/ipfs/api/v0'],
    ['/ip4/127.0.0.1/tcp/5001', 'http://127.0.0.1:5001/api/v0'],
    ['/ip4/127.0.0.1/tcp/5001/http', 'http://127.0.0.1:5001/api/v0'],
    ['/ip6/::1/tcp/5001', 'http://[::1]:5001/api/v0'],
    ['/dns4/kubo.example/tcp/443/https', 'https://kubo.example/api/v0'],
  ] as const) {
    t.equal(apiUrl(address).href, url);
  }
  for (const address of ['', 'localhost:5001', 'ftp://host', '/ip4/127.0.0.1/udp/5001', '/unix/run/kubo.sock']) {
    t.throws(() => apiUrl(address), { code: 'bad-setting' }, address);
  }
  t.end();
});

test('a password travels in a header, not in the URL', (t) => {
  const { url, headers } = kuboAddress(apiUrl('https://me:p%40ss@host/x'));
  t.equal(url.href, 'https://host/x/api/v0');
  t.equal(headers.authorization, `Basic ${Buffer.from('me:p@ss').toString('base64')}`);
  t.strictSame(kuboAddress(apiUrl('http://host')).headers, {});
  t.end();
});
