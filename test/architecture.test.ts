import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { checkLengths, checkSources, checkTopLevel, importsOf, type SourceTree } from './fixtures/architecture.ts';

const root = join(import.meta.dirname, '..');

function readTree(folders: string[], endings: RegExp): SourceTree {
  const tree = new Map<string, string>();
  for (const folder of folders) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !endings.test(entry.name)) continue;
      const path = join(entry.parentPath, entry.name);
      tree.set(path.slice(root.length + 1), readFileSync(path, 'utf8'));
    }
  }
  return tree;
}

test('imports run downwards, packages have one owner', (t) => {
  const tree = readTree(['src'], /\.ts$/);
  t.ok(tree.size > 0);
  t.strictSame(checkSources(tree), []);
  t.end();
});

test('no file is over 400 lines', (t) => {
  t.strictSame(checkLengths(readTree(['src', 'test', 'foundry', 'contracts'], /\.(ts|js|sol|css|html)$/)), []);
  t.end();
});

test('the top level is the agreed one', (t) => {
  let listed: string;
  try {
    listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
  } catch {
    t.pass('top level', { skip: 'not a git checkout: what is ignored is not known' });
    t.end();
    return;
  }
  const entries = new Set(listed.split('\0').flatMap((path) => path.split('/')[0] || []));
  t.strictSame(checkTopLevel(entries), []);
  t.end();
});

test('the checks find what they are for', (t) => {
  const breaches: [path: string, source: string, expected: RegExp][] = [
    ['src/kernel/bytes.ts', "import { x } from '../dicom/model.ts';", /kernel may not import dicom/],
    ['src/kernel/bytes.ts', "import { z } from 'zod';", /kernel does not own zod/],
    ['src/dicom/json.ts', "import { seal } from '../crypto/seal.ts';", /dicom may not import crypto/],
    ['src/dicom/json.ts', "import type { Cid } from '../ipld/cid.ts';", /dicom may not import ipld/],
    ['src/dicom/json.ts', "import { readFileSync } from 'node:fs';", /dicom does no I\/O/],
    ['src/crypto/seal.ts', 'export const now = () => Date.now();', /crypto is pure/],
    ['src/crypto/seal.ts', "import { CID } from 'multiformats/cid';", /crypto does not own multiformats/],
    ['src/ports/blocks.ts', "import { cidOf } from '../ipld/cid.ts';", /ports may not import ipld/],
    ['src/ports/blocks.ts', 'export const x = 1;', /types only/],
    ['src/flows/ingest/ingest.ts', "import { close } from '../anchor/batch.ts';", /flows\/ingest may not import flows/],
    [
      'src/flows/ingest/ingest.ts',
      "import { Blocks } from '../../adapters/blocks/blocks.ts';",
      /may not import adapters/,
    ],
    ['src/flows/ingest/ingest.ts', "const viem = await import('viem');", /does not own viem/],
    ['src/flows/ingest/ingest.ts', "import { open } from 'node:fs/promises';", /does no I\/O/],
    ['src/edges/http/server.ts', "import { seal } from '../../crypto/seal.ts';", /edges\/http may not import crypto/],
    ['src/edges/http/server.ts', "import { Server } from 'dcmjs-dimse';", /does not own dcmjs-dimse/],
    ['src/edges/dimse/listener.ts', "import fastify from 'fastify';", /does not own fastify/],
    [
      'src/edges/dimse/listener.ts',
      "export { x } from '../http/errors.ts';\nconst y = 1;",
      /may not import edges\/http/,
    ],
    ['src/adapters/swarm/kubo.ts', "import { x } from '../ledger/evm.ts';", /may not import adapters\/ledger/],
    ['src/flows/serve/serve.ts', "import { DatabaseSync } from 'node:sqlite';", /does not own node:sqlite/],
    ['src/adapters/vault/files.ts', "import { CID } from 'multiformats';", /does not own multiformats/],
    ['src/adapters/vault/files.ts', 'const home = process.env.HOME;', /only src\/app\/config.ts/],
    ['src/adapters/vault/files.ts', 'const { env } = process;', /only src\/app\/config.ts/],
    ['src/adapters/vault/files.ts', 'const { pid, env: own } = process;', /only src\/app\/config.ts/],
    ['src/flows/ingest/ingest.ts', 'const viem = await import(`viem`);', /does not own viem/],
    ['src/flows/ingest/ingest.ts', "const fs = process.getBuiltinModule('node:fs');", /does no I\/O/],
    ['src/flows/ingest/ingest.ts', 'const any = await import(name);', /imports what is not named/],
    ['src/flows/ingest/ingest.ts', "await fetch('http://127.0.0.1/');", /does no I\/O, but uses fetch/],
    ['src/adapters/vault/files.ts', "new Worker(new URL('../../app/x.ts', import.meta.url));", /may not import app/],
    ['src/proof/merkle.ts', "import { hash } from 'node:crypto';", /proof runs in browsers/],
    ['src/main.ts', "import { x } from './kernel/errors.ts';", /entry may not import kernel/],
    ['src/helpers/x.ts', "import { x } from '../kernel/errors.ts';", /no part of the layout/],
    ['src/dicom/all.ts', "export { a } from './a.ts';\nexport { b } from './b.ts';", /only re-exports/],
    ['src/dicom/all.ts', "export * from './a.ts';\nconst x = 1;", /export \*/],
  ];
  for (const [path, source, expected] of breaches) {
    t.match(checkSources(new Map([[path, source]])).join('\n'), expected, `${path}: ${source}`);
  }

  const fine: [path: string, source: string][] = [
    ['src/flows/ingest/ingest.ts', "import type { BlockStore } from '../../ports/blocks.ts';"],
    [
      'src/flows/ingest/ingest.ts',
      "import { DagpacsError } from '../../kernel/errors.ts';\nimport { x } from './scan.ts';",
    ],
    [
      'src/edges/http/server.ts',
      "import fastify from 'fastify';\nimport type { Ingest } from '../../flows/ingest/received.ts';",
    ],
    ['src/adapters/ledger/evm.ts', "import {\n  createPublicClient,\n  http,\n} from 'viem';"],
    ['src/app/config.ts', 'export const env = process.env;'],
    [
      'src/dicom/json.ts',
      "// import { x } from 'viem';\n/* process.env */\n/**\n * import { x } from 'viem';\n */\nconst x = 1;",
    ],
  ];
  for (const [path, source] of fine) t.strictSame(checkSources(new Map([[path, source]])), [], `${path}: ${source}`);

  t.strictSame(
    importsOf(
      "import a, {\n  type B,\n} from './a.ts';\nimport './b.ts';\nexport type { C } from './c.ts';\nawait import('d');",
    ),
    [
      { specifier: './a.ts', typeOnly: false },
      { specifier: './b.ts', typeOnly: false },
      { specifier: './c.ts', typeOnly: true },
      { specifier: 'd', typeOnly: false },
    ],
  );
  t.strictSame(
    checkLengths(
      new Map([
        ['a.ts', 'x\n'.repeat(401)],
        ['b.ts', 'x\n'.repeat(400)],
      ]),
    ),
    ['a.ts: 401 lines'],
  );
  t.strictSame(checkTopLevel(['src', '.ci', 'notes.md', 'README.md']), ['notes.md']);
  t.end();
});
