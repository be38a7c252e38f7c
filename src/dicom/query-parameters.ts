import { DagpacsError } from '../kernel/errors.ts';
import { tagOf, vrOf } from './dictionary.ts';
import { isUniversal, NUMBER_VRS } from './matching.ts';
import { combineMoments } from './moments.ts';
import type { Match, Query, SortKey } from './query.ts';

/** Sequences in a path; the header has no deeper ones that are kept. */
const MAX_DEPTH = 32;
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
const UNMATCHABLE = new Set(['SQ', 'OB', 'OW', 'OF', 'OD', 'OL', 'OV']);
/** Values of these have no comma of their own, so that one separates several: any of them may match. */
const COMMA_LISTS = new Set([...NUMBER_VRS, ...Object.keys(RANGES), 'UI', 'CS']);
/** Values of these may have a backslash of their own (PS3.5 §6.2). */
const ONE_VALUE = new Set(['LT', 'ST', 'UT', 'UR']);
/** How an empty value is asked for (PS3.4 C.2.2.2.7). */
const EMPTY = '""';

/** The resource that is searched, and how much of it is given back. */
export type Search = Pick<Query, 'level' | 'studyInstanceUID' | 'seriesInstanceUID' | 'limit' | 'offset' | 'fuzzy'>;

/** Parameters that name attributes; each may be repeated, or be a list with commas. */
export interface AttributeLists {
  /** Attributes to give back, or `all`. */
  includefield?: readonly string[];
  /** Attributes to order by; a hyphen before one turns its order round. */
  orderby?: readonly string[];
}

/**
 * Makes a query of QIDO-RS parameters (PS3.18 §8.3.4). Attributes are keywords, tags of eight hexadecimal digits, or paths
 * of these through sequences (`RequestAttributesSequence.ScheduledProcedureStepID`); what is matched is given back too.
 * @param parameters name → values as decoded from the URL, without the ones that are no attributes
 * @throws DagpacsError `invalid-parameter`, naming the parameter
 */
export function parseQueryParameters(
  search: Search,
  parameters: Iterable<readonly [name: string, values: readonly string[]]>,
  { includefield = [], orderby = [] }: AttributeLists = {},
): Query {
  const include = new Set<string>();
  const matches = new Map<string, Match>();
  for (const [name, values] of parameters) {
    const path = pathOf(name);
    if (path === undefined) throw invalid(name, 'a keyword or tag of PS3.6, or a parameter of PS3.18 §8.3.4');
    include.add(path.slice(0, 8));
    const match = matchOf(name, path, values);
    if (match === undefined) continue;
    if (matches.has(path)) throw invalid(name, 'an attribute is given by one name');
    matches.set(path, match);
  }
  const fields = listed(includefield);
  for (const field of fields) {
    if (field === 'all') continue;
    const path = pathOf(field);
    if (path === undefined) throw invalid('includefield', 'keywords or tags of PS3.6, or "all" (PS3.18 §8.3.4.3)');
    include.add(path.slice(0, 8));
  }
  const order = listed(orderby).map(sortKeyOf);
  return {
    ...search,
    matches: combineMoments([...matches.values()]),
    include: fields.includes('all') ? 'all' : [...include],
    ...(order.length > 0 && { order }),
  };
}

function listed(values: readonly string[]): string[] {
  return values.flatMap((list) => list.split(',')).filter((each) => each !== '');
}

function sortKeyOf(text: string): SortKey {
  const descending = text.startsWith('-');
  // A plus sign that was not escaped arrives as a space.
  const tag = pathOf(text.replace(/^[-+ ]/, ''));
  if (tag === undefined) throw invalid('orderby', 'keywords or tags of PS3.6, with a hyphen before one for descending');
  return { tag, descending };
}

/** `tag` or `tag.tag` of an attribute ID (PS3.18 §8.3.4.1.1), or undefined where a part is none or leads nowhere. */
export function pathOf(attribute: string): string | undefined {
  const tags = attribute.split('.').map((id) => (HEX_TAG.test(id) ? id.toUpperCase() : tagOf(id)));
  if (tags.length > MAX_DEPTH || tags.includes(undefined)) return undefined;
  const nested = tags.slice(0, -1).every((tag) => ['SQ', 'UN'].includes(vrOf(tag as string)));
  return nested ? tags.join('.') : undefined;
}

function invalid(name: string, rule: string): DagpacsError {
  return new DagpacsError('invalid-parameter', `The parameter ${name} breaks a rule: ${rule}`, {
    attribute: name,
    rule,
  });
}

/**
 * The matching rule for an attribute's values (PS3.4 C.2.2.2), of which any may match; undefined where that is everything.
 * Several are separated by backslashes, and by commas where no value has one of its own.
 */
export function matchOf(name: string, tag: string, given: readonly string[]): Match | undefined {
  const vr = vrOf(tag.slice(-8));
  const separator = ONE_VALUE.has(vr) ? undefined : COMMA_LISTS.has(vr) ? /[,\\]/ : '\\';
  const values = given
    .flatMap((text) => (separator ? text.split(separator) : text))
    .filter((text) => text.trim() !== '');
  if (values.length === 0 || values.some(isUniversal)) return undefined;
  const rules = values.map((value) => ruleOf(name, tag, vr, value));
  const [first] = rules;
  if (rules.length === 1) return first;
  const plain = vr === 'UI' || vr === 'CS';
  const singles = rules.flatMap((rule) => (plain && rule.kind === 'single' ? rule.value : []));
  if (singles.length === rules.length) return { tag, kind: 'uid-list', values: singles };
  return { tag, kind: 'any', of: rules };
}

function ruleOf(name: string, tag: string, vr: string, text: string): Match {
  const value = vr === 'UI' || vr === 'CS' ? text.trim() : text;
  if (value.trim() === EMPTY) return { tag, kind: 'empty' };
  if (UNMATCHABLE.has(vr)) throw invalid(name, `an attribute of VR ${vr} has no value to match (PS3.4 C.2.2.2)`);
  if (vr === 'UI' && !(value.length <= 64 && /^[\d.]+$/.test(value))) {
    throw invalid(name, 'UIDs of digits and dots, at most 64 characters each (PS3.5 §9.1)');
  }
  const range = RANGES[vr];
  if (range !== undefined) return rangeMatch(name, tag, range, value);
  if (NUMBER_VRS.has(vr)) {
    if (!/^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(value)) throw invalid(name, 'a number (PS3.5 §6.2)');
    return { tag, kind: 'single', value };
  }
  return /[*?]/.test(value) ? { tag, kind: 'wildcard', pattern: value } : { tag, kind: 'single', value };
}

function rangeMatch(
  name: string,
  tag: string,
  { pattern, rule }: { pattern: RegExp; rule: string },
  value: string,
): Match {
  const found = pattern.exec(value.trim());
  const [, single, from, to] = found ?? [];
  if (single !== undefined) return { tag, kind: 'single', value: single };
  if (from === undefined && to === undefined) throw invalid(name, rule);
  return { tag, kind: 'range', ...(from && { from }), ...(to && { to }) };
}
