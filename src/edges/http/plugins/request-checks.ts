import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { DagpacsError } from '../../../kernel/errors.ts';
import { PROBLEM_TYPE, plainProblem } from '../errors.ts';
import type { HttpOptions } from '../options.ts';
import { awaitContinue } from './request-body.ts';

/** An address, a name that no public name server has (one label), or one of loopback (RFC 6761 §6.3). */
const LOCAL_HOST = /^(?:\[[0-9a-f:.]+\]|\d{1,3}(?:\.\d{1,3}){3}|[^.:]*|(?:.+\.)?localhost\.?)(?::\d*)?$/i;

/** What every request must be before a route looks at it: the parts of RFC 9112 and RFC 3986 that the parser lets pass. */
export function addRequestChecks(
  app: FastifyInstance,
  { publicUrl, trustProxy }: Pick<HttpOptions, 'publicUrl' | 'trustProxy'>,
): void {
  const publicHost = publicUrl === undefined ? undefined : URL.parse(publicUrl)?.host;

  // Node would ask for the body at once: it is asked for when it is wanted, so that a refusal costs its sender nothing.
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    awaitContinue(request, () => response.writeContinue());
    app.server.emit('request', request, response);
  });

  app.addHook('onRequest', (request, reply, done) => {
    const { raw, headers } = request;
    const { host, 'transfer-encoding': transfer } = headers;
    const hosts = raw.rawHeaders.filter((name, i) => i % 2 === 0 && name.length === 4 && name.toLowerCase() === 'host');
    if (hosts.length > 1 || (host === undefined && raw.httpVersionMinor > 0))
      return done(broken('header', 'Host', 'is given once (RFC 9112 §3.2)'));
    // A web page whose name its owner makes point to this machine would else be read to as if it were ours.
    if (host !== undefined && !trustProxy && host !== publicHost && !LOCAL_HOST.test(host)) {
      const detail = 'Requests are taken under an address, localhost, or the name in DAGPACS_PUBLIC_URL';
      reply
        .code(421)
        .type(PROBLEM_TYPE)
        .send(JSON.stringify(plainProblem(421, detail)));
      return;
    }
    if (transfer !== undefined && transfer.toLowerCase() !== 'chunked')
      return done(broken('header', 'Transfer-Encoding', 'chunked (RFC 9112 §6.1)'));
    if (request.url.includes('%')) {
      const name = wronglyEncoded(request.url);
      if (name !== undefined) return done(broken('parameter', name, 'UTF-8, percent-encoded (RFC 3986 §2.1)'));
    }
    done();
  });
}

/** The first query parameter that is no percent-encoded UTF-8. */
function wronglyEncoded(url: string): string | undefined {
  const start = url.indexOf('?');
  if (start < 0 || isEncoded(url.slice(start))) return undefined;
  const pair = url
    .slice(start + 1)
    .split('&')
    .find((each) => !isEncoded(each));
  return pair?.split('=', 1)[0];
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function broken(place: 'header' | 'parameter', attribute: string, rule: string): DagpacsError {
  return new DagpacsError('invalid-parameter', `The ${place} ${attribute} breaks a rule: ${rule}`, { attribute, rule });
}
