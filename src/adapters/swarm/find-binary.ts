import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { kuboEnvironment } from './kubo-repo.ts';
import { inWords } from './unavailable.ts';

const run = promisify(execFile);
const TIMEOUT_MS = 10_000;

export interface Binary {
  /** Absolute, or as it was set. */
  path: string;
  /** Kubo's version, such as `0.43.1`. */
  version: string;
}

/**
 * Finds a Kubo that can be run: `set` alone where it is given, else that of npm's package `kubo` (whose installer may
 * have failed, which is no error), else `ipfs` on the PATH. Says why where there is none.
 */
export async function findBinary(set?: string): Promise<Binary | { reason: string }> {
  if (set !== undefined) return examine(set);
  for (const find of [fromPackage, fromPath]) {
    const path = await find();
    const found = path === undefined ? undefined : await examine(path);
    if (found !== undefined && 'path' in found) return found;
  }
  return { reason: 'no Kubo: none is set, none on the PATH, and npm could not install its package' };
}

async function examine(path: string): Promise<Binary | { reason: string }> {
  try {
    // Without a home, as a system's service has none, Kubo says nothing, not even this.
    const env = kuboEnvironment(join(tmpdir(), 'no-repository'));
    const { stdout } = await run(path, ['version', '--number'], { timeout: TIMEOUT_MS, env });
    const version = stdout.trim();
    if (/^\d+\.\d+\.\d+/.test(version)) return { path, version };
    return { reason: 'the program that is set as Kubo is something else' };
  } catch (error) {
    return { reason: `the program that is set as Kubo cannot be run: ${inWords(error)}` };
  }
}

/** The optional package is absent on most machines, so its name is no import that a compiler could follow. */
async function fromPackage(): Promise<string | undefined> {
  const name: string = 'kubo';
  try {
    const kubo = (await import(name)) as { default: { path(options: { autoDownload: boolean }): string } };
    return kubo.default.path({ autoDownload: false });
  } catch {
    return undefined; // Not installed, or without its binary: the PATH is next.
  }
}

async function fromPath(): Promise<string | undefined> {
  try {
    const { stdout } = await run('/bin/sh', ['-c', 'command -v ipfs'], { timeout: TIMEOUT_MS });
    return stdout.trim();
  } catch {
    return undefined; // Exit status 1: not on the PATH.
  }
}
