import { dateKey, timeKey } from './matching.ts';
import type { Match } from './query.ts';

/** Dates and the times that make one moment with them. */
const MOMENTS: Record<string, string> = {
  '00080020': '00080030',
  '00080021': '00080031',
  '00080022': '00080032',
  '00080023': '00080033',
  '00400244': '00400245',
};

type Range = Match & { kind: 'range' };

function rangeOf(match: Match | undefined): Range | undefined {
  return match?.kind === 'range' ? match : undefined;
}

/**
 * Puts a range of dates and one of their times together (PS3.4 C.2.2.2.5: from the moment at one end to that at the
 * other). A time whose end the date leaves open stays a rule of its own.
 */
export function combineMoments(matches: readonly Match[]): Match[] {
  const byTag = new Map(matches.map((match) => [match.tag, match]));
  for (const [tag, timeTag] of Object.entries(MOMENTS)) {
    const date = rangeOf(byTag.get(tag));
    const time = rangeOf(byTag.get(timeTag));
    if (!date || !time || (time.from && !date.from) || (time.to && !date.to)) continue;
    byTag.delete(timeTag);
    byTag.set(tag, {
      tag,
      timeTag,
      kind: 'moment',
      ...(date.from && { from: dateKey(date.from) + timeKey(time.from ?? '000000', 'from') }),
      ...(date.to && { to: dateKey(date.to) + timeKey(time.to ?? '235959.999999', 'to') }),
    });
  }
  return [...byTag.values()];
}
