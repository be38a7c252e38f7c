import { keywordOf } from '../../dicom/dictionary.ts';
import { matchesDataset } from '../../dicom/matching.ts';
import type { DicomJson } from '../../dicom/model.ts';
import type { Match, Query, QueryLevel } from '../../dicom/query.ts';
import { levelOf, reaches } from '../../dicom/query-levels.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import { all, type Condition, type Conditions, isIdle } from './conditions.ts';
import type { Connection } from './database.ts';
import { needlesOf } from './needles.ts';
import { readHeaderText, readRows } from './rows.ts';

/** Stored headers that one query may read for keys which are not indexed. */
const MAX_CANDIDATES = 10_000;

const NEWEST_FIRST = 's.study_date DESC, s.study_time DESC, s.id DESC';

/** Per level: the tables, the entity, the version that stands for it, and the order. */
const SHAPES = {
  patient: { from: 'studies s', id: 's.id', version: 's.latest', order: NEWEST_FIRST },
  study: { from: 'studies s', id: 's.id', version: 's.latest', order: NEWEST_FIRST },
  series: {
    from: 'studies s JOIN series e ON e.study = s.id',
    id: 'e.id',
    version: 'e.latest',
    order: `${NEWEST_FIRST}, e.number, e.uid`,
  },
  instance: {
    from: 'studies s JOIN series e ON e.study = s.id JOIN instances i ON i.series = e.id JOIN versions v ON v.id = i.version',
    id: 'i.id',
    version: 'i.version',
    order: `${NEWEST_FIRST}, e.number, e.uid, i.number, i.uid`,
  },
} as const satisfies Record<QueryLevel, object>;

/**
 * Finds entities, newest study first (StudyDate, StudyTime, then the order of arrival), series and instances by their
 * number and UID. Keys of higher levels count for a lower one; those of lower levels ask that one series, or one
 * instance, below answers them all. Keys that are not indexed are compared with the stored headers of what the other keys
 * leave: for attributes of the entity and those above with its newest instance, for others with all below.
 * @throws DagpacsError `invalid-parameter` where that would be more than 10,000 headers, or where results cannot be ordered
 */
export function runQuery(
  reader: Connection,
  conditions: Conditions,
  query: Query,
): { rows: Iterable<string>; more: boolean } {
  const matches = query.matches.filter((match) => !isIdle(match));
  const found = find(reader, conditions, query, matches);
  const more = found.length > query.limit;
  return { rows: readRows(reader, query, more ? found.slice(0, query.limit) : found), more };
}

/** Row ids of the page that is asked for and of one more, where there is one. */
function find(reader: Connection, conditions: Conditions, query: Query, matches: Match[]): number[] {
  const order = orderOf(conditions, query);
  const compared = toCompare(conditions, matches, query.fuzzy);
  if (compared.length > 0) return compare(reader, conditions, query, matches, compared, order);
  const { from, id } = SHAPES[query.level];
  const where = whereOf(conditions, query, matches);
  const walked = query.order === undefined && fromAbove(conditions, query, matches);
  const tables = walked ? from.replaceAll(' JOIN ', ' CROSS JOIN ') : from;
  const sql = `SELECT ${id} AS id FROM ${tables} WHERE ${where.sql} ORDER BY ${order} LIMIT ? OFFSET ?`;
  return reader.all(sql, ...where.values, query.limit + 1, query.offset).map((row) => Number(row.id));
}

/** Matches that only stored headers answer: without a key, and those that one item of a sequence has to answer together. */
function toCompare(conditions: Conditions, matches: Match[], fuzzy: boolean): Match[] {
  const sequence = ({ tag }: Match) => (tag.length > 8 ? tag.slice(0, 8) : undefined);
  const times = new Map<string | undefined, number>();
  for (const match of matches) times.set(sequence(match), (times.get(sequence(match)) ?? 0) + 1);
  const shared = (match: Match) => sequence(match) !== undefined && (times.get(sequence(match)) ?? 0) > 1;
  return matches.filter((match) => !conditions.key(match, fuzzy) || shared(match));
}

/** Reads the headers of what the indexed keys leave, at the level of the lowest attribute that is asked for. */
function compare(
  reader: Connection,
  conditions: Conditions,
  query: Query,
  matches: Match[],
  compared: Match[],
  order: string,
): number[] {
  const levels = matches.map((match) => conditions.level(match, query.fuzzy) ?? levelOf(match.tag.slice(0, 8)));
  // A patient is what its newest study says.
  const lower = query.level === 'patient' ? [] : levels;
  const depth = lower.reduce((deepest, level) => (reaches(deepest, level) ? deepest : level), query.level);
  const { from, version } = SHAPES[depth];
  const where = whereOf(conditions, { ...query, level: depth }, matches);
  const sql = `SELECT ${SHAPES[query.level].id} AS id, ${version} AS version FROM ${from} WHERE ${where.sql}
    ORDER BY ${order} LIMIT ?`;
  const candidates = reader.all(sql, ...where.values, MAX_CANDIDATES + 1);
  if (candidates.length > MAX_CANDIDATES) throw tooMany(compared[0] as Match);
  const wanted = query.offset + query.limit + 1;
  const needles = needlesOf(compared);
  const found = new Set<number>();
  for (const candidate of candidates) {
    const id = Number(candidate.id);
    if (found.has(id)) continue;
    const text = readHeaderText(reader, Number(candidate.version));
    if (!needles.every((needle) => text.includes(needle))) continue;
    if (matchesDataset(JSON.parse(text) as DicomJson, compared, query.fuzzy)) found.add(id);
    if (found.size === wanted) break;
  }
  return [...found].slice(query.offset);
}

function tooMany({ tag }: Match): DagpacsError {
  const name = tag
    .split('.')
    .map((each) => keywordOf(each) ?? each)
    .join('.');
  return new DagpacsError('invalid-parameter', `Too many instances would have to be searched for ${name}`, {
    attribute: name,
    tag: tag.slice(-8),
    rule: `it is not indexed: give other keys too, so that at most ${MAX_CANDIDATES} instances are left`,
  });
}

/** The order that is asked for, and then the usual one, so that it is always the same. */
function orderOf(conditions: Conditions, { level, order = [] }: Query): string {
  const asked = order.map(({ tag, descending }) => {
    const key = conditions.sortKey(tag);
    if (!key || !reaches(level, key.level)) {
      const rule = 'indexed attributes of the level that is searched and those above (docs/conformance.md)';
      throw new DagpacsError('invalid-parameter', `The parameter orderby breaks a rule: ${rule}`, {
        attribute: 'orderby',
        rule,
      });
    }
    return `${key.sql} ${descending ? 'DESC' : 'ASC'}`;
  });
  return [...asked, SHAPES[level].order].join(', ');
}

/**
 * True where only studies are narrowed down: walked from the newest study down, as a CROSS JOIN makes SQLite do, the page
 * comes in its order without sorting every instance there is.
 */
function fromAbove(conditions: Conditions, query: Query, matches: Match[]): boolean {
  return (
    query.seriesInstanceUID === undefined &&
    matches.every((match) => reaches('study', conditions.level(match, query.fuzzy) ?? 'study'))
  );
}

function whereOf(conditions: Conditions, query: Query, matches: Match[]): Condition {
  // A study whose instances are all rejected is not there.
  const own: Condition[] = [{ sql: 's.instances > 0', values: [] }];
  const below: { match: Match; level: QueryLevel }[] = [];
  if (query.studyInstanceUID !== undefined) own.push({ sql: 's.uid = ?', values: [query.studyInstanceUID] });
  if (query.seriesInstanceUID !== undefined) {
    const scope: Match = { tag: '0020000E', kind: 'single', value: query.seriesInstanceUID };
    if (reaches('study', query.level)) below.push({ match: scope, level: 'series' });
    else own.push(conditions.condition(scope, false));
  }
  if (query.level === 'patient') own.push(NEWEST_OF_PATIENT);
  if (query.level === 'series') own.push({ sql: 'e.instances > 0', values: [] });
  for (const match of matches) {
    const level = conditions.level(match, query.fuzzy);
    if (!level) continue;
    if (reaches(query.level, level)) own.push(conditions.condition(match, query.fuzzy));
    else below.push({ match, level });
  }
  if (below.length > 0) own.push(relational(conditions, query.level, below, query.fuzzy));
  return all(own);
}

/** A patient has no table: the newest of its studies stands for it. Studies without a Patient ID are not put together. */
const NEWEST_OF_PATIENT: Condition = {
  sql: `(s.patient_id = '' OR NOT EXISTS (SELECT 1 FROM studies n WHERE n.patient_id = s.patient_id AND n.issuer = s.issuer
    AND n.instances > 0 AND (n.study_date, n.study_time, n.id) > (s.study_date, s.study_time, s.id)))`,
  values: [],
};

/** One series, or one instance, below the entity answers all of the keys; below a patient one study too. */
function relational(
  conditions: Conditions,
  level: QueryLevel,
  below: { match: Match; level: QueryLevel }[],
  fuzzy: boolean,
): Condition {
  const inner = all(below.map(({ match }) => conditions.condition(match, fuzzy)));
  const instances = 'instances i ON i.series = e.id JOIN versions v ON v.id = i.version';
  if (level === 'series') {
    const sql = `e.id IN (SELECT i.series FROM instances i JOIN versions v ON v.id = i.version WHERE ${inner.sql})`;
    return { sql, values: inner.values };
  }
  const deep = below.some((key) => key.level === 'instance');
  if (level === 'patient') {
    const series = below.every((key) => key.level === 'study')
      ? ''
      : 'JOIN series e ON e.study = s.id AND e.instances > 0';
    const from = `studies s ${series} ${deep ? `JOIN ${instances}` : ''}`;
    // With its own `s`: another study of the patient than the newest may be the one that is asked for.
    const sql = `(s.patient_id, s.issuer) IN (SELECT s.patient_id, s.issuer FROM ${from} WHERE s.instances > 0 AND ${inner.sql})`;
    return { sql, values: inner.values };
  }
  return {
    sql: `s.id IN (SELECT e.study FROM series e ${deep ? `JOIN ${instances}` : ''} WHERE e.instances > 0 AND ${inner.sql})`,
    values: inner.values,
  };
}
