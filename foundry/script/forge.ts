import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** The repository's root: paths in foundry.toml are from there. */
export const root = join(import.meta.dirname, '../..');

/** The forge binary that npm brought for this machine. */
function forgeBinary(): string {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const suffix = process.platform === 'win32' ? '.exe' : '';
  const from = createRequire(import.meta.url).resolve(`@foundry-rs/forge-${process.platform}-${arch}/package.json`);
  return join(dirname(from), 'bin', `forge${suffix}`);
}

/** Runs forge at the root with foundry/foundry.toml, and gives its exit code. `quiet`: print its errors only. */
export function forge(args: readonly string[], quiet = false): Promise<number> {
  const child = spawn(forgeBinary(), args, {
    cwd: root,
    env: {
      FORGE_SNAPSHOT_CHECK: 'true',
      FORGE_SNAPSHOT_EMIT: String(process.env.FORGE_SNAPSHOT_CHECK === 'false'),
      ...process.env,
      FOUNDRY_CONFIG: join(root, 'foundry/foundry.toml'),
    },
    stdio: ['inherit', quiet ? 'ignore' : 'inherit', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
