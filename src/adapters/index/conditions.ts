import {
  asksNothing,
  dateKey,
  foldName,
  isUniversal,
  nameGroups,
  nameWords,
  timeKey,
  wildcardPrefix,
  wildcardToGlob,
} from '../../dicom/matching.ts';
import type { Match, QueryLevel } from '../../dicom/query.ts';
import { NAME_KINDS } from './studies.ts';

export interface Condition {
  sql: string;
  values: (string | number)[];
}

/** A key that the index has in a column. `s`, `e`, `i` and `v` are study, series, instance and its current version. */
interface Key {
  level: QueryLevel;
  column: string;
  kind: 'text' | 'date' | 'time' | 'number' | 'set' | 'name';
}

const keys = (level: QueryLevel, kind: Key['kind'], list: string): [string, Key][] =>
  list.split(' ').map((entry) => [entry.slice(0, 8), { level, kind, column: entry.slice(9) }]);

const KEYS = new Map<string, Key>([
  ...keys('patient', 'text', '00100020:s.patient_id 00100021:s.issuer 00100040:s.sex'),
  ...keys('patient', 'date', '00100030:s.birth_date'),
  ...keys('patient', 'name', '00100010:s.id'),
  ...keys('study', 'text', '0020000D:s.uid 00080050:s.accession 00200010:s.study_id 00081030:s.description'),
  ...keys('study', 'date', '00080020:s.study_date'),
  ...keys('study', 'time', '00080030:s.study_time'),
  ...keys('study', 'set', '00080061:s.modalities 00080062:s.classes'),
  ...keys('study', 'name', '00080090:s.id'),
  ...keys('study', 'number', '00201206:s.series 00201208:s.instances'),
  ...keys('series', 'text', '0020000E:e.uid 00080060:e.modality 0008103E:e.description 00180015:e.body_part'),
  ...keys('series', 'date', '00400244:e.pps_date'),
  ...keys('series', 'time', '00400245:e.pps_time'),
  ...keys('series', 'number', '00200011:e.number 00201209:e.instances'),
  ...keys('instance', 'text', '00080018:i.uid 00080016:v.class 00083002:v.syntax'),
  ...keys('instance', 'number', '00200013:i.number'),
  // Everything the index holds is online.
  ...keys('patient', 'text', "00080056:'ONLINE'"),
]);

/** Never matched (PS3.4 C.2.2.2: the character set says how keys are encoded) or no key at all (RetrieveURL). */
const NO_KEYS = new Set(['00080005', '00081190']);

/** The level of the column that holds the key, or undefined where only the stored header has it. */
export function keyLevel(match: Match): QueryLevel | undefined {
  return KEYS.get(match.tag)?.level;
}

/** True where the match narrows nothing down. */
export function isIdle(match: Match): boolean {
  return NO_KEYS.has(match.tag) || asksNothing(match);
}

/** The SQL condition of a match whose key has a column. */
export function condition(match: Match, fuzzy: boolean): Condition {
  const key = KEYS.get(match.tag);
  if (!key) throw new TypeError('the key has no column');
  if (match.kind === 'moment') return momentCondition(key.column, match);
  if (key.kind === 'name') return nameCondition(match, fuzzy);
  if (key.kind === 'number') return numberCondition(key.column, match);
  if (key.kind === 'set') return setCondition(key.column, match);
  const from = key.kind === 'date' ? dateKey : key.kind === 'time' ? timeKey : (value: string) => value.trim();
  const to = key.kind === 'time' ? (value: string) => timeKey(value, 'to') : from;
  if (match.kind === 'single') return { sql: `${key.column} = ?`, values: [from(match.value)] };
  if (match.kind === 'wildcard') return globCondition(key.column, match.pattern);
  if (match.kind === 'uid-list') return listCondition(key.column, match.values);
  const lower = match.from
    ? { sql: `${key.column} >= ?`, value: from(match.from) }
    : { sql: `${key.column} > ?`, value: '' };
  const values = [lower.value];
  if (!match.to) return { sql: lower.sql, values };
  return { sql: `${lower.sql} AND ${key.column} <= ?`, values: [...values, to(match.to)] };
}

/** Date and time in one; the date alone is asked for too, which an index answers. */
function momentCondition(date: string, { timeTag, from, to }: Match & { kind: 'moment' }): Condition {
  const time = KEYS.get(timeTag)?.column;
  if (!time) throw new TypeError('the time of the date has no column');
  const parts: Condition[] = [{ sql: `${date} <> ''`, values: [] }];
  if (from) parts.push({ sql: `${date} >= ? AND ${date} || ${time} >= ?`, values: [from.slice(0, 8), from] });
  if (to) parts.push({ sql: `${date} <= ? AND ${date} || ${time} <= ?`, values: [to.slice(0, 8), to] });
  return all(parts);
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
    return Number.isFinite(number) ? { sql: `${column} = ?`, values: [number] } : { sql: '0', values: [] };
  }
  if (match.kind === 'wildcard')
    return { sql: `CAST(${column} AS TEXT) GLOB ?`, values: [wildcardToGlob(match.pattern)] };
  if (match.kind === 'uid-list') return listCondition(`CAST(${column} AS TEXT)`, match.values);
  if (match.kind !== 'range') return { sql: '0', values: [] };
  return {
    sql: `${column} BETWEEN ? AND ?`,
    values: [Number(match.from ?? Number.MIN_SAFE_INTEGER), Number(match.to ?? Number.MAX_SAFE_INTEGER)],
  };
}

/** One of the values of a JSON array of strings. */
function setCondition(column: string, match: Match): Condition {
  if (match.kind === 'single') return { sql: `instr(${column}, ?) > 0`, values: [JSON.stringify(match.value.trim())] };
  const inner = condition({ ...match, tag: SET_VALUE }, false);
  return { sql: `EXISTS (SELECT 1 FROM json_each(${column}) j WHERE ${inner.sql})`, values: inner.values };
}

const SET_VALUE = 'value of a set';
KEYS.set(SET_VALUE, { level: 'study', kind: 'text', column: 'j.value' });

/**
 * Any component group of the name, folded, in one rule; a key with several groups asks for each. Fuzzy (PS3.18 §8.3.4.2
 * leaves the rule to the server): or each word of the key is the prefix of a word of the name, in any order.
 */
function nameCondition(match: Match, fuzzy: boolean): Condition {
  if (match.kind !== 'single' && match.kind !== 'wildcard') return { sql: '0', values: [] };
  const asked = match.kind === 'single' ? match.value : match.pattern;
  const kinds = match.tag === '00080090' ? NAME_KINDS['00080090'] : NAME_KINDS['00100010'];
  const own = nameGroups(asked)
    .filter((group) => !isUniversal(group))
    .map((group) =>
      match.kind === 'single'
        ? inNames(kinds.group, { sql: 'text = ?', values: [foldName(group)] })
        : inNames(kinds.group, globCondition('text', group)),
    );
  const words = fuzzy ? nameWords(asked).map((word) => inNames(kinds.word, globCondition('text', `${word}*`))) : [];
  const ways = [own, words].filter((way) => way.length > 0).map(all);
  if (ways.length === 0) return { sql: '1', values: [] };
  return {
    sql: `(${ways.map(({ sql }) => `(${sql})`).join(' OR ')})`,
    values: ways.flatMap(({ values }) => values),
  };
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
