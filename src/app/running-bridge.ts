import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDagpacsError } from '../kernel/errors.ts';
import { readConfig } from './config.ts';

/**
 * Base URL of the bridge that runs on this data directory.
 * @returns undefined where there is none, after a line on standard error that says so for `command`
 */
export function runningBridge(command: string): string | undefined {
  try {
    const { DAGPACS_DATA_DIR } = readConfig();
    return (JSON.parse(readFileSync(join(DAGPACS_DATA_DIR, 'bridge.json'), 'utf8')) as { http: string }).http;
  } catch (error) {
    const why = isDagpacsError(error) ? error.message : 'no bridge runs on this data directory';
    process.stderr.write(`dagpacs ${command}: ${why}\n`);
    return undefined;
  }
}

/** Tells on standard error what a problem (RFC 9457) says. */
export async function tellProblem(command: string, response: Response): Promise<void> {
  const { detail = '', title = '', rule = '' } = (await response.json()) as Record<string, string>;
  process.stderr.write(`dagpacs ${command}: ${detail || title}${rule ? ` (${rule})` : ''}\n`);
}
