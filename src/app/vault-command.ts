import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { lockDirectory } from '../adapters/blocks/lock.ts';
import { backupKeys, restoreKeys } from '../adapters/vault/backup.ts';
import { readConfig } from './config.ts';
import { saying, UsageError } from './outcome.ts';

const USAGE = `Usage: dagpacs vault backup  --out FILE [--base FILE]... --passphrase-file FILE
       dagpacs vault restore --from FILE... --passphrase-file FILE

The keys of DAGPACS_DATA_DIR, and its account and contract on the chain, in one encrypted file. With \`-\` the passphrase is
read from standard input. A backup is all that a rebuild needs beside the chain and IPFS; whoever has it and the passphrase
can read every study.

With --base (a whole backup, then its increments in their order) only what changed since is written, and which keys were
erased; restore takes them with --from in the same order, and brings no key back that was erased from the data directory
it restores into. An erased key is still in the older files: destroy them.
`;

/** `dagpacs vault`. @returns the exit code */
export function vaultCommand(args: string[]): Promise<number> {
  return saying('dagpacs vault', USAGE, async () => {
    const { positionals, values } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        out: { type: 'string' },
        base: { type: 'string', multiple: true },
        from: { type: 'string', multiple: true },
        'passphrase-file': { type: 'string' },
      },
    });
    const [verb, ...rest] = positionals;
    const { out, base = [], from: files } = values;
    const from = values['passphrase-file'];
    if ((verb !== 'backup' && verb !== 'restore') || rest.length > 0) throw new UsageError('backup or restore?');
    if ((verb === 'backup' ? out : files) === undefined || from === undefined)
      throw new UsageError('a file and --passphrase-file are needed');
    const dataDir = readConfig().DAGPACS_DATA_DIR;
    const passphrase = (from === '-' ? await text(process.stdin) : await readFile(from, 'utf8')).replace(/\r?\n$/, '');
    if (verb === 'backup' && out !== undefined) {
      const { keys, gone } = await backupKeys(dataDir, out, passphrase, base);
      const since = base.length === 0 ? '' : `, and that ${gone} are gone since ${base.at(-1)}`;
      process.stdout.write(`${keys} keys are in ${out}${since}\n`);
      return 0;
    }
    const release = lockDirectory(dataDir);
    try {
      const { keys, erased } = await restoreKeys(dataDir, files ?? [], passphrase);
      const left = erased === 0 ? '' : `; ${erased} were erased since, and stay so`;
      process.stdout.write(`${keys} keys are in ${dataDir}${left}\n`);
      return 0;
    } finally {
      release();
    }
  });
}
