import { isDagpacsError } from '../kernel/errors.ts';
import { readConfig } from './config.ts';
import { startBridge } from './lifecycle.ts';

const COULD_NOT = 2;

/**
 * Runs a bridge until SIGTERM, SIGINT or SIGHUP. Further ones change nothing, for a Ctrl-C comes twice under npm: from the
 * terminal, and passed on by npm. @returns the exit code: 0 stopped as asked, 2 could not start
 */
export async function serveCommand(): Promise<number> {
  const asked = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve());
  });
  // A closed terminal or pipe: that nobody reads is no reason to end, least of all in the middle of something.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  try {
    const running = await startBridge(readConfig());
    process.stdout.write(running.banner);
    await asked;
    process.stdout.write('DagPACS stops: what is in flight is let end.\n');
    await running.stop();
    return 0;
  } catch (error) {
    if (!isDagpacsError(error)) throw error;
    const { attribute, rule } = error.subject;
    process.stderr.write(`DagPACS could not start: ${error.message}${attribute ? ` [${attribute}: ${rule}]` : ''}\n`);
    return COULD_NOT;
  }
}
