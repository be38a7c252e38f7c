import type { Index } from '../../ports/index.ts';

/** What has to be true of an instance before its safekeeping is confirmed, beside that it is sealed and durable. */
export type CommitAfter = 'stored' | 'replicated' | 'anchored' | 'both';

/** An instance that a sender asks about. */
export interface Reference {
  sopClassUID: string;
  sopInstanceUID: string;
}

export type Verdict = 'committed' | 'waiting' | 'no-such-instance' | 'class-conflict';

/** What is to be said of one instance now: its current version counts. */
export function judge(
  { sopClassUID, sopInstanceUID }: Reference,
  after: CommitAfter,
  index: Pick<Index, 'versions'>,
): Verdict {
  const current = index.versions(sopInstanceUID).at(-1);
  if (!current || current.rejection) return 'no-such-instance';
  if (current.version.sopClassUID !== sopClassUID) return 'class-conflict';
  const { batch } = current;
  const replicated = batch?.replicatedAt !== undefined;
  const anchored = batch?.anchored !== undefined;
  const enough = { stored: true, replicated, anchored, both: replicated && anchored };
  return enough[after] ? 'committed' : 'waiting';
}
