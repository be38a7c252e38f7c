import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { readConfig, settings } from '../../../src/app/config.ts';

const root = join(import.meta.dirname, '..', '..', '..');

test('defaults listen on loopback, and each setting is checked by name', (t) => {
  const config = readConfig({});
  t.equal(config.DAGPACS_HTTP_HOST, '127.0.0.1');
  t.equal(config.DAGPACS_DIMSE_HOST, '127.0.0.1');
  t.equal(config.DAGPACS_HTTP_PORT, 8080);
  t.equal(config.DAGPACS_DATA_DIR, join(process.cwd(), 'data'));
  t.equal(readConfig({ DAGPACS_HTTP_PORT: '' }).DAGPACS_HTTP_PORT, 8080, 'empty is unset');
  t.equal(readConfig({ DAGPACS_HTTP_HOST: '::1' }).DAGPACS_HTTP_HOST, '::1');
  const wrong: [string, string][] = [
    ['DAGPACS_HTTP_PORT', '70000'],
    ['DAGPACS_HTTP_PORT', 'web'],
    ['DAGPACS_HTTP_HOST', '0.0.0.0'],
    ['DAGPACS_DIMSE_HOST', '192.0.2.1'],
    ['DAGPACS_AE_TITLE', 'A'.repeat(17)],
    ['DAGPACS_AE_TITLE', 'A\\B'],
    ['DAGPACS_CHAIN_KEY', '0x12'],
    ['DAGPACS_CHAIN_RPC', 'ftp://127.0.0.1'],
    ['DAGPACS_ANCHOR_MAX_BATCH', '0'],
    ['DAGPACS_CONFLICT_POLICY', 'maybe'],
    ['DAGPACS_HTTP_PROT', '8080'],
  ];
  for (const [name, value] of wrong) {
    t.throws(
      () => readConfig({ [name]: value }),
      { code: 'bad-setting', subject: { attribute: name } },
      `${name}=${value}`,
    );
  }
  const secret = `0x${'ab'.repeat(31)}`;
  try {
    readConfig({ DAGPACS_CHAIN_KEY: secret });
    t.fail('a short key must be refused');
  } catch (error) {
    t.notMatch(String(error), /abab/, 'the key is not repeated in the message');
  }
  t.end();
});

test('README.md and .env.example list every setting with its default', (t) => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const example = readFileSync(join(root, '.env.example'), 'utf8');
  for (const [name, { fallback, description }] of Object.entries(settings)) {
    t.ok(
      readme.includes(`| \`${name}\` | ${fallback === '' ? '' : `\`${fallback}\` `}| ${description} |`),
      `README: ${name}`,
    );
    t.match(example, new RegExp(`^# ${name}=${fallback}$`, 'm'), `.env.example: ${name}`);
  }
  t.end();
});
