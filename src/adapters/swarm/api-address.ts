import { DagpacsError } from '../../kernel/errors.ts';

const HOST = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d{1,5})(\/http|\/https|\/tls\/http)?$/;

/**
 * The base URL of a Kubo RPC API (`…/api/v0`) from a URL or a multiaddr such as `/ip4/127.0.0.1/tcp/5001`.
 * @throws DagpacsError `bad-setting`
 */
export function apiUrl(address: string): URL {
  const found = HOST.exec(address);
  const text = found === null ? address : `${schemeOf(found[3])}://${bracketed(found[1] ?? '')}:${found[2]}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new DagpacsError('bad-setting', 'the Kubo API address is neither an http(s) URL nor a TCP multiaddr', {
      rule: 'such as http://127.0.0.1:5001 or /ip4/127.0.0.1/tcp/5001',
    });
  }
  const path = url.pathname.replace(/\/+$/, '');
  url.pathname = path.endsWith('/api/v0') ? path : `${path}/api/v0`;
  url.search = '';
  url.hash = '';
  return url;
}

/** Where a Kubo's RPC API is, and the headers that it wants. */
export interface KuboAddress {
  /** Without credentials. */
  url: URL;
  headers: Record<string, string>;
}

/** Takes the user and password out of a URL, since `fetch` refuses them there; they win over `authorization`. */
export function kuboAddress(url: URL, authorization?: string): KuboAddress {
  if (url.username === '' && url.password === '')
    return { url, headers: authorization === undefined ? {} : { authorization } };
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return { url: bare, headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` } };
}

function schemeOf(suffix: string | undefined): string {
  return suffix === '/https' || suffix === '/tls/http' ? 'https' : 'http';
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
