import { execFile } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'tap';
import { privateKeyToAccount } from 'viem/accounts';
import { accountOf } from '../../../../src/adapters/ledger/key.ts';
import { tempFolder } from '../../../fixtures/temp.ts';
import { skipWithout } from '../../../fixtures/tools.ts';

const KEY = `0x${'0'.repeat(60)}cafe` as const;

test('the key comes from a file, or from a keystore that geth made', { skip: skipWithout('geth') }, async (t) => {
  const directory = await tempFolder(t);
  const [keyFile, passphraseFile] = [join(directory, 'given'), join(directory, 'passphrase')];
  await writeFile(keyFile, `${KEY.slice(2)}\n`);
  await writeFile(passphraseFile, 'correct horse\n');
  const { address } = privateKeyToAccount(KEY);
  const geth = ['account', 'import', '--lightkdf', '--keystore', directory, '--password', passphraseFile, keyFile];
  await promisify(execFile)('geth', ['--datadir', directory, ...geth]);
  const keystore = join(directory, (await readdir(directory)).find((name) => name.startsWith('UTC--')) ?? '');
  t.equal((await accountOf({ directory, keyFile: keystore, passphraseFile })).address, address);
  const { crypto: Crypto, ...rest } = JSON.parse(await readFile(keystore, 'utf8'));
  const ethers = join(directory, 'ethers');
  await writeFile(ethers, JSON.stringify({ ...rest, Crypto }));
  t.equal((await accountOf({ directory, keyFile: ethers, passphraseFile })).address, address, 'as ethers writes it');
  await t.rejects(accountOf({ directory, keyFile: keystore }), {
    code: 'bad-setting',
    message: /passphrase is not set/,
  });
  await writeFile(passphraseFile, 'another horse\n');
  await t.rejects(accountOf({ directory, keyFile: keystore, passphraseFile }), {
    code: 'bad-setting',
    message: /wrong/,
  });
  await writeFile(keyFile, `${KEY}\n`);
  t.equal((await accountOf({ directory, keyFile })).address, address);
  await t.rejects(accountOf({ directory, keyFile: join(directory, 'none') }), { code: 'bad-setting' });
});
