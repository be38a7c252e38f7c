import { DagpacsError } from '../kernel/errors.ts';
import { tagOf, vrOf } from './dictionary.ts';
import { isUniversal } from './matching.ts';
import type { Match, Query } from './query.ts';

const HEX_TAG = /^[0-9A-Fa-f]{8}$/;
const DA = '\\d{4}\\.?(?:0[1-9]|1[0-2])\\.?(?:0[1-9]|[12]\\d|3[01])';
const TM = '(?:[01]\\d|2[0-3])(?::?[0-5]\\d(?::?(?:[0-5]\\d|60)(?:\\.\\d{1,6})?)?)?';
/** A hyphen before 0000 to 1459 is an offset from UTC, any other the middle of a range. */
const DT = '\\d{4}(?:\\d{2}){0,5}(?:\\.\\d{1,6})?(?:[+-](?:0\\d|1[0-4])[0-5]\\d)?';
/** Value, or a range with at least one end (PS3.4 C.2.2.2.5). */
const rangeOf = (value: string) => new RegExp(`^(?:(${value})|(${value})?-(${value})?)$`);
const RANGES: Record<string, { pattern: RegExp; rule: string }> = {
  DA: { pattern: rangeOf(DA), rule: 'a date YYYYMMDD or a range of dates (PS3.4 C.2.2.2.5.1)' },
  TM: { pattern: rangeOf(TM), rule: 'a time HHMMSS.FFFFFF or a range of times (PS3.4 C.2.2.2.5.2)' },
  DT: { pattern: rangeOf(DT), rule: 'a date time or a range of date times (PS3.4 C.2.2.2.5.3)' },
};
const NUMBERS = new Set(['IS', 'DS', 'US', 'SS', 'UL', 'SL', 'UV', 'SV', 'FL', 'FD']);
const UNMATCHABLE = new Set(['SQ', 'OB', 'OW', 'OF', 'OD', 'OL', 'OV']);
/** Attributes of which viewers send several values, any of which may match, as they do with UIDs. */
const LISTS = new Set(['00080060', '00080061']);

/** The resource that is searched, and how much of it is given back. */
export type Search = Pick<Query, 'level' | 'studyInstanceUID' | 'seriesInstanceUID' | 'limit' | 'offset' | 'fuzzy'>;

/**
 * Makes a query of QIDO-RS parameters (PS3.18 §8.3.4). Attributes are keywords, tags of eight hexadecimal digits, or paths
 * of these through sequences (`RequestAttributesSequence.ScheduledProcedureStepID`); what is matched is given back too.
 * @param parameters name → values as decoded from the URL, without the ones that are no attributes
 * @param includefield values of that parameter, each an attribute, a comma-separated list of them, or `all`
 * @throws DagpacsError `invalid-parameter`, naming the parameter
 */
export function parseQueryParameters(
  search: Search,
  parameters: Iterable<readonly [name: string, values: readonly string[]]>,
  includefield: readonly string[],
): Query {
  const include = new Set<string>();
  const matches = new Map<string, Match>();
  for (const [name, values] of parameters) {
    const path = pathOf(name);
    if (path === undefined) throw invalid(name, 'a keyword or tag of PS3.6, or a parameter of PS3.18 §8.3.4');
    include.add(path.slice(0, 8));
    const match = matchOf(name, path, values);
    if (match === undefined) continue;
    if (matches.has(path)) throw invalid(name, 'an attribute is given once');
    matches.set(path, match);
  }
  const fields = includefield.flatMap((list) => list.split(',')).filter((field) => field !== '');
  for (const field of fields) {
    if (field === 'all') continue;
    const path = pathOf(field);
    if (path === undefined) throw invalid('includefield', 'keywords or tags of PS3.6, or "all" (PS3.18 §8.3.4.3)');
    include.add(path.slice(0, 8));
  }
  return { ...search, matches: [...matches.values()], include: fields.includes('all') ? 'all' : [...include] };
}

/** `tag` or `tag.tag` of an attribute ID (PS3.18 §8.3.4.1.1), or undefined. */
function pathOf(attribute: string): string | undefined {
  const tags = attribute.split('.').map((id) => (HEX_TAG.test(id) ? id.toUpperCase() : tagOf(id)));
  return tags.includes(undefined) ? undefined : tags.join('.');
}

function invalid(name: string, rule: string): DagpacsError {
  return new DagpacsError('invalid-parameter', `The parameter ${name} breaks a rule: ${rule}`, {
    attribute: name,
    rule,
  });
}

/** The matching rule for a value (PS3.4 C.2.2.2); undefined for one that matches everything. */
export function matchOf(name: string, tag: string, values: readonly string[]): Match | undefined {
  const vr = vrOf(tag.slice(-8));
  if (vr === 'UI' || LISTS.has(tag)) return listOf(name, tag, vr, values);
  const [value = ''] = values;
  if (values.length > 1) throw invalid(name, 'an attribute is given once');
  if (isUniversal(value)) return undefined;
  if (UNMATCHABLE.has(vr)) throw invalid(name, `an attribute of VR ${vr} has no value to match (PS3.4 C.2.2.2)`);
  const range = RANGES[vr];
  if (range !== undefined) return rangeMatch(name, tag, range, value);
  if (NUMBERS.has(vr)) {
    if (!/^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(value)) throw invalid(name, 'a number (PS3.5 §6.2)');
    return { tag, kind: 'single', value };
  }
  return /[*?]/.test(value) ? { tag, kind: 'wildcard', pattern: value } : { tag, kind: 'single', value };
}

/** UIDs are separated by commas (PS3.18 §8.3.4.2) or, as in C-FIND, by backslashes. */
function listOf(name: string, tag: string, vr: string, given: readonly string[]): Match | undefined {
  const values = given.flatMap((text) => text.split(/[,\\]/)).flatMap((text) => text.trim() || []);
  if (values.every(isUniversal)) return undefined;
  if (vr === 'UI' && !values.every((uid) => uid.length <= 64 && /^[\d.]+$/.test(uid))) {
    throw invalid(name, 'UIDs of digits and dots, at most 64 characters each (PS3.5 §9.1)');
  }
  const [only = ''] = values;
  if (values.length > 1) return { tag, kind: 'uid-list', values };
  return /[*?]/.test(only) ? { tag, kind: 'wildcard', pattern: only } : { tag, kind: 'single', value: only };
}

function rangeMatch(name: string, tag: string, { pattern, rule }: { pattern: RegExp; rule: string }, value: string) {
  const found = pattern.exec(value.trim());
  const [, single, from, to] = found ?? [];
  if (single !== undefined) return { tag, kind: 'single', value: single } as const;
  if (from === undefined && to === undefined) throw invalid(name, rule);
  return { tag, kind: 'range', ...(from && { from }), ...(to && { to }) } as const;
}
