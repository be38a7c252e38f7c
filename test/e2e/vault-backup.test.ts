import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'tap';
import { backupKeys, restoreKeys } from '../../src/adapters/vault/backup.ts';
import { openFileVault } from '../../src/adapters/vault/file-vault.ts';
import { projectRoot } from '../fixtures/bridge.ts';
import { tempFolder } from '../fixtures/temp.ts';

/** Runs `dagpacs vault` with the passphrase on standard input. */
async function vault(dataDir: string, passphrase: string, ...args: string[]) {
  const child = spawn(process.execPath, [join(projectRoot, 'src/cli.ts'), 'vault', ...args, '--passphrase-file', '-'], {
    cwd: dataDir,
    env: { PATH: process.env.PATH, DAGPACS_DATA_DIR: dataDir },
  });
  child.stdin.on('error', () => undefined); // It may have ended without reading.
  child.stdin.end(`${passphrase}\n`);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code, stdout, stderr };
}

test('keys are backed up in one file, and restored whole or not at all', async (t) => {
  const dataDir = await tempFolder(t);
  const file = join(await tempFolder(t), 'keys.backup');
  const held = await openFileVault({ directory: join(dataDir, 'vault') });
  const studies = ['1.2.3', '1.2.4', '1.2.5'];
  const keys = await Promise.all(studies.map((study) => held.ensure(study)));

  t.match(await vault(dataDir, 'short', 'backup', '--out', file), { code: 2, stderr: /fewer than 8/ });
  t.match(await vault(dataDir, 'correct horse', 'backup', '--out', file), { code: 0, stdout: /^4 keys/ });
  t.equal((await stat(file)).mode & 0o777, 0o600);
  const backup = await readFile(file);
  for (const key of keys) t.notOk(backup.includes(Buffer.from(key)), 'no key is in the open');

  const empty = await tempFolder(t);
  t.match(await vault(empty, 'another horse', 'restore', '--from', file), { code: 1, stderr: /passphrase is wrong/ });
  const step = Math.ceil(backup.length / 12);
  for (let at = 0; at < backup.length; at += step) {
    const damaged = Buffer.from(backup);
    damaged[at] = (damaged[at] as number) ^ 1;
    await writeFile(`${file}.damaged`, damaged);
    t.match(await vault(empty, 'correct horse', 'restore', '--from', `${file}.damaged`), { code: 1 }, `byte ${at}`);
  }
  await writeFile(`${file}.damaged`, backup.subarray(0, -1));
  t.match(await vault(empty, 'correct horse', 'restore', '--from', `${file}.damaged`), { code: 1 }, 'cut short');
  t.notOk((await readdir(empty)).includes('vault'), 'nothing was written');
  t.match(await vault(empty, 'correct horse', 'restore', '--from', `${file}.none`), { code: 2 });
  t.match(await vault(empty, 'correct horse', 'restore'), { code: 2, stderr: /Usage/ });

  t.match(await vault(empty, 'correct horse', 'restore', '--from', file), { code: 0, stdout: /^4 keys/ });
  t.match(await vault(empty, 'correct horse', 'restore', '--from', file), { code: 0 }, 'again');
  const restored = await openFileVault({ directory: join(empty, 'vault') });
  for (const [i, study] of studies.entries()) t.same(await restored.find(study), keys[i]);

  const other = await tempFolder(t);
  await (await openFileVault({ directory: join(other, 'vault') })).ensure('1.2.3');
  t.match(await vault(other, 'correct horse', 'restore', '--from', file), { code: 1, stderr: /keys of its own/ });
  let count = 0;
  for await (const _ of (await openFileVault({ directory: join(other, 'vault') })).all()) count += 1;
  t.equal(count, 1, 'nothing was mixed in');
});

test('an increment holds what is new, and erasures carry over', async (t) => {
  const dataDir = await tempFolder(t);
  const folder = await tempFolder(t);
  const [whole, first, second] = ['whole', 'first', 'second'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const directory = join(dataDir, 'vault');
  const held = await openFileVault({ directory });
  for (const study of ['1.2.3', '1.2.4']) await held.ensure(study);
  const [erased = ''] = await readdir(join(directory, 'studies'));
  t.match(await vault(dataDir, 'correct horse', 'backup', '--out', whole), { code: 0, stdout: /^3 keys/ });
  const itself = backupKeys(dataDir, whole, 'correct horse', [whole]);
  await t.rejects(itself, { code: 'bad-setting', message: /is a base too/ }, 'a base is not written over');
  await symlink(whole, join(folder, 'link'));
  const linked = backupKeys(dataDir, join(folder, 'link'), 'correct horse', [whole]);
  await t.rejects(linked, { code: 'bad-setting', message: /is a base too/ }, 'nor by another name');
  await held.ensure('1.2.5');
  const changed = await vault(dataDir, 'correct horse', 'backup', '--out', first, '--base', whole);
  t.match(changed, { code: 0, stdout: /^1 keys .* 0 are gone/ });
  await rm(join(directory, 'studies', erased));
  const bases = ['--base', whole, '--base', first];
  const last = await vault(dataDir, 'correct horse', 'backup', '--out', second, ...bases);
  t.match(last, { code: 0, stdout: /^0 keys .* 1 are gone/ });
  t.ok((await stat(second)).size < (await stat(whole)).size);

  const empty = await tempFolder(t);
  for (const files of [[whole, second], [first], [whole, first, first], [second, whole]]) {
    const from = files.flatMap((file) => ['--from', file]);
    t.match(await vault(empty, 'correct horse', 'restore', ...from), { code: 1, stderr: /does not follow/ });
  }
  t.notOk((await readdir(empty)).includes('vault'), 'nothing was written');
  t.match(await vault(empty, 'correct horse', 'restore', '--from', whole), { code: 0 });
  t.ok((await readdir(join(empty, 'vault', 'studies'))).includes(erased));
  const all = ['--from', whole, '--from', first, '--from', second];
  t.match(await vault(empty, 'correct horse', 'restore', ...all), { code: 0, stdout: /^3 keys/ });
  const studies = await readdir(join(empty, 'vault', 'studies'));
  t.strictSame(studies.sort(), (await readdir(join(directory, 'studies'))).sort(), 'the erased key is gone here too');
});

test('no backup brings back a key that was erased where it is restored, or that it says was', async (t) => {
  const dataDir = await tempFolder(t);
  const folder = await tempFolder(t);
  const [old, young] = [join(folder, 'old'), join(folder, 'young')];
  const directory = join(dataDir, 'vault');
  const held = await openFileVault({ directory });
  const [erased, kept] = [await held.ensure('1.2.3'), await held.ensure('1.2.4')];
  await backupKeys(dataDir, old, 'correct horse');
  await held.erase('1.2.3');
  const again = await held.ensure('1.2.3');
  t.notSame(again, erased);

  const restored = await vault(dataDir, 'correct horse', 'restore', '--from', old);
  t.match(restored, { code: 0, stdout: /^2 keys .*; 1 were erased since/ });
  const keys = await openFileVault({ directory });
  t.same(await keys.find('1.2.3'), again, 'the study came again, and keeps its new key');
  t.same(await keys.find('1.2.4'), kept);

  await keys.erase('1.2.3');
  await vault(dataDir, 'correct horse', 'restore', '--from', old);
  t.equal(await (await openFileVault({ directory })).find('1.2.3'), undefined);
  await backupKeys(dataDir, young, 'correct horse', [old]);
  const empty = await tempFolder(t);
  t.match(await vault(empty, 'correct horse', 'restore', '--from', old, '--from', young), {
    code: 0,
    stdout: /^2 keys/,
  });
  t.match(await vault(empty, 'correct horse', 'restore', '--from', old), { code: 0, stdout: /1 were erased since/ });
  const elsewhere = await openFileVault({ directory: join(empty, 'vault') });
  t.equal(await elsewhere.find('1.2.3'), undefined, 'the note of it went with the backup');
  t.same(await elsewhere.find('1.2.4'), kept);
  for (const name of await readdir(join(directory, 'erased'))) t.match(name, /^[0-9a-f]{64}$/);
});

test('a key that was erased elsewhere is erased where the backup is restored', async (t) => {
  const [dataDir, copy, folder] = [await tempFolder(t), await tempFolder(t), await tempFolder(t)];
  const [old, young] = [join(folder, 'old'), join(folder, 'young')];
  const held = await openFileVault({ directory: join(dataDir, 'vault') });
  for (const study of ['1.2.3', '1.2.4', '1.2.5']) await held.ensure(study);
  await backupKeys(dataDir, old, 'correct horse');
  await restoreKeys(copy, [old], 'correct horse');
  await held.erase('1.2.3');
  await held.erase('1.2.4');
  const again = await held.ensure('1.2.4');
  await backupKeys(dataDir, young, 'correct horse');
  await restoreKeys(copy, [young], 'correct horse');
  const there = await openFileVault({ directory: join(copy, 'vault') });
  t.equal(await there.find('1.2.3'), undefined);
  t.same(await there.find('1.2.4'), again, 'the study came again there');
  t.same(await there.find('1.2.5'), await held.find('1.2.5'));
});
