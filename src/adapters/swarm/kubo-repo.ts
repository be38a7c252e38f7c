import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { DagpacsError } from '../../kernel/errors.ts';
import { type Config, makePrivate } from './private-config.ts';

const run = promisify(execFile);
const INIT_TIMEOUT_MS = 60_000;

const SWARM_KEY =
  /^\/key\/swarm\/psk\/1\.0\.0\/\r?\n(\/base16\/\r?\n[0-9a-fA-F]{64}|\/base64\/\r?\n[A-Za-z0-9+/]{43}=)\s*$/;

/** The child's whole environment: it is given nothing of ours, where the key of the chain may be. */
export function kuboEnvironment(repo: string): NodeJS.ProcessEnv {
  return { IPFS_PATH: repo, HOME: repo, PATH: '/usr/bin:/bin', LIBP2P_FORCE_PNET: '1', IPFS_TELEMETRY: 'off' };
}

/**
 * Makes the private node's repository at `repo` where there is none, in one step, so that a crash leaves all of it or
 * nothing; and settles its configuration and swarm key where there is one.
 */
export async function prepareRepo(binary: string, repo: string): Promise<void> {
  if (await exists(repo)) return settle(repo);
  const fresh = `${repo}.new`;
  await mkdir(dirname(repo), { recursive: true, mode: 0o700 });
  await rm(fresh, { recursive: true, force: true });
  await run(binary, ['init', '--empty-repo'], { env: kuboEnvironment(fresh), timeout: INIT_TIMEOUT_MS });
  await settle(fresh);
  await rename(fresh, repo);
}

async function settle(repo: string): Promise<void> {
  const key = join(repo, 'swarm.key');
  if (!(await exists(key))) {
    await replace(key, `/key/swarm/psk/1.0.0/\n/base16/\n${randomBytes(32).toString('hex')}\n`);
  }
  if (!SWARM_KEY.test(await readFile(key, 'utf8'))) {
    const rule = '/key/swarm/psk/1.0.0/, /base16/ and 64 hexadecimal digits, a line each';
    throw new DagpacsError('swarm-unavailable', `the swarm key in the data directory is malformed: it must be ${rule}`);
  }
  const file = join(repo, 'config');
  const text = await readFile(file, 'utf8');
  const settled = `${JSON.stringify(makePrivate(JSON.parse(text) as Config), null, 2)}\n`;
  if (settled !== text) await replace(file, settled);
}

async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
