import { matchesDataset } from '../../dicom/matching.ts';
import type { Match, Query, QueryLevel } from '../../dicom/query.ts';
import { reaches } from '../../dicom/query-levels.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import { all, type Condition, condition, isIdle, keyLevel } from './conditions.ts';
import type { Connection } from './database.ts';
import { readHeader, readRows } from './rows.ts';

/** Stored headers that one query may read for keys which have no column. */
const MAX_CANDIDATES = 10_000;

/** Per level: the tables, the entity, the version that stands for it, and the order. */
const SHAPES = {
  patient: {
    from: 'studies s',
    entity: 's.id AS id, s.revision AS version',
    order: 's.study_date DESC, s.study_time DESC, s.id DESC',
  },
  study: {
    from: 'studies s',
    entity: 's.id AS id, s.revision AS version',
    order: 's.study_date DESC, s.study_time DESC, s.id DESC',
  },
  series: {
    from: 'studies s JOIN series e ON e.study = s.id',
    entity: 'e.id AS id, e.latest AS version',
    order: 's.study_date DESC, s.study_time DESC, s.id DESC, e.number, e.uid',
  },
  instance: {
    from: 'studies s JOIN series e ON e.study = s.id JOIN instances i ON i.series = e.id JOIN versions v ON v.id = i.version',
    entity: 'i.id AS id, i.version AS version',
    order: 's.study_date DESC, s.study_time DESC, s.id DESC, e.number, e.uid, i.number, i.uid',
  },
} as const satisfies Record<QueryLevel, object>;

/**
 * Finds entities, newest study first (StudyDate, StudyTime, then the order of arrival), series and instances by their
 * number and UID. Keys of higher levels count for a lower one; those of lower levels ask that one series, or one
 * instance, below answers them all. A key that has no column is compared with the stored header of what the other keys
 * leave: the entity's newest instance.
 * @throws DagpacsError `invalid-parameter` where that would be more than 10,000 headers
 */
export function runQuery(reader: Connection, query: Query): { rows: string[]; more: boolean } {
  const matches = query.matches.filter((match) => !isIdle(match));
  const found = find(reader, query, matches);
  const more = found.length > query.limit;
  const ids = found.slice(0, query.limit).map(({ id }) => id);
  return { rows: readRows(reader, query, ids), more };
}

interface Found {
  id: number;
  version: number;
}

/** The page that is asked for and one more, where there is one. */
function find(reader: Connection, query: Query, matches: Match[]): Found[] {
  const shape = SHAPES[query.level];
  const where = conditions(query, matches);
  const from = fromAbove(query, matches) ? shape.from.replaceAll(' JOIN ', ' CROSS JOIN ') : shape.from;
  const sql = `SELECT ${shape.entity} FROM ${from} WHERE ${where.sql} ORDER BY ${shape.order} LIMIT ? OFFSET ?`;
  const unindexed = matches.filter((match) => !keyLevel(match));
  const select = (limit: number, offset: number) =>
    reader.all(sql, ...where.values, limit, offset) as unknown as Found[];
  if (unindexed.length === 0) return select(query.limit + 1, query.offset);

  const candidates = select(MAX_CANDIDATES + 1, 0);
  if (candidates.length > MAX_CANDIDATES) {
    const tag = unindexed[0]?.tag ?? '';
    throw new DagpacsError('invalid-parameter', `Too many entities would have to be searched for ${tag}`, {
      attribute: tag,
      tag,
      rule: `it is not indexed: give other keys too, so that at most ${MAX_CANDIDATES} entities are left`,
    });
  }
  const wanted = query.offset + query.limit + 1;
  const found: Found[] = [];
  for (const candidate of candidates) {
    const header = readHeader(reader, candidate.version);
    if (unindexed.every((match) => matchesDataset(header, match, query.fuzzy))) found.push(candidate);
    if (found.length === wanted) break;
  }
  return found.slice(query.offset);
}

/**
 * True where only studies are narrowed down: walked from the newest study down, as a CROSS JOIN makes SQLite do, the page
 * comes in its order without sorting every instance there is.
 */
function fromAbove(query: Query, matches: Match[]): boolean {
  return (
    query.seriesInstanceUID === undefined && matches.every((match) => reaches('study', keyLevel(match) ?? 'study'))
  );
}

function conditions(query: Query, matches: Match[]): Condition {
  const own: Condition[] = [];
  const below: { match: Match; level: QueryLevel }[] = [];
  if (query.studyInstanceUID !== undefined) own.push({ sql: 's.uid = ?', values: [query.studyInstanceUID] });
  if (query.seriesInstanceUID !== undefined) {
    const scope: Match = { tag: '0020000E', kind: 'single', value: query.seriesInstanceUID };
    if (reaches('study', query.level)) below.push({ match: scope, level: 'series' });
    else own.push(condition(scope, false));
  }
  if (query.level === 'patient') own.push(NEWEST_OF_PATIENT);
  if (query.level === 'series') own.push({ sql: 'e.instances > 0', values: [] });
  for (const match of matches) {
    const level = keyLevel(match);
    if (!level) continue;
    if (reaches(query.level, level)) own.push(condition(match, query.fuzzy));
    else below.push({ match, level });
  }
  if (below.length > 0) own.push(relational(query.level, below, query.fuzzy));
  return all(own);
}

/** A patient has no table: the newest of its studies stands for it. Studies without a Patient ID are not put together. */
const NEWEST_OF_PATIENT: Condition = {
  sql: `(s.patient_id = '' OR NOT EXISTS (SELECT 1 FROM studies n WHERE n.patient_id = s.patient_id AND n.issuer = s.issuer
    AND (n.study_date, n.study_time, n.id) > (s.study_date, s.study_time, s.id)))`,
  values: [],
};

/** One series, or one instance, below the entity answers all of the keys; below a patient one study too. */
function relational(level: QueryLevel, below: { match: Match; level: QueryLevel }[], fuzzy: boolean): Condition {
  const inner = all(below.map(({ match }) => condition(match, fuzzy)));
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
    const sql = `(s.patient_id, s.issuer) IN (SELECT s.patient_id, s.issuer FROM ${from} WHERE ${inner.sql})`;
    return { sql, values: inner.values };
  }
  return {
    sql: `s.id IN (SELECT e.study FROM series e ${deep ? `JOIN ${instances}` : ''} WHERE e.instances > 0 AND ${inner.sql})`,
    values: inner.values,
  };
}
