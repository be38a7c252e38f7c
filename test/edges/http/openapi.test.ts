import { createConfig, lintFromString } from '@redocly/openapi-core';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { test } from 'tap';
import { openApiDocument, operations } from '../../../src/edges/http/openapi.ts';
import { httpDefaults } from '../../../src/edges/http/options.ts';
import { createApp } from '../../../src/edges/http/server.ts';
import { startBrowser } from '../../fixtures/browser.ts';
import { skipWithout } from '../../fixtures/tools.ts';
import { startMemoryBridge } from './memory-bridge.ts';

interface Field {
  name: string;
  in: string;
  required: boolean;
  example?: unknown;
  schema: { examples?: unknown[]; default?: unknown };
}
interface Described {
  operationId: string;
  parameters: Field[];
  responses: Record<string, { content?: Record<string, { schema?: object; example?: unknown }> }>;
}
const document = openApiDocument() as { paths: Record<string, Record<string, Described>> };
const described = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ path, method, ...operation })),
);

test('two linters find nothing', async (t) => {
  const { valid, errors } = await new Validator().validate(document as never);
  t.ok(valid, JSON.stringify(errors));
  const config = await createConfig({ extends: ['recommended-strict'] });
  const problems = await lintFromString({ source: JSON.stringify(document), absoluteRef: '/openapi.json', config });
  t.strictSame(
    problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer}`),
    [],
  );
});

test('every route is described, and every description has its route', async (t) => {
  const app = await createApp(httpDefaults, {} as never);
  t.teardown(() => app.close());
  const routes = app.printRoutes({ commonPrefix: false, includeHooks: false });
  const served = new Set<string>();
  const stack: string[] = [];
  for (const line of routes.split('\n')) {
    const [, indent = '', part = ''] = /^([\s│]*)[└├]── (.*?)(?: \(.*\))?$/.exec(line) ?? [];
    if (part === '') continue;
    stack.length = indent.length / 4;
    stack.push(part);
    if (/ \((?:[A-Z]+(?:, )?)+\)$/.test(line)) served.add(stack.join('').replace(/\/[a-z]+\*$/, '*'));
  }
  // What fastify prints of a wildcard is without the segment before it, unless that has a route of its own.
  const paths = new Set(
    Object.keys(document.paths).map((path) => path.replace(/\/(?:\w+\/)?\{path\}/, '*').replace(/\{(\w+)\}/g, ':$1')),
  );
  t.strictSame([...served].sort(), [...paths].sort());
  for (const { path, method } of operations) {
    const item = document.paths[path.replace('...}', '}')];
    const methods = method === 'GET' ? ['get', 'head', 'options'] : [method.toLowerCase(), 'options'];
    for (const each of methods) t.ok(item?.[each], `${each} ${path}`);
  }
  const ids = described.map(({ operationId }) => operationId);
  t.equal(new Set(ids).size, ids.length, 'each has a name of its own');
});

test('every parameter and every JSON answer has an example, which its schema allows', (t) => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  for (const { method, path, parameters, responses } of described) {
    for (const { name, schema, required, example } of parameters) {
      const examples = [example, ...(schema.examples ?? []), schema.default].filter((value) => value !== undefined);
      const named = ['enum' in schema && 'x', ...examples].filter(Boolean);
      t.ok(named.length > 0 || !required, `${method} ${path}: ${name} has an example`);
      for (const value of examples) t.ok(ajv.validate(schema, value), `${method} ${path}: ${name} ${ajv.errorsText()}`);
    }
    for (const [status, { content = {} }] of Object.entries(responses)) {
      for (const [type, { schema, example }] of Object.entries(content)) {
        if (schema === undefined || '$ref' in schema) continue;
        t.ok(ajv.validate(schema, example), `${method} ${path} ${status} ${type}: ${ajv.errorsText()}`);
      }
    }
  }
  t.end();
});

test('Retrieve Capabilities tells the same, by resource and as a whole', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  const ask = (path: string, accept?: string) =>
    fetch(`${bridge.url}${path}`, { method: 'OPTIONS', headers: accept === undefined ? {} : { accept } });
  const wadl = await ask('/');
  t.equal(wadl.status, 200);
  t.equal(wadl.headers.get('content-type'), 'application/vnd.sun.wadl+xml');
  const xml = await wadl.text();
  for (const { id } of operations) t.ok(xml.includes(` id="${id}"`), `${id} is in the WADL`);
  t.match(xml, `<resources base="${bridge.url}/">`);
  const whole = (await (await ask('/', 'application/json')).json()) as typeof document;
  t.strictSame(
    Object.keys(whole.paths),
    Object.keys(document.paths).filter((path) => path !== '/dicom-web'),
  );
  const dicomWeb = (await (await ask('/dicom-web', 'application/vnd.oai.openapi+json')).json()) as typeof document;
  t.ok(Object.keys(dicomWeb.paths).every((path) => path.startsWith('/dicom-web/')));
  const study = await ask('/dicom-web/studies/1.2', 'application/json');
  t.match(study.headers.get('allow'), 'GET');
  t.strictSame(Object.keys(((await study.json()) as typeof document).paths), ['/dicom-web/studies/{studyInstanceUID}']);
  const refused = await ask('/dicom-web', 'text/plain');
  t.equal(refused.status, 406);
  t.match(await refused.json(), { available: ['application/vnd.sun.wadl+xml'] });
});

test('the page of the API asks nobody else for anything', { skip: skipWithout('chromium') }, async (t) => {
  const bridge = await startMemoryBridge({ rows: ['{"00100010":{"vr":"PN","Value":[{"Alphabetic":"SHOWN^HERE"}]}}'] });
  const browser = await startBrowser();
  t.teardown(async () => {
    await browser.close();
    await bridge.close();
  });
  const page = await browser.newPage();
  const asked: string[] = [];
  const complaints: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(`${bridge.url}/docs`);
  await page.waitForSelector('.opblock');
  t.equal(await page.locator('.opblock').count(), operations.length, 'every operation is there');
  await page.locator('#operations-DICOMweb-searchStudies .opblock-summary-control').click();
  await page.locator('#operations-DICOMweb-searchStudies button.execute').click();
  await page.waitForSelector('#operations-DICOMweb-searchStudies .live-responses-table .response');
  t.match(await page.locator('#operations-DICOMweb-searchStudies .live-responses-table').textContent(), 'SHOWN^HERE');
  t.strictSame(
    asked.filter((url) => !url.startsWith(`${bridge.url}/`) && !url.startsWith('data:')),
    [],
  );
  t.ok(asked.some((url) => url.includes('swagger-ui-bundle.js')));
  t.strictSame(complaints, []);
});
