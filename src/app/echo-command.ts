import { runningBridge, tellProblem } from './running-bridge.ts';

const DONE = 0;
const NO_ANSWER = 1;
const COULD_NOT = 2;
const BAD_GATEWAY = 502;

/** Has the bridge that runs on this data directory verify a peer. @returns the exit code; 1 where it does not answer */
export async function echoCommand([aeTitle = '']: string[]): Promise<number> {
  const base = runningBridge('echo');
  if (base === undefined) return COULD_NOT;
  const response = await fetch(`${base}/dimse/${encodeURIComponent(aeTitle)}/echo`, { method: 'POST' });
  if (!response.ok) {
    await tellProblem('echo', response);
    return response.status === BAD_GATEWAY ? NO_ANSWER : COULD_NOT;
  }
  const { milliseconds } = (await response.json()) as { milliseconds: number };
  process.stdout.write(`${aeTitle} answered in ${milliseconds.toFixed(1)} ms\n`);
  return DONE;
}
