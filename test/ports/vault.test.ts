import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { openFileVault } from '../../src/adapters/vault/file-vault.ts';
import { tempFolder } from '../fixtures/temp.ts';

test('a study has one key, which outlives the process', async (t) => {
  const directory = await tempFolder(t);
  const vault = await openFileVault({ directory });
  t.equal(await vault.find('2.25.1'), undefined);
  const [first, second] = await Promise.all([vault.ensure('2.25.1'), vault.ensure('2.25.1')]);
  t.strictSame(first, second, 'two at once make one key');
  const other = await vault.ensure('2.25.2');
  t.notSame(other, first);

  const again = await openFileVault({ directory });
  t.strictSame(await again.find('2.25.1'), first);
  const all: string[] = [];
  for await (const key of again.all()) all.push(Buffer.from(key).toString('hex'));
  t.strictSame(all.sort(), [first, other].map((key) => Buffer.from(key).toString('hex')).sort());
});

test('its files are for their owner only, tell no UIDs, and a damaged one is an error', async (t) => {
  const directory = await tempFolder(t);
  const vault = await openFileVault({ directory });
  await vault.ensure('2.25.12345');
  const studies = join(directory, 'studies');
  const [name = ''] = readdirSync(studies);
  t.notMatch(name, /12345/);
  t.equal(statSync(join(studies, name)).mode & 0o777, 0o600);
  t.equal(statSync(studies).mode & 0o777, 0o700);
  writeFileSync(join(studies, name), 'short');
  const again = await openFileVault({ directory });
  await t.rejects(again.find('2.25.12345'), { code: 'storage-failed', message: name });
});

test('without the key of their names it makes no second keys', async (t) => {
  const directory = await tempFolder(t);
  const key = await (await openFileVault({ directory })).ensure('2.25.12345');
  const names = join(directory, 'names.key');
  renameSync(names, `${names}.kept`);
  await t.rejects(openFileVault({ directory }), { code: 'storage-failed', message: /names\.key is gone/ });
  renameSync(`${names}.kept`, names);
  t.strictSame(await (await openFileVault({ directory })).find('2.25.12345'), key);
});

test('what a crash left of a key is in nobody’s way', async (t) => {
  const directory = await tempFolder(t);
  await openFileVault({ directory });
  const names = join(directory, 'names.key');
  rmSync(names);
  writeFileSync(`${names}.new`, 'half', { mode: 0o600 });
  await openFileVault({ directory });
  t.equal(readFileSync(names).length, 32);
  t.strictSame(readdirSync(directory).sort(), ['names.key', 'studies']);
});

test('an erased key is gone, and the study gets another', async (t) => {
  const directory = await tempFolder(t);
  const vault = await openFileVault({ directory });
  const first = Buffer.from(await vault.ensure('2.25.1'));
  await vault.ensure('2.25.2');
  await vault.erase('2.25.1');
  await vault.erase('2.25.3');
  t.equal(await vault.find('2.25.1'), undefined);
  t.equal(await (await openFileVault({ directory })).find('2.25.1'), undefined);
  t.equal(readdirSync(join(directory, 'studies')).length, 1, 'the other stays');
  t.notOk(first.equals(await vault.ensure('2.25.1')));
});
