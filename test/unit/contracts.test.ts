import { readFile } from 'node:fs/promises';
import { test } from 'tap';
import { build, target } from '../../foundry/script/build.ts';
import { forge } from '../../foundry/script/forge.ts';

test('the committed ABI and bytecode are what the contracts compile to', async (t) => {
  t.equal(await readFile(target, 'utf8'), await build(), 'else: npm run contracts');
});

test('forge’s tests pass, and gas is what the snapshot says', async (t) => {
  t.equal(await forge(['test'], true), 0, 'else: npm run test:contracts');
});
