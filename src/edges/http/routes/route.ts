import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { parseAccept } from '../../../dicom/accept.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import { negotiate } from '../negotiate.ts';
import type { Operation } from '../schemas/operation.ts';

/** A checked request. */
export interface Call<Params, Query> {
  params: Params;
  query: Query;
  request: FastifyRequest;
  reply: FastifyReply;
}

/** The path of an operation as fastify writes it. */
export function routePath(path: string): string {
  return path.replace(/\{\w+\.\.\.\}/, '*').replace(/\{(\w+)\}/g, ':$1');
}

/** Registers an operation: `handler` is called with parameters that follow the operation's schemas. */
export function addRoute<Params extends z.ZodObject, Query extends z.ZodObject>(
  app: FastifyInstance,
  operation: Operation<Params, Query>,
  handler: (call: Call<z.output<Params>, z.output<Query>>) => unknown,
): void {
  const offers = fixedOffers(operation);
  const rest = /\{(\w+)\.\.\.\}/.exec(operation.path)?.[1];
  app.route({
    method: operation.method,
    url: routePath(operation.path),
    handler: (request, reply) => {
      const { '*': path, ...named } = request.params as Record<string, string>;
      const params = check(operation.params, rest === undefined ? named : { ...named, [rest]: path });
      const query = check(operation.query, request.query);
      if (offers) negotiate(parseAccept(request.headers.accept), offers);
      return handler({ params, query, request, reply });
    },
  });
}

/**
 * What an operation gives that is in one form only: a client that accepts nothing of it is told so. Undefined for those
 * that choose by the request themselves, and for health, which probes of any kind ask for.
 */
function fixedOffers({ tag, query, answers }: Operation): { multipart: false; type: string }[] | undefined {
  if (tag === 'Health' || 'accept' in query.shape || 'contentType' in query.shape) return undefined;
  const types = Object.keys(answers[200]?.content ?? {});
  return types.length > 0 ? types.map((type) => ({ multipart: false, type })) : undefined;
}

function check<Schema extends z.ZodObject>(schema: Schema, value: unknown): z.output<Schema> {
  const given = value as Record<string, unknown>;
  const result = schema.safeParse(withNumbers(schema, given));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const attribute = String(issue?.path[0] ?? '');
  const rule = ruleOf(issue?.message ?? '', given[attribute]);
  throw new DagpacsError('invalid-parameter', `The parameter ${attribute} breaks a rule: ${rule}`, { attribute, rule });
}

/** Zod takes for a number all that JavaScript does, blanks and hexadecimal digits too. */
function withNumbers(schema: z.ZodObject, given: Record<string, unknown>): Record<string, unknown> {
  const kept = { ...given };
  for (const [name, value] of Object.entries(given)) {
    const field = Object.hasOwn(schema.shape, name) ? (schema.shape[name] as z.ZodType) : undefined;
    if (field && isNumber(field) && !(typeof value === 'string' && WHOLE.test(value))) kept[name] = Number.NaN;
  }
  return kept;
}

const WHOLE = /^[+-]?\d{1,15}$/;

function isNumber(field: z.ZodType): boolean {
  let inner: unknown = field;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault) inner = inner.unwrap();
  return inner instanceof z.ZodNumber;
}

/** The schema's own words, where it has any for what is wrong. */
function ruleOf(message: string, value: unknown): string {
  if (!/^Invalid input/.test(message)) return message;
  return Array.isArray(value) ? 'is given once' : value === undefined ? 'is given' : 'is a text';
}
