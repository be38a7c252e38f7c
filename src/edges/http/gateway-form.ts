import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { type MediaRange, parseAccept } from '../../dicom/accept.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import { NotAcceptable } from './errors.ts';
import { CAR, type GatewayQuery, RAW } from './schemas/gateway.ts';

/** What an answer of the gateway is. */
export type GatewayForm = { type: 'raw' } | { type: 'car'; dups: boolean };

const AVAILABLE = [RAW, `${CAR}; version=1; order=dfs; dups=n`, `${CAR}; version=1; order=dfs; dups=y`];
const FORMATS: Record<string, string> = { raw: RAW, car: CAR };

/**
 * The form that is asked for: by `format`, else by Accept, where only the two types themselves count: a client that takes
 * anything wants no block. The parameters of a CAR may stand in either place, the URL's go first.
 * @throws NotAcceptable, DagpacsError `invalid-parameter` where neither says anything
 */
export function chooseForm(request: FastifyRequest, query: GatewayQuery): GatewayForm {
  const { accept } = request.headers;
  if (query.format === undefined && accept === undefined) {
    const rule = `must be ${AVAILABLE.slice(0, 2).join(' or ')}, or format must be given`;
    throw new DagpacsError('invalid-parameter', `Accept ${rule}`, { attribute: 'Accept', rule });
  }
  const wanted = query.format === undefined ? undefined : (FORMATS[query.format] ?? '');
  const asked = (accept === undefined ? [] : parseAccept(accept))
    .filter(({ type, q }) => q > 0 && (type === RAW || type === CAR) && (wanted === undefined || type === wanted))
    .sort((a, b) => b.q - a.q);
  if (asked.length === 0 && wanted) asked.push({ type: wanted, parameters: new Map(), q: 1 });
  for (const range of asked) {
    const form = range.type === RAW ? { type: 'raw' as const } : carForm(range, query);
    if (form) return form;
  }
  throw new NotAcceptable(AVAILABLE);
}

/** Undefined where a parameter asks for what there is not. */
function carForm({ parameters }: MediaRange, query: GatewayQuery): GatewayForm | undefined {
  const version = query['car-version'] ?? (parameters.get('version') || '1');
  const order = query['car-order'] ?? (parameters.get('order') || 'dfs');
  const dups = query['car-dups'] ?? (parameters.get('dups') || 'n');
  if (version !== '1' || (order !== 'dfs' && order !== 'unk') || (dups !== 'y' && dups !== 'n')) return undefined;
  return { type: 'car', dups: dups === 'y' };
}

export function gatewayType(form: GatewayForm): string {
  return form.type === 'raw' ? RAW : `${CAR}; version=1; order=dfs; dups=${form.dups ? 'y' : 'n'}`;
}

/** A strong ETag: the same question is always answered with the same bytes, which nobody can change. */
export function gatewayTag(form: GatewayForm, cid: string, path: string, query: GatewayQuery): string {
  if (form.type === 'raw') return `"${cid}.raw"`;
  const { 'dag-scope': scope, 'entity-bytes': bytes } = query;
  const rest = createHash('sha256').update(JSON.stringify([path, form.dups, bytes ?? null]));
  const prefix = bytes === undefined ? (scope ?? 'all') : 'entity';
  return `"${prefix}.${cid}.${rest.digest('hex').slice(0, 16)}.car"`;
}

/** Whether an If-None-Match header names `tag` (RFC 9110 §13.1.2). */
export function matchesTag(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false;
  return header.trim() === '*' || header.split(',').some((item) => item.trim().replace(/^W\//, '') === tag);
}

/** Content-Disposition, in ASCII and, where that is not enough, in UTF-8 (RFC 6266, RFC 8187). */
export function attachment(filename: string): string {
  const plain = filename.replace(/[^\x20-\x7e]/g, '_').replace(/["\\]/g, '_');
  if (plain === filename) return `attachment; filename="${plain}"`;
  const encoded = encodeURIComponent(filename.toWellFormed()).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}
