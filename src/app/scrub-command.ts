import { parseArgs } from 'node:util';
import { isSound, type ScrubReport } from '../flows/objects/scrub-report.ts';
import { startScrub } from '../flows/upkeep/scrub.ts';
import { DagpacsError } from '../kernel/errors.ts';
import { createLog } from '../kernel/log.ts';
import { linesOf, refusalOf } from './bridge-api.ts';
import { type Config, copiesOf, readConfig } from './config.ts';
import { openOffline, runningBridge } from './offline.ts';
import { NO, saying, UsageError } from './outcome.ts';
import { progressBar } from './progress-bar.ts';

const USAGE = `Usage: dagpacs scrub [--rate BYTES]

Verifies every block that is held, here and on the nodes of the swarm that said they have it; puts right what is missing or
damaged, and says what cannot be. BYTES a second; 0, the default, as fast as it goes. With or without a bridge that runs; a
pass that was broken off without one goes on where it was.

Exit: 0 all is right, or was put right, 1 something is missing or damaged (each is said), 2 could not be done
`;

/** `dagpacs scrub`. @returns the exit code */
export function scrubCommand(args: string[]): Promise<number> {
  return saying('dagpacs scrub', USAGE, async () => {
    const { values } = parseArgs({ args, options: { rate: { type: 'string', default: '0' } } });
    if (!/^\d{1,15}$/.test(values.rate)) throw new UsageError('--rate takes a whole number of bytes a second');
    const rate = Number(values.rate);
    const config = readConfig();
    const base = await runningBridge(config);
    const undo: (() => unknown)[] = [];
    try {
      return await tell(base === undefined ? await offline(config, rate, undo) : await online(base, rate));
    } finally {
      for (const step of undo.reverse()) await step();
    }
  });
}

async function online(base: string, rate: number): Promise<AsyncIterable<ScrubReport>> {
  const response = await fetch(`${base}/custody/scrub?rate=${rate}`, { method: 'POST' });
  if (!response.ok || !response.body) throw await refusalOf(response);
  return linesOf<ScrubReport>(response.body);
}

async function offline(config: Config, rate: number, undo: (() => unknown)[]): Promise<AsyncIterable<ScrubReport>> {
  const log = createLog('silent', () => undefined);
  const parts = await openOffline(config, log, undo);
  // Nothing is being received: all that nothing refers to is garbage.
  await parts.blocks.closePack();
  const scrubber = startScrub({ rate: 0, pauseMs: 0, copies: copiesOf(config) }, { ...parts, log });
  undo.push(() => scrubber.stop());
  const broken = () => void scrubber.stop();
  process.once('SIGINT', broken).once('SIGTERM', broken);
  undo.push(() => process.off('SIGINT', broken).off('SIGTERM', broken));
  return scrubber.run(rate, 'resume');
}

async function tell(steps: AsyncIterable<ScrubReport>): Promise<number> {
  const bar = progressBar();
  let last: ScrubReport | undefined;
  for await (const step of steps) {
    last = step;
    const { versions, ofVersions, bytes } = step;
    bar.show(versions, ofVersions, `${versions}/${ofVersions} versions, ${(bytes / (1 << 20)).toFixed(0)} MiB`);
  }
  bar.end();
  if (!last || last.finishedAt === null) throw new DagpacsError('storage-failed', 'it was broken off before its end');
  const { versions, blocks, bytes, evicted, repaired, missing, damaged, remote, orphaned, freed, problems } = last;
  for (const { cid, where, problem } of problems) process.stdout.write(`${problem}: ${cid} (${where})\n`);
  const lines = [
    `${versions} versions: ${blocks} blocks (${bytes} bytes) are right, ${evicted} are in the swarm only`,
    `${repaired} repaired, ${missing} missing, ${damaged} damaged`,
    `swarm: ${remote.checked} checked, ${remote.restored} restored, ${remote.missing} missing, ${remote.damaged} damaged, ${remote.pinsLost} pins lost, ${remote.unreachable} not answered`,
    orphaned === null
      ? 'orphaned: not known'
      : `orphaned: ${orphaned.blocks} blocks (${orphaned.bytes} bytes), ${freed} bytes freed`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  return isSound(last) ? 0 : NO;
}
