import {
  asksNothing,
  isUniversal,
  nameGroups,
  nameWords,
  wildcardPrefix,
  wildcardToGlob,
} from '../../dicom/matching.ts';
import type { Match, QueryLevel } from '../../dicom/query.ts';
import { ENTITY, type Key, keyText } from './keys.ts';
import { NO_NUMBER } from './schema.ts';
import { NAME_KINDS } from './studies.ts';

export interface Condition {
  sql: string;
  values: (string | number)[];
}

/** Never matched (PS3.4 C.2.2.2: the character set says how keys are encoded) or no key at all (RetrieveURL). */
const NO_KEYS = new Set(['00080005', '00081190']);

/** True where the match narrows nothing down. */
export function isIdle(match: Match): boolean {
  return NO_KEYS.has(match.tag) || asksNothing(match);
}

const NEVER: Condition = { sql: '0', values: [] };

/** What SQL makes of matches, with the keys that the index has. */
export class Conditions {
  readonly #keys: ReadonlyMap<string, Key>;

  constructor(keys: ReadonlyMap<string, Key>) {
    this.#keys = keys;
  }

  /** The key that answers the match, or undefined where only the stored header does. */
  key(match: Match, fuzzy: boolean): Key | undefined {
    const key = this.#keys.get(match.tag);
    if (match.kind === 'moment') {
      const time = this.#keys.get(match.timeTag);
      return key?.column !== undefined && time?.column !== undefined ? key : undefined;
    }
    // Words of names are kept of two attributes only.
    return key?.kind === 'name' && fuzzy && key.column === undefined ? undefined : key;
  }

  /** The level of the key that answers the match, or undefined. */
  level(match: Match, fuzzy: boolean): QueryLevel | undefined {
    return this.key(match, fuzzy)?.level;
  }

  /** What to order by for a key: an expression that has one value for each entity. */
  sortKey(tag: string): { level: QueryLevel; sql: string } | undefined {
    const key = this.#keys.get(tag);
    if (!key) return undefined;
    const { level, kind, column, attribute } = key;
    if (column !== undefined && kind !== 'name') return { level, sql: column };
    if (column !== undefined) {
      const sql = `(SELECT min(text) FROM names WHERE study = s.id AND kind = ${namesOf(tag).group})`;
      return { level, sql: `coalesce(${sql}, '')` };
    }
    // Numbers are put in order as numbers.
    const value = kind === 'number' ? 'min(CAST(text AS REAL))' : 'min(text)';
    const sql = `(SELECT ${value} FROM key_values WHERE attribute = ${attribute} AND entity = ${ENTITY[level]}.id)`;
    return { level, sql: kind === 'number' ? sql : `coalesce(${sql}, '')` };
  }

  /** The condition of a match that a key answers. */
  condition(match: Match, fuzzy: boolean): Condition {
    const key = this.key(match, fuzzy);
    if (!key) throw new TypeError('the match has no key');
    if (match.kind === 'moment') return this.#moment(key, match);
    if (match.kind === 'any') return either(match.of.map((rule) => this.condition({ ...rule, tag: match.tag }, fuzzy)));
    if (key.column === undefined) return listedCondition(key, match);
    if (key.kind === 'name') return nameCondition(match, fuzzy);
    if (key.kind === 'set') return setCondition(key.column, match);
    return columnCondition(key.kind, key.column, match);
  }

  /** Date and time in one; the date alone is asked for too, which an index answers. */
  #moment({ column: date }: Key, { timeTag, from, to }: Match & { kind: 'moment' }): Condition {
    const time = this.#keys.get(timeTag)?.column;
    const parts: Condition[] = [{ sql: `${date} <> ''`, values: [] }];
    if (from) parts.push({ sql: `${date} >= ? AND ${date} || ${time} >= ?`, values: [from.slice(0, 8), from] });
    if (to) parts.push({ sql: `${date} <= ? AND ${date} || ${time} <= ?`, values: [to.slice(0, 8), to] });
    return all(parts);
  }
}

/** One rule, for one value of an expression. */
function columnCondition(kind: Key['kind'], column: string, match: Match): Condition {
  if (kind === 'number') return numberCondition(column, match);
  if (match.kind === 'single') return { sql: `${column} = ?`, values: [keyText(kind, match.value)] };
  if (match.kind === 'wildcard') return globCondition(column, match.pattern);
  if (match.kind === 'uid-list') return listCondition(column, match.values);
  if (match.kind === 'empty') return { sql: `${column} = ''`, values: [] };
  if (match.kind !== 'range') return NEVER;
  const lower = match.from
    ? { sql: `${column} >= ?`, value: keyText(kind, match.from) }
    : { sql: `${column} > ?`, value: '' };
  const values = [lower.value];
  if (!match.to) return { sql: lower.sql, values };
  return { sql: `${lower.sql} AND ${column} <= ?`, values: [...values, keyText(kind, match.to, 'to')] };
}

function listCondition(column: string, values: string[]): Condition {
  return { sql: `${column} IN (SELECT value FROM json_each(?))`, values: [JSON.stringify(values)] };
}

/** The prefix before the first wildcard is asked for as a range, which an index answers. */
function globCondition(column: string, pattern: string): Condition {
  const glob = wildcardToGlob(pattern);
  const prefix = wildcardPrefix(pattern);
  if (prefix === '') return { sql: `${column} GLOB ?`, values: [glob] };
  return {
    sql: `${column} >= ? AND ${column} < ? AND ${column} GLOB ?`,
    values: [prefix, `${prefix}\u{10ffff}`, glob],
  };
}

function numberCondition(column: string, match: Match): Condition {
  if (match.kind === 'single') {
    const number = Number(match.value);
    return Number.isFinite(number) ? { sql: `${column} = ?`, values: [number] } : NEVER;
  }
  if (match.kind === 'empty') return { sql: `${column} = ?`, values: [NO_NUMBER] };
  return NEVER;
}

/** One of the values of a JSON array of strings. */
function setCondition(column: string, match: Match): Condition {
  if (match.kind === 'single') return { sql: `instr(${column}, ?) > 0`, values: [JSON.stringify(match.value.trim())] };
  if (match.kind === 'empty') return { sql: `${column} = '[]'`, values: [] };
  const inner = columnCondition('text', 'j.value', match);
  return { sql: `EXISTS (SELECT 1 FROM json_each(${column}) j WHERE ${inner.sql})`, values: inner.values };
}

/** One of the values that are kept in `key_values`. */
function listedCondition({ level, kind, attribute }: Key, match: Match): Condition {
  const id = `${ENTITY[level]}.id`;
  if (match.kind === 'empty') {
    const sql = `NOT EXISTS (SELECT 1 FROM key_values WHERE attribute = ${attribute} AND entity = ${id})`;
    return { sql, values: [] };
  }
  const asked = kind === 'name' ? nameTexts(match) : [match];
  return all(
    asked.map((rule) => {
      const { sql, values } = columnCondition(kind === 'number' ? 'text' : kind, 'text', asText(kind, rule));
      return { sql: `${id} IN (SELECT entity FROM key_values WHERE attribute = ${attribute} AND ${sql})`, values };
    }),
  );
}

/** A number is compared as the text that is kept of it. */
function asText(kind: Key['kind'], match: Match): Match {
  return kind === 'number' && match.kind === 'single' ? { ...match, value: keyText('number', match.value) } : match;
}

/** A rule for each component group that the key has. */
function nameTexts(match: Match): Match[] {
  if (match.kind !== 'single' && match.kind !== 'wildcard') return [match];
  const { tag, kind } = match;
  const groups = nameGroups(kind === 'single' ? match.value : match.pattern).filter((group) => !isUniversal(group));
  return groups.map((group) => (kind === 'single' ? { tag, kind, value: group } : { tag, kind, pattern: group }));
}

function namesOf(tag: string): { group: number; word: number } {
  return tag === '00080090' ? NAME_KINDS['00080090'] : NAME_KINDS['00100010'];
}

/**
 * Any component group of the name, folded, in one rule; a key with several groups asks for each. Fuzzy (PS3.18 §8.3.4.2
 * leaves the rule to the server): or each word of the key is the prefix of a word of the name, in any order.
 */
function nameCondition(match: Match, fuzzy: boolean): Condition {
  const kinds = namesOf(match.tag);
  if (match.kind === 'empty') {
    return { sql: `NOT EXISTS (SELECT 1 FROM names WHERE study = s.id AND kind = ${kinds.group})`, values: [] };
  }
  if (match.kind !== 'single' && match.kind !== 'wildcard') return NEVER;
  const own = nameTexts(match).map((rule) => inNames(kinds.group, columnCondition('name', 'text', rule)));
  const asked = match.kind === 'single' ? match.value : match.pattern;
  const words = fuzzy ? nameWords(asked).map((word) => inNames(kinds.word, globCondition('text', `${word}*`))) : [];
  return either([own, words].filter((way) => way.length > 0).map(all));
}

function inNames(kind: number, text: Condition): Condition {
  return { sql: `s.id IN (SELECT study FROM names WHERE kind = ${kind} AND ${text.sql})`, values: text.values };
}

/** All of the conditions at once. */
export function all(conditions: Condition[]): Condition {
  return {
    sql: conditions.length > 0 ? conditions.map(({ sql }) => sql).join(' AND ') : '1',
    values: conditions.flatMap(({ values }) => values),
  };
}

/** One of the conditions at least; none at all is no condition. */
function either(conditions: Condition[]): Condition {
  if (conditions.length === 0) return all([]);
  return {
    sql: `(${conditions.map(({ sql }) => `(${sql})`).join(' OR ')})`,
    values: conditions.flatMap(({ values }) => values),
  };
}
