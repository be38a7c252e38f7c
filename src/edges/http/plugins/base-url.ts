import type { FastifyRequest } from 'fastify';
import { DagpacsError } from '../../../kernel/errors.ts';
import type { HttpOptions } from '../options.ts';
import { isFromThisMachine } from './loopback.ts';

/** Checked, since they end up in JSON and in headers. */
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;
const PORT = /:\d+$/;
const DEFAULT_PORT = 80;
const PREFIX = /^(?:\/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*\/?$/;
const PROTOCOL = /^https?$/;

/** Tells a request's base URL: protocol, host and path prefix as the client sees them, without a slash at the end. */
export type BaseUrl = (request: FastifyRequest) => string;

/**
 * The configured public URL or, from the request, its Host. What a reverse proxy says in `Forwarded` (RFC 7239) or
 * `X-Forwarded-Proto`, `-Host` and `-Prefix` counts only where it is trusted.
 * @throws (the function) DagpacsError `invalid-parameter`, naming the header
 */
export function createBaseUrl({ publicUrl, trustProxy }: Pick<HttpOptions, 'publicUrl' | 'trustProxy'>): BaseUrl {
  if (publicUrl !== undefined && publicUrl !== '') {
    const base = publicUrl.replace(/\/+$/, '');
    return () => base;
  }
  return (request) => {
    const forwarded = trustProxy ? forwardedOf(request) : {};
    const host = forwarded.host ?? withPort(request) ?? localAddress(request);
    const protocol = forwarded.protocol ?? 'http';
    check(host, HOST, 'Host', 'a host name or address with an optional port (RFC 9110 §7.2)');
    check(protocol, PROTOCOL, 'X-Forwarded-Proto', 'http or https');
    return `${protocol}://${host}${forwarded.prefix ?? ''}`;
  };
}

function check(value: string, pattern: RegExp, attribute: string, rule: string): void {
  if (!pattern.test(value)) {
    throw new DagpacsError('invalid-parameter', `The header ${attribute} breaks a rule: ${rule}`, { attribute, rule });
  }
}

/** The Host. A client of this machine that leaves the port out, as dicomweb-client does, has come by the one we listen on. */
function withPort(request: FastifyRequest): string | undefined {
  const { host } = request.headers;
  const { localPort = DEFAULT_PORT } = request.socket;
  if (host === undefined || PORT.test(host) || localPort === DEFAULT_PORT || !isFromThisMachine(request)) return host;
  return `${host}:${localPort}`;
}

function localAddress({ socket }: FastifyRequest): string {
  const { localAddress: address = '127.0.0.1', localPort } = socket;
  return `${address.includes(':') ? `[${address}]` : address}:${localPort}`;
}

/** What the proxy nearest to the client says: the first of several values. */
function forwardedOf(request: FastifyRequest): { protocol?: string; host?: string; prefix?: string } {
  const standard = parseForwarded(first(request, 'forwarded'));
  const protocol = (standard.proto ?? first(request, 'x-forwarded-proto'))?.toLowerCase();
  const host = standard.host ?? first(request, 'x-forwarded-host');
  const prefix = first(request, 'x-forwarded-prefix');
  if (prefix !== undefined) check(prefix, PREFIX, 'X-Forwarded-Prefix', 'an absolute URL path');
  return {
    ...(protocol !== undefined && { protocol }),
    ...(host !== undefined && { host }),
    ...(prefix !== undefined && { prefix: prefix.replace(/\/$/, '') }),
  };
}

function first(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  const [text = ''] = (Array.isArray(value) ? value.join(',') : (value ?? '')).split(',');
  return text.trim() || undefined;
}

function parseForwarded(element = ''): { proto?: string; host?: string } {
  const pairs = element.split(';').map((pair) => pair.split('=', 2).map((side) => side.trim()));
  const side = (name: string) =>
    pairs.find(([key]) => key?.toLowerCase() === name)?.[1]?.replace(/^"(.*)"$/, '$1') || undefined;
  const proto = side('proto');
  const host = side('host');
  return { ...(proto !== undefined && { proto }), ...(host !== undefined && { host }) };
}
