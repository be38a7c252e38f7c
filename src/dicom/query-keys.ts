import { keywordOf } from './dictionary.ts';
import { isUniversal } from './matching.ts';
import type { DicomElement, DicomJson, DicomValue, PersonName } from './model.ts';
import { combineMoments } from './moments.ts';
import type { Match, Query, QueryLevel } from './query.ts';
import { levelOf, reaches } from './query-levels.ts';
import { matchOf } from './query-parameters.ts';

/** A query that came as an identifier (PS3.4 C.4.1.1.3), and what its answers are to hold. */
export interface KeyedQuery {
  query: Query;
  /** The keys as they were asked for: what a response has of them, empty ones too. */
  keys: DicomJson;
  /** Optional keys that are not supported for matching, or cannot be there at that level. */
  unsupported: string[];
}

/** What was negotiated beyond the baseline (PS3.4 C.5.1.1). */
export interface QueryOptions {
  fuzzy: boolean;
  /** Date and time are matched as one moment. */
  combined: boolean;
}

/** Query/Retrieve Level, Retrieve AE Title, Retrieve URL, Specific Character Set, Timezone Offset: no keys to match. */
const NO_KEYS = new Set(['00080005', '00080052', '00080054', '00081190', '00080201']);
/** What the bridge counts: asked for, never matched. */
const COUNTS = new Set(['00201200', '00201202', '00201204', '00201206', '00201208', '00201209']);

/**
 * Makes a query of an identifier's keys. A key without a value is asked back; one with a value is matched too.
 * @throws DagpacsError `invalid-parameter`, naming the key
 */
export function parseQueryKeys(level: QueryLevel, dataset: DicomJson, options: QueryOptions): KeyedQuery {
  const keys: DicomJson = {};
  const unsupported: string[] = [];
  const matches: Match[] = [];
  for (const [tag, element] of Object.entries(dataset)) {
    if (NO_KEYS.has(tag)) continue;
    keys[tag] = element;
    if (!reaches(level, levelOf(tag))) unsupported.push(tag);
    if (COUNTS.has(tag)) {
      if (valuesOf(element).length > 0) unsupported.push(tag);
    } else matches.push(...matchesOf(tag, element, unsupported));
  }
  const query: Query = {
    level,
    matches: options.combined ? combineMoments(matches) : matches,
    include: Object.keys(keys),
    limit: Number.MAX_SAFE_INTEGER,
    offset: 0,
    fuzzy: options.fuzzy,
  };
  return { query, keys, unsupported: [...new Set(unsupported)] };
}

/** An element's values as text, without empty ones. */
export function valuesOf(element: DicomElement | undefined): string[] {
  return (element?.Value ?? []).map(textOf).filter((value) => value !== '');
}

function textOf(value: DicomValue): string {
  if (value === null) return '';
  if (typeof value !== 'object') return String(value);
  const { Alphabetic = '', Ideographic = '', Phonetic = '' } = value as PersonName;
  return [Alphabetic, Ideographic, Phonetic].join('=').replace(/=+$/, '');
}

function matchesOf(path: string, element: DicomElement, unsupported: string[]): Match[] {
  if (element.vr === 'SQ') {
    const [item, ...more] = (element.Value ?? []) as DicomJson[];
    if (more.length > 0) unsupported.push(path.slice(0, 8));
    return Object.entries(item ?? {}).flatMap(([tag, inner]) => matchesOf(`${path}.${tag}`, inner, unsupported));
  }
  if (element.InlineBinary !== undefined || element.BulkDataURI !== undefined) {
    unsupported.push(path.slice(0, 8));
    return [];
  }
  const values = valuesOf(element);
  if (values.length === 0 || values.every(isUniversal)) return [];
  const match = matchOf(keywordOf(path.slice(-8)) ?? path, path, values);
  return match ? [match] : [];
}
