import type { TransferProgress } from '../flows/serve/transfer.ts';
import { runningBridge, tellProblem } from './running-bridge.ts';

const DONE = 0;
const SOME_FAILED = 1;
const COULD_NOT = 2;

/** Has the bridge that runs on this data directory send a study, series or instance. @returns the exit code */
export async function sendCommand([aeTitle = '', study = '', series, instance]: string[]): Promise<number> {
  const base = runningBridge('send');
  if (base === undefined) return COULD_NOT;
  const query = new URLSearchParams({ StudyInstanceUID: study });
  if (series) query.set('SeriesInstanceUID', series);
  if (instance) query.set('SOPInstanceUID', instance);
  const response = await fetch(`${base}/dimse/${encodeURIComponent(aeTitle)}/send?${query}`, { method: 'POST' });
  if (!response.ok || !response.body) {
    await tellProblem('send', response);
    return COULD_NOT;
  }
  let text = '';
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    process.stdout.write(piece);
  }
  const { failed } = JSON.parse(text.trimEnd().split('\n').at(-1) ?? '') as TransferProgress;
  return failed === 0 ? DONE : SOME_FAILED;
}
