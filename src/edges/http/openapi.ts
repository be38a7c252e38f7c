import { z } from 'zod';
import { exampleOf, type JsonSchema } from './openapi-example.ts';
import { problemContent, problemReference, problemResponses, problemStatuses } from './openapi-problems.ts';
import * as archive from './schemas/archive.ts';
import * as bulk from './schemas/bulk.ts';
import { CAPABILITIES_TYPES, DICOM_WEB } from './schemas/capabilities.ts';
import * as commitment from './schemas/commitment.ts';
import * as custody from './schemas/custody.ts';
import * as remove from './schemas/delete.ts';
import * as dicomWeb from './schemas/dicom-web.ts';
import * as docs from './schemas/docs.ts';
import * as gateway from './schemas/gateway.ts';
import { type Answer, none, type Operation, problemSchema } from './schemas/operation.ts';
import * as render from './schemas/render.ts';
import * as scrub from './schemas/scrub.ts';
import * as service from './schemas/service.ts';
import * as transfer from './schemas/transfer.ts';
import * as wadoUri from './schemas/wado-uri.ts';

/** Every operation of the API, in the order of the document. */
export const operations: readonly Operation[] = [
  dicomWeb,
  bulk,
  render,
  wadoUri,
  remove,
  commitment,
  transfer,
  custody,
  archive,
  scrub,
  gateway,
  service,
  docs,
].flatMap((module) => Object.values(module).filter(isOperation));

/** Those that a bridge with these options has. */
export function operationsOf({ allowDelete }: { allowDelete: boolean }): Operation[] {
  return operations.filter(({ method }) => allowDelete || method !== 'DELETE');
}

function isOperation(value: unknown): value is Operation {
  return typeof value === 'object' && value !== null && 'answers' in value && 'path' in value;
}

const TAGS: Record<Operation['tag'], string> = {
  DICOMweb: 'Store, search, retrieve and render (PS3.18)',
  DIMSE: 'Sending to DICOM nodes',
  Custody: 'Versions, stages, anchors and receipts: UIDs, but no patient data',
  IPFS: 'Sealed blocks and records by CID: the trustless gateway',
  Health: 'For load balancers and orchestrators',
  About: 'What this is, and this document',
};

/** The OpenAPI 3.1 document of the HTTP API, as `openapi/openapi.json` has it. */
export function openApiDocument(): object {
  const capabilities = { id: 'dicomWeb', tag: 'DICOMweb', path: DICOM_WEB, params: none } as const;
  const paths: Record<string, Record<string, object>> = { [DICOM_WEB]: { options: describeOptions(capabilities) } };
  for (const operation of operations) {
    const path = operation.path.replace('...}', '}');
    paths[path] ??= { options: describeOptions(operation) };
    const item = paths[path] as Record<string, object>;
    item[operation.method.toLowerCase()] = describeOperation(operation);
    if (operation.method === 'GET') item.head = describeHead(operation);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'DagPACS',
      version: '0.1.0',
      description:
        'DICOMweb (PS3.18) and custody. What a resource can be given as is negotiated by Accept, or by the parameter ' +
        '`accept` where there is one (PS3.18 §8.7). Every problem is told by RFC 9457.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [],
    servers: [{ url: '/', description: 'where this document is served' }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: { Problem: jsonSchema(problemSchema) },
      responses: {
        ...problemResponses(new Set(operations.flatMap(problemStatuses))),
        Problem: { description: 'Not done, and why', content: problemContent },
      },
    },
  };
}

function jsonSchema(schema: z.ZodType): JsonSchema {
  const { $schema, ...rest } = z.toJSONSchema(schema, {
    io: 'input',
    target: 'draft-2020-12',
    override: ({ jsonSchema: made }) => nameProperties(made as JsonSchema),
  });
  return rest as JsonSchema;
}

/** A record of known names is told as an object with these properties, which more tools read. */
function nameProperties(schema: JsonSchema): void {
  const names = schema.propertyNames?.enum;
  const { additionalProperties: value } = schema;
  if (!names || typeof value !== 'object') return;
  schema.properties = Object.fromEntries(names.map((name) => [name, value]));
  schema.additionalProperties = false;
  delete schema.propertyNames;
}

function describeOperation(operation: Operation): object {
  const { id, tag, summary, description, body } = operation;
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    parameters: parametersOf(operation),
    ...(body && {
      requestBody: { required: true, content: Object.fromEntries(body.map((type) => [type, bodyOf(type)])) },
    }),
    responses: responsesOf(operation),
  };
}

/** A form is said to have files, so that it can be filled in on a page; other bodies are bytes. */
function bodyOf(type: string): object {
  if (type !== 'multipart/form-data') return {};
  const file = { type: 'string', contentMediaType: 'application/dicom' };
  const items = { type: 'array', items: file, description: 'Part 10 files, under any name of a field' };
  return { schema: { type: 'object', properties: { file: items } } };
}

function describeHead(operation: Operation): object {
  const statuses = ['default', ...Object.keys(operation.answers), ...problemStatuses(operation).map(String)];
  return {
    operationId: `${operation.id}Head`,
    tags: [operation.tag],
    summary: `${operation.summary}: the header alone`,
    parameters: parametersOf({ ...operation, headers: {} }),
    responses: Object.fromEntries(
      statuses.map((status) => [status, { description: `As GET (${status}), without a body` }]),
    ),
  };
}

function describeOptions({ id, tag, path, params }: Pick<Operation, 'id' | 'tag' | 'path' | 'params'>): object {
  const content = Object.fromEntries(CAPABILITIES_TYPES.map((type) => [type, {}]));
  return {
    operationId: `${id}Options`,
    tags: [tag],
    summary: 'Retrieve Capabilities (PS3.18 §8.9)',
    parameters: fields('path', params),
    responses: {
      200: {
        description: `What ${path === '/' || path === DICOM_WEB ? 'all under this path' : 'this resource'} can do`,
        content,
        headers: { Allow: { description: 'the methods of the resource', schema: { type: 'string' } } },
      },
      204: { description: 'To the question of a browser whether a page may (CORS)' },
      400: problemReference(400),
      406: problemReference(406),
      415: problemReference(415),
      421: problemReference(421),
      default: problemReference(500),
    },
  };
}

function responsesOf(operation: Operation): object {
  const answers = Object.entries(operation.answers).map(([status, answer]) => [
    status,
    describeAnswer(answer, Number(status) >= 400),
  ]);
  const partial =
    operation.headers && 'Range' in operation.headers && !operation.answers[206]
      ? [[206, describeAnswer({ ...(operation.answers[200] as Answer), description: 'The range asked for' }, false)]]
      : [];
  const problems = problemStatuses(operation).map((status) => [status, problemReference(status)]);
  return {
    ...Object.fromEntries([...answers, ...partial, ...problems]),
    default: { $ref: '#/components/responses/Problem' },
  };
}

function fields(place: string, schema: z.ZodObject): object[] {
  return Object.entries(schema.shape as Record<string, z.ZodType>).map(([name, field]) => {
    const { description, ...rest } = jsonSchema(field);
    const required = place === 'path' || !field.safeParse(undefined).success;
    const example = required ? { example: exampleOf(rest) } : {};
    return { name, in: place, required, ...(description !== undefined && { description }), schema: rest, ...example };
  });
}

function parametersOf({ params, query, headers = {}, attributes }: Operation): object[] {
  const attribute = {
    name: 'attributes',
    in: 'query',
    required: false,
    description: 'attributes to match: keyword or tag of eight hexadecimal digits, and its value (PS3.18 §8.3.4.1)',
    style: 'form',
    explode: true,
    schema: {
      type: 'object',
      additionalProperties: { type: 'string' },
      examples: [{ PatientName: 'SMITH*', StudyDate: '20240101-20241231' }],
    },
  };
  const header = ([name, description]: [string, string]) => {
    const schema = { type: 'string', ...(name === 'Range' && { examples: ['bytes=0-1023'] }) };
    return { name, in: 'header', required: false, description, schema };
  };
  return [
    ...fields('path', params),
    ...fields('query', query),
    ...(attributes ? [attribute] : []),
    ...Object.entries(headers).map(header),
  ];
}

function describeAnswer({ description, content, headers }: Answer, mayBeProblem: boolean): object {
  const body = Object.entries(content ?? {}).map(([type, schema]) => [type, schema ? describeBody(schema) : {}]);
  const all = { ...Object.fromEntries(body), ...(mayBeProblem && problemContent) };
  const named = Object.entries(headers ?? {}).map(([name, text]) => [
    name,
    { description: text, schema: { type: 'string' } },
  ]);
  return {
    description,
    ...(Object.keys(all).length > 0 && { content: all }),
    ...(named.length > 0 && { headers: Object.fromEntries(named) }),
  };
}

function describeBody(schema: z.ZodType): object {
  const described = jsonSchema(schema);
  return { schema: described, example: exampleOf(described) };
}
