import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { lockDirectory } from '../adapters/blocks/lock.ts';
import { backupKeys, restoreKeys } from '../adapters/vault/backup.ts';
import { readConfig } from './config.ts';
import { saying, UsageError } from './outcome.ts';

const USAGE = `Usage: dagpacs vault backup  --out FILE --passphrase-file FILE
       dagpacs vault restore --from FILE --passphrase-file FILE

The keys of DAGPACS_DATA_DIR, and its account and contract on the chain, in one encrypted file. With \`-\` the passphrase is
read from standard input. A backup is all that a rebuild needs beside the chain and IPFS; whoever has it and the passphrase
can read every study.
`;

/** `dagpacs vault`. @returns the exit code */
export function vaultCommand(args: string[]): Promise<number> {
  return saying('dagpacs vault', USAGE, async () => {
    const { positionals, values } = parseArgs({
      args,
      allowPositionals: true,
      options: { out: { type: 'string' }, from: { type: 'string' }, 'passphrase-file': { type: 'string' } },
    });
    const [verb, ...rest] = positionals;
    const file = verb === 'backup' ? values.out : values.from;
    const from = values['passphrase-file'];
    if ((verb !== 'backup' && verb !== 'restore') || rest.length > 0) throw new UsageError('backup or restore?');
    if (file === undefined || from === undefined) throw new UsageError('a file and --passphrase-file are needed');
    const dataDir = readConfig().DAGPACS_DATA_DIR;
    const passphrase = (from === '-' ? await text(process.stdin) : await readFile(from, 'utf8')).replace(/\r?\n$/, '');
    if (verb === 'backup') {
      process.stdout.write(`${await backupKeys(dataDir, file, passphrase)} keys are in ${file}\n`);
      return 0;
    }
    const release = lockDirectory(dataDir);
    try {
      process.stdout.write(`${await restoreKeys(dataDir, file, passphrase)} keys are in ${dataDir}\n`);
      return 0;
    } finally {
      release();
    }
  });
}
