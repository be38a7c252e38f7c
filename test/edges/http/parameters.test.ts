import { test } from 'tap';
import { operations } from '../../../src/edges/http/openapi.ts';
import { multipartOf } from '../../fixtures/stow.ts';
import { instance, startMemoryBridge } from './memory-bridge.ts';

/** What no parameter means, but for free text. */
const NONSENSE = [
  'x',
  '-1',
  '1e999',
  'NaN',
  '0x10',
  ' ',
  '\0',
  '../../etc',
  "' OR 1=1 --",
  '%zz',
  '\u{1f480}',
  '9'.repeat(500),
  '[]',
  '__proto__',
];
/** Parameters of which any text is a value: what is wrong with it shows elsewhere, if at all. */
const FREE = new Set(['accept', 'contentType', 'charset', 'attributes']);
const PATHS: Record<string, string> = {
  studyInstanceUID: '1.2',
  seriesInstanceUID: '1.2.3',
  sopInstanceUID: '1.2.3.4',
  frames: '1',
  path: '7FE00010',
};
const WADO = { requestType: 'WADO', studyUID: '1.2', seriesUID: '1.2.3', objectUID: '1.2.3.4' };

interface Problem {
  attribute?: string;
  rule?: string;
}

test('every parameter malformed in turn is refused by its name and rule', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  const { contentType, body } = multipartOf([instance({})]);
  await fetch(`${bridge.dicomWeb}/studies`, { method: 'POST', headers: { 'content-type': contentType }, body });

  let asked = 0;
  async function ask(what: string, path: string, attribute: string, refused: boolean): Promise<void> {
    const response = await fetch(`${bridge.url}${path}`);
    asked++;
    const text = await response.text();
    if (response.status >= 500) t.fail(`${what}: ${response.status} ${text}`);
    if (response.status !== 400 && response.status !== 404 && refused) t.fail(`${what}: ${response.status}`);
    if (response.status !== 400) return;
    const { attribute: named, rule = '' } = JSON.parse(text) as Problem;
    if (named !== undefined && named !== attribute && !FREE.has(attribute)) t.fail(`${what}: names ${named}`);
    if (named === undefined) t.fail(`${what}: names nothing: ${text}`);
    if (rule === '' || /invalid input|expected|received/i.test(rule)) t.fail(`${what}: no rule but "${rule}"`);
  }

  for (const { id, method, path, params, query } of operations) {
    if (method !== 'GET' || !/^\/(dicom-web|wado)/.test(path)) continue;
    const fill = (name?: string, value = '') =>
      path.replace(/\{(\w+)(?:\.\.\.)?\}/g, (_, each: string) =>
        encodeURIComponent(each === name ? value : (PATHS[each] ?? '')),
      );
    const base = path === '/wado' ? { ...WADO, windowCenter: '40', windowWidth: '400' } : {};
    for (const name of Object.keys(params.shape)) {
      for (const value of NONSENSE) await ask(`${id} ${name}=${JSON.stringify(value)}`, fill(name, value), name, true);
    }
    for (const [name, schema] of Object.entries(query.shape)) {
      const url = (...values: string[]) => {
        const search = new URLSearchParams(base);
        search.delete(name);
        for (const value of values) search.append(name, value);
        return `${fill()}?${search}`;
      };
      for (const value of NONSENSE) {
        await ask(
          `${id} ${name}=${JSON.stringify(value)}`,
          url(value),
          name,
          !FREE.has(name) && id !== 'retrieveFrames',
        );
      }
      const repeatable = schema.safeParse([]).success || FREE.has(name);
      if (!repeatable) await ask(`${id} ${name} twice`, url('1', '2'), name, true);
      if (!schema.safeParse(undefined).success) await ask(`${id} without ${name}`, url(), name, true);
    }
  }
  t.ok(asked > 1000, `${asked} requests`);
  t.strictSame(
    bridge.events.filter(({ event }) => event === 'http-request-failed'),
    [],
  );
});

test('every header malformed in turn', async (t) => {
  const bridge = await startMemoryBridge();
  t.teardown(() => bridge.close());
  for (const path of ['/dicom-web/studies', '/dicom-web/studies/1.2/metadata', `/wado?${new URLSearchParams(WADO)}`]) {
    for (const accept of ['x', 'image', 'a/b;q=2', ',', '"', 'a/b; q=x', '*/*;;;=', 'x'.repeat(9000)]) {
      const response = await fetch(`${bridge.url}${path}`, { headers: { accept } });
      t.ok([400, 404, 406].includes(response.status), `${path} ${accept.slice(0, 20)}: ${response.status}`);
      if (response.status === 404) continue;
      t.match(await response.json(), { attribute: 'Accept', rule: /\w/ });
    }
  }
  for (const range of ['bytes=', 'bytes=5-1', 'lines=1-2', 'bytes=a-b', `bytes=${'9'.repeat(400)}-`]) {
    const response = await fetch(`${bridge.dicomWeb}/studies`, { headers: { range } });
    t.equal(response.status, 200, 'a search has no ranges');
  }
});
