import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { CarSelection } from '../../../flows/serve/gateway.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import { PROBLEM_TYPE, plainProblem } from '../errors.ts';
import { attachment, chooseForm, type GatewayForm, gatewayTag, gatewayType, matchesTag } from '../gateway-form.ts';
import type { RouteContext } from '../modules.ts';
import { isFromThisMachine } from '../plugins/loopback.ts';
import { parseRange } from '../range.ts';
import { type GatewayQuery, gatewayBlock, gatewayPath, readRange } from '../schemas/gateway.ts';
import { sendBody } from '../send.ts';
import { addRoute, type Call } from './route.ts';

const IMMUTABLE = 'public, max-age=29030400, immutable';

/** IPFS's trustless gateway (https://specs.ipfs.tech/http-gateways/trustless-gateway/) over the sealed blocks. */
export function addGatewayRoutes(app: FastifyInstance, { gateway, options, base, log }: RouteContext): void {
  addRoute(app, gatewayBlock, (call) => answer({ ...call, params: { ...call.params, path: '' } }));
  addRoute(app, gatewayPath, answer);

  async function answer(call: Call<{ cid: string; path: string }, GatewayQuery>) {
    const { request, reply, query } = call;
    const refusal = refusalOf(request);
    if (refusal) return problem(reply, refusal.status, refusal.detail);
    const { cid } = call.params;
    const path = call.params.path.split('/').filter((segment) => segment !== '');
    const form = chooseForm(request, query);
    const held = gateway.holds(cid);
    if (!held && /\bonly-if-cached\b/.test(request.headers['cache-control'] ?? '')) {
      return problem(reply, 412, 'The block is not on this machine');
    }
    return form.type === 'raw' ? sendBlock(call, form, path) : sendCar(call, form, path);
  }

  /** Who may not ask here, and for what nobody may. */
  function refusalOf(request: FastifyRequest): { status: number; detail: string } | undefined {
    if (options.gateway === 'off') return { status: 404, detail: 'The gateway is off: DAGPACS_GATEWAY' };
    if (options.gateway === 'loopback' && !isFromThisMachine(request)) {
      return { status: 403, detail: 'Blocks are given to programs of this machine only: DAGPACS_GATEWAY' };
    }
    // A block must not become the script that answers for others.
    if (request.headers['service-worker'] !== 'script') return undefined;
    return { status: 400, detail: 'No service worker is registered here' };
  }

  async function sendBlock(call: Call<{ cid: string }, GatewayQuery>, form: GatewayForm, path: string[]) {
    const { request, reply } = call;
    const { cid } = call.params;
    if (path.length > 0) {
      const rule = 'a block is asked for by its CID alone';
      throw new DagpacsError('invalid-parameter', `The path breaks a rule: ${rule}`, { attribute: 'path', rule });
    }
    const block = await gateway.block(cid);
    if (describe(call, form, path, [cid])) return reply.send();
    reply.header('accept-ranges', 'bytes');
    const conditional = request.headers['if-range'] !== undefined;
    const range =
      request.method === 'GET' && !conditional ? parseRange(request.headers.range, block.length) : undefined;
    if (range === 'unsatisfiable') {
      reply.header('cache-control', 'private, no-cache').header('content-range', `bytes */${block.length}`);
      return reply.code(416).send();
    }
    const { start, end } = range ?? { start: 0, end: block.length };
    if (range) reply.code(206).header('content-range', `bytes ${start}-${end - 1}/${block.length}`);
    return sendBody(reply, log, end - start, async function* () {
      if (end > start) yield block.subarray(start, end);
    });
  }

  async function sendCar(call: Call<{ cid: string }, GatewayQuery>, form: GatewayForm, path: string[]) {
    const { reply, query } = call;
    const { 'dag-scope': scope = 'all', 'entity-bytes': bytes } = query;
    const selection: CarSelection = {
      dups: form.type === 'car' && form.dups,
      ...(bytes === undefined ? { scope } : { scope: 'entity', bytes: readRange(bytes) }),
    };
    const car = await gateway.car(call.params.cid, path, selection);
    if (car === 'unsupported') return problem(reply, 501, 'The path ends within a block, at no link');
    if (describe(call, form, path, car.roots)) return reply.send();
    reply.header('accept-ranges', 'none');
    return sendBody(reply, log, undefined, () => car.bytes());
  }

  /** Sets the headers of what is there. @returns true where the client has it already: 304 */
  function describe(
    { params, query, request, reply }: Call<{ cid: string }, GatewayQuery>,
    form: GatewayForm,
    path: string[],
    roots: string[],
  ): boolean {
    const { cid } = params;
    const where = `/ipfs/${[cid, ...path].map(encodeURIComponent).join('/')}`;
    const tag = gatewayTag(form, cid, path.join('/'), query);
    reply.header('etag', tag).header('cache-control', IMMUTABLE);
    reply.header('vary', [reply.getHeader('vary') ?? [], 'Accept'].flat().join(', '));
    reply.header('x-ipfs-path', where).header('x-ipfs-roots', roots.join(','));
    if (matchesTag(request.headers['if-none-match'], tag)) {
      reply.code(304);
      return true;
    }
    const isComplete = form.type === 'raw' ? query.format === 'raw' : query.format === 'car' && query['car-dups'];
    if (!isComplete) reply.header('content-location', `${base(request)}${where}?${locationQuery(form, query)}`);
    reply.header('content-type', gatewayType(form));
    reply.header('content-disposition', attachment(query.filename || `${cid}.${form.type === 'raw' ? 'bin' : 'car'}`));
    return false;
  }
}

/** The query under which a cache may keep the answer apart from other forms. */
function locationQuery(form: GatewayForm, query: GatewayQuery): URLSearchParams {
  const search = new URLSearchParams({ format: form.type });
  if (form.type === 'raw') return search;
  for (const name of ['dag-scope', 'entity-bytes'] as const) if (query[name]) search.set(name, query[name]);
  search.set('car-order', 'dfs');
  search.set('car-dups', form.dups ? 'y' : 'n');
  return search;
}

function problem(reply: FastifyReply, status: number, detail: string): FastifyReply {
  return reply
    .code(status)
    .type(PROBLEM_TYPE)
    .send(JSON.stringify(plainProblem(status, detail)));
}
