import { readFile } from 'node:fs/promises';
import { relative } from 'node:path';
import { test } from 'tap';
import { build } from '../../foundry/script/build.ts';
import { forge, root } from '../../foundry/script/forge.ts';

test('the committed ABI and bytecode are what the contracts compile to', async (t) => {
  for (const [target, text] of await build()) {
    t.equal(await readFile(target, 'utf8'), text, `${relative(root, target)}; else: npm run contracts`);
  }
});

test('forge’s tests pass, and gas is what the snapshot says', async (t) => {
  t.equal(await forge(['test'], true), 0, 'else: npm run test:contracts');
});

test('forge’s static analysis has no objection', async (t) => {
  t.equal(await forge(['lint', 'contracts', '--deny', 'notes'], true), 0);
  t.equal(await forge(['fmt', '--check', 'contracts', 'foundry/test'], true), 0);
});
