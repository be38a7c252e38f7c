import { z } from 'zod';
import * as custody from './schemas/custody.ts';
import * as dicomWeb from './schemas/dicom-web.ts';
import * as gateway from './schemas/gateway.ts';
import { type Answer, type Operation, problemSchema } from './schemas/operation.ts';
import * as render from './schemas/render.ts';
import * as service from './schemas/service.ts';
import * as transfer from './schemas/transfer.ts';

/** Every operation of the API, in the order of the document. */
export const operations: readonly Operation[] = [dicomWeb, render, transfer, custody, gateway, service].flatMap(
  (module) => Object.values(module).filter(isOperation),
);

function isOperation(value: unknown): value is Operation {
  return typeof value === 'object' && value !== null && 'answers' in value && 'path' in value;
}

/** The OpenAPI 3.1 document of the HTTP API, as `openapi/openapi.json` has it. */
export function openApiDocument(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    const path = operation.path.replace('...}', '}');
    paths[path] ??= {};
    (paths[path] as Record<string, object>)[operation.method.toLowerCase()] = describeOperation(operation);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'DagPACS',
      version: '0.1.0',
      description: 'DICOMweb (PS3.18) and custody. Every GET answers HEAD too.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths,
    components: {
      schemas: { Problem: jsonSchema(problemSchema) },
      responses: {
        Problem: {
          description: 'Not done, and why',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
    },
  };
}

function jsonSchema(schema: z.ZodType): object {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' });
  return rest;
}

function describeOperation(operation: Operation): object {
  const { id, tag, summary, description, body } = operation;
  const answers = Object.entries(operation.answers).map(([status, answer]) => [status, describeAnswer(answer)]);
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    parameters: parametersOf(operation),
    ...(body && { requestBody: { required: true, content: Object.fromEntries(body.map((type) => [type, {}])) } }),
    responses: { ...Object.fromEntries(answers), default: { $ref: '#/components/responses/Problem' } },
  };
}

function parametersOf({ params, query, headers = {}, attributes }: Operation): object[] {
  const fields = (place: string, schema: z.ZodObject) =>
    Object.entries(schema.shape as Record<string, z.ZodType>).map(([name, field]) => {
      const { description, ...rest } = jsonSchema(field) as { description?: string };
      const required = place === 'path' || !field.safeParse(undefined).success;
      return { name, in: place, required, ...(description !== undefined && { description }), schema: rest };
    });
  const attribute = {
    name: 'attributes',
    in: 'query',
    required: false,
    description: 'attributes to match: keyword or tag of eight hexadecimal digits, and its value (PS3.18 §8.3.4.1)',
    style: 'form',
    explode: true,
    schema: { type: 'object', additionalProperties: { type: 'string' } },
  };
  const header = ([name, description]: [string, string]) => {
    return { name, in: 'header', required: false, description, schema: { type: 'string' } };
  };
  return [
    ...fields('path', params),
    ...fields('query', query),
    ...(attributes ? [attribute] : []),
    ...Object.entries(headers).map(header),
  ];
}

function describeAnswer({ description, content, headers }: Answer): object {
  const body = Object.entries(content ?? {}).map(([type, schema]) => [
    type,
    schema ? { schema: jsonSchema(schema) } : {},
  ]);
  const fields = Object.entries(headers ?? {}).map(([name, text]) => [
    name,
    { description: text, schema: { type: 'string' } },
  ]);
  return {
    description,
    ...(body.length > 0 && { content: Object.fromEntries(body) }),
    ...(fields.length > 0 && { headers: Object.fromEntries(fields) }),
  };
}
