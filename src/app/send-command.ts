import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TransferProgress } from '../flows/serve/transfer.ts';
import { isDagpacsError } from '../kernel/errors.ts';
import { readConfig } from './config.ts';

const DONE = 0;
const SOME_FAILED = 1;
const COULD_NOT = 2;

/** Has the bridge that runs on this data directory send a study, series or instance. @returns the exit code */
export async function sendCommand([aeTitle = '', study = '', series, instance]: string[]): Promise<number> {
  let base: string;
  try {
    const { DAGPACS_DATA_DIR } = readConfig();
    ({ http: base } = JSON.parse(readFileSync(join(DAGPACS_DATA_DIR, 'bridge.json'), 'utf8')) as { http: string });
  } catch (error) {
    const why = isDagpacsError(error) ? error.message : 'no bridge runs on this data directory';
    process.stderr.write(`dagpacs send: ${why}\n`);
    return COULD_NOT;
  }
  const query = new URLSearchParams({ StudyInstanceUID: study });
  if (series) query.set('SeriesInstanceUID', series);
  if (instance) query.set('SOPInstanceUID', instance);
  const response = await fetch(`${base}/dimse/${encodeURIComponent(aeTitle)}/send?${query}`, { method: 'POST' });
  if (!response.ok || !response.body) {
    const { title = '', rule = '' } = (await response.json()) as { title?: string; rule?: string };
    process.stderr.write(`dagpacs send: ${title}${rule ? ` (${rule})` : ''}\n`);
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
