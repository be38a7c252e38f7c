import type { DicomElement, DicomJson, DicomValue, PersonName } from './model.ts';
import type { Match } from './query.ts';

/** Attribute matching (PS3.4 C.2.2.2): folding, wildcards, ranges, and a match against a data set in memory. */

const ASCII = /^[ -~]*$/;
/** VRs whose values are numbers. */
export const NUMBER_VRS: ReadonlySet<string> = new Set(['IS', 'DS', 'US', 'SS', 'UL', 'SL', 'UV', 'SV', 'FL', 'FD']);
const DIACRITICS = /[\u0300-\u036f]/g;

/** Folds case and Latin, Greek and Cyrillic diacritics away; Kana voicing marks and Hangul are kept. */
export function fold(text: string): string {
  if (ASCII.test(text)) return text.toLowerCase();
  return text.normalize('NFKD').replace(DIACRITICS, '').normalize('NFC').toLowerCase();
}

/** A name's component groups (PS3.5 §6.2.1), folded, without trailing delimiters and padding; empty groups are left out. */
export function nameGroups(value: DicomValue): string[] {
  if (value === null || typeof value === 'number') return [];
  const groups = typeof value === 'string' ? value.split('=') : Object.values(value as PersonName);
  const folded: string[] = [];
  for (const group of groups) {
    if (typeof group !== 'string') continue;
    const text = foldName(group);
    if (text !== '') folded.push(text);
  }
  return folded;
}

/** Folds one component group; `SMITH^JOHN^^` and `Smith ^John` come out alike. */
export function foldName(group: string): string {
  return fold(group)
    .replace(/\s*\^\s*/g, '^')
    .replace(/[\s^]+$/, '')
    .trimStart();
}

/** The words that fuzzy matching compares: folded components, cut at delimiters and white space; wildcards do not count. */
export function nameWords(name: string): string[] {
  return fold(name)
    .split(/[\s^=,*?]+/)
    .filter((word) => word !== '');
}

/** What precedes the first `*` or `?` of a pattern. */
export function wildcardPrefix(pattern: string): string {
  const end = pattern.search(/[*?]/);
  return end < 0 ? pattern : pattern.slice(0, end);
}

/** True for a pattern that matches everything, the empty value too. */
export function isUniversal(pattern: string): boolean {
  return /^\**$/.test(pattern);
}

/** A wildcard pattern (PS3.4 C.2.2.2.4) as an SQL GLOB pattern. */
export function wildcardToGlob(pattern: string): string {
  return pattern.replaceAll('[', '[[]');
}

/**
 * True where the whole text follows a wildcard pattern (PS3.4 C.2.2.2.4). In time of at most their lengths' product, which
 * a regular expression made from a stranger's pattern would not keep to.
 */
export function matchesWildcard(pattern: string, text: string): boolean {
  const wanted = Array.from(pattern);
  const given = Array.from(text);
  let at = 0;
  let star = -1;
  let resume = 0;
  for (let i = 0; i < given.length; ) {
    if (wanted[at] === '*') {
      star = at++;
      resume = i;
    } else if (at < wanted.length && (wanted[at] === '?' || wanted[at] === given[i])) {
      at++;
      i++;
    } else if (star >= 0) {
      // The last star takes one more character.
      at = star + 1;
      i = ++resume;
    } else return false;
  }
  while (wanted[at] === '*') at++;
  return at === wanted.length;
}

/** A DA value as `YYYYMMDD`; the form with dots of ACR-NEMA (PS3.5 §6.2) is read too. */
export function dateKey(value: string): string {
  return value.replace(/[.\-\s]/g, '');
}

/** A TM value as `HHMMSSFFFFFF`, filled up to the first (`from`) or last (`to`) moment that its precision allows. */
export function timeKey(value: string, end: 'from' | 'to' = 'from'): string {
  const [whole = '', fraction = ''] = value.replace(/[:\s]/g, '').split('.');
  if (whole === '') return '';
  const fill = end === 'from' ? '000000000000' : '235959999999';
  const digits = whole.slice(0, 6) + (whole.length >= 6 ? fraction.slice(0, 6) : '');
  return digits + fill.slice(digits.length);
}

/** A DT value (PS3.5 §6.2) as UTC microseconds in 20 digits, filled up as in {@link timeKey}; without an offset, as UTC. */
export function dateTimeKey(value: string, end: 'from' | 'to' = 'from'): string {
  const parts = /^(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(?:\.(\d{1,6}))?([+-]\d{4})?$/.exec(value.trim());
  if (!parts) return '';
  const [, year = '', month, day, hour, minute, second, fraction = '', zone] = parts;
  const low = end === 'from';
  const at = new Date(0);
  at.setUTCFullYear(
    Number(year),
    month ? Number(month) - 1 : low ? 0 : 11,
    // Day 0 of the month after is the last of this one.
    day ? Number(day) : 1,
  );
  if (!day && !low) at.setUTCFullYear(at.getUTCFullYear(), at.getUTCMonth() + 1, 0);
  at.setUTCHours(
    hour ? Number(hour) : low ? 0 : 23,
    minute ? Number(minute) : low ? 0 : 59,
    second ? Number(second) : low ? 0 : 59,
  );
  if (zone) {
    const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3, 5));
    at.setTime(at.getTime() - (zone.startsWith('-') ? -minutes : minutes) * 60_000);
  }
  return at.toISOString().replace(/\D/g, '').slice(0, 14) + fraction.padEnd(6, low ? '0' : '9');
}

/** The key by which values of `vr` are put in order for range matching, at one end of the value's precision. */
export function rangeKey(vr: string, value: string, end: 'from' | 'to' = 'from'): string {
  if (vr === 'TM') return timeKey(value, end);
  if (vr === 'DT') return dateTimeKey(value, end);
  return dateKey(value);
}

/** True where `match` asks nothing (universal matching, PS3.4 C.2.2.2.3). */
export function asksNothing(match: Match): boolean {
  if (match.kind === 'single') return match.value === '';
  if (match.kind === 'wildcard') return isUniversal(match.pattern);
  if (match.kind === 'uid-list') return match.values.length === 0;
  if (match.kind === 'any') return match.of.some(asksNothing);
  return match.kind !== 'empty' && !match.from && !match.to;
}

/**
 * True where the data set answers all of the rules. A tag may be a path through sequences (`00400275.00400009`): rules for
 * one sequence are answered by one of its items (PS3.4 C.2.2.2.6). `fuzzy` lets a PN match by prefixes of its words, in any
 * order, beside its own rule.
 */
export function matchesDataset(dataset: DicomJson, matches: readonly Match[], fuzzy: boolean): boolean {
  const sequences = new Map<string, Match[]>();
  for (const match of matches) {
    const tag = match.tag.slice(0, 8);
    if (match.kind === 'moment') {
      if (!matchesMoment(dataset, match)) return false;
    } else if (match.tag.length > 8) {
      const inner = { ...match, tag: match.tag.slice(9) };
      sequences.set(tag, [...(sequences.get(tag) ?? []), inner]);
    } else if (!matchesElement(dataset[tag], match, fuzzy)) return false;
  }
  for (const [tag, inner] of sequences) {
    const items = (dataset[tag]?.Value ?? []).filter(isItem);
    // Without an item everything in it is empty.
    if (!(items.length > 0 ? items : [{}]).some((item) => matchesDataset(item, inner, fuzzy))) return false;
  }
  return true;
}

function matchesMoment(dataset: DicomJson, { tag, timeTag, from, to }: Match & { kind: 'moment' }): boolean {
  const first = (of: string): string => String(dataset[of]?.Value?.[0] ?? '');
  const date = dateKey(first(tag));
  const key = date + timeKey(first(timeTag));
  return date !== '' && (!from || key >= from) && (!to || key <= to);
}

/** True where one of the element's values matches (PS3.4 C.2.2.2); an absent or empty one matches universal keys only. */
export function matchesElement(element: DicomElement | undefined, match: Match, fuzzy: boolean): boolean {
  if (asksNothing(match)) return true;
  if (match.kind === 'any') return match.of.some((rule) => matchesElement(element, rule, fuzzy));
  const values = (element?.Value ?? []).filter((value) => value !== null && value !== '');
  if (match.kind === 'empty') return values.length === 0 && !element?.InlineBinary && !element?.BulkDataURI;
  if (!element || values.length === 0) return false;
  if (element.vr === 'PN') return values.some((value) => matchesName(nameGroups(value), match, fuzzy));
  const test = valueTest(element.vr, match);
  return values.some((value) => (typeof value === 'string' || typeof value === 'number') && test(String(value)));
}

function valueTest(vr: string, match: Match): (value: string) => boolean {
  if (match.kind === 'uid-list') return (value) => match.values.includes(value);
  if (match.kind === 'range') {
    const from = match.from ? rangeKey(vr, match.from, 'from') : '';
    const to = match.to ? rangeKey(vr, match.to, 'to') : '\uffff';
    return (value) => {
      const key = rangeKey(vr, value);
      return key !== '' && key >= from && key <= to;
    };
  }
  if (match.kind === 'wildcard') {
    return (value) => matchesWildcard(match.pattern, value.trim());
  }
  // Of no value, of several rules, or of two elements: one value alone says nothing.
  if (match.kind !== 'single') return () => false;
  if (NUMBER_VRS.has(vr)) return (value) => Number(value) === Number(match.value);
  if (vr === 'DA' || vr === 'TM' || vr === 'DT') {
    const wanted = rangeKey(vr, match.value);
    return (value) => rangeKey(vr, value) === wanted;
  }
  const wanted = match.value.trim();
  return (value) => value.trim() === wanted;
}

function matchesName(groups: string[], match: Match, fuzzy: boolean): boolean {
  if (match.kind !== 'single' && match.kind !== 'wildcard') return false;
  const asked = match.kind === 'single' ? match.value : match.pattern;
  if (fuzzy) {
    const words = groups.flatMap(nameWords);
    const prefixes = nameWords(asked);
    if (prefixes.length > 0 && prefixes.every((prefix) => words.some((word) => word.startsWith(prefix)))) return true;
  }
  return nameGroups(asked).every((wanted) =>
    match.kind === 'single' ? groups.includes(wanted) : groups.some((group) => matchesWildcard(wanted, group)),
  );
}

function isItem(value: DicomValue): value is DicomJson {
  return typeof value === 'object' && value !== null;
}
