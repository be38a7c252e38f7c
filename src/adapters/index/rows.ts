import { zstdDecompressSync } from 'node:zlib';
import type { DicomJson } from '../../dicom/model.ts';
import type { Query, QueryLevel } from '../../dicom/query.ts';
import { levelOf, reaches } from '../../dicom/query-levels.ts';
import { DEFAULT_TAGS } from './attributes.ts';
import type { Connection, Row } from './database.ts';
import { CHARACTER_SET, GLUE, member, merge, ONLINE, withoutBulk } from './members.ts';

const SELECT: Record<QueryLevel, string> = {
  patient: `SELECT s.id AS study, s.latest AS version, t.text,
    CASE s.patient_id WHEN '' THEN json_array(1, s.series, s.instances) ELSE
      (SELECT json_array(count(*), sum(p.series), sum(p.instances)) FROM studies p
        WHERE p.patient_id = s.patient_id AND p.issuer = s.issuer AND p.instances > 0) END AS counts
    FROM json_each(?) j CROSS JOIN studies s ON s.id = j.value CROSS JOIN study_texts t ON t.id = s.id ORDER BY j.key`,
  study: `SELECT s.id AS study, s.latest AS version, s.series, s.instances, t.text FROM json_each(?) j
    CROSS JOIN studies s ON s.id = j.value CROSS JOIN study_texts t ON t.id = s.id ORDER BY j.key`,
  series: `SELECT e.study, e.latest AS version, e.instances, t.head, t.tail FROM json_each(?) j
    CROSS JOIN series e ON e.id = j.value CROSS JOIN series_texts t ON t.id = e.id ORDER BY j.key`,
  instance: `SELECT e.study, i.series, i.version, i.uid, i.extra, v.class, v.syntax, e.uid AS series_uid, s.uid AS study_uid
    FROM json_each(?) j CROSS JOIN instances i ON i.id = j.value CROSS JOIN versions v ON v.id = i.version
    CROSS JOIN series e ON e.id = i.series CROSS JOIN studies s ON s.id = e.study ORDER BY j.key`,
};

/** The rows of studies for a reader that picks what it needs, and the same without what is counted. */
const PICKED = {
  counted: `SELECT '{' || t.text || '${GLUE}"00201206":{"vr":"IS","Value":[' || s.series ||
    ']}${GLUE}"00201208":{"vr":"IS","Value":[' || s.instances || ']}}' AS text FROM json_each(?) j
    CROSS JOIN studies s ON s.id = j.value CROSS JOIN study_texts t ON t.id = s.id ORDER BY j.key`,
  plain: `SELECT '{' || t.text || '}' AS text FROM json_each(?) j
    CROSS JOIN study_texts t ON t.id = j.value ORDER BY j.key`,
};

const ZONE = '"00080201"';

/** Rows that are read at once. */
const PAGE = 250;

/**
 * The JSON texts of the entities with these row ids, in their order: the attributes of PS3.18 §10.6.3.3, those of the
 * levels above that the path does not name, and what `include` asks for beside them. They are read as they are asked for.
 */
export function* readRows(reader: Connection, query: Query, ids: readonly number[]): Generator<string> {
  const { level } = query;
  const wanted = new Set(query.include === 'all' ? [] : query.include);
  const parents = parentLevels(query);
  // What a default member answers needs no header.
  const others = [...wanted].filter((tag) => {
    const of = levelOf(tag);
    return reaches(level, of) && !DEFAULT_TAGS[of].has(tag) && !DEFAULT_TAGS[level].has(tag);
  });
  const taken = parents.map((parent) => ({
    ...parent,
    whole: parent.whole && !query.only,
    wanted: parent.whole && !query.only ? undefined : [...wanted].filter((tag) => DEFAULT_TAGS[parent.level].has(tag)),
  }));
  if (query.only && level === 'study' && others.length === 0 && query.include !== 'all') {
    const select = wanted.has('00201206') || wanted.has('00201208') ? PICKED.counted : PICKED.plain;
    for (const texts of read(reader, select, ids)) for (const { text } of texts) yield text as string;
    return;
  }
  const used = taken.filter((parent) => parent.whole || (parent.wanted?.length ?? 0) > 0);
  const parentTexts = new Map<string, string[]>();
  const membersOf = (parent: QueryLevel, id: number): string[] => {
    const key = `${parent} ${id}`;
    let members = parentTexts.get(key);
    if (!members) {
      const row = reader.get(SELECT[parent], `[${id}]`);
      members = row ? ownText(parent, row).split(GLUE) : [];
      parentTexts.set(key, members);
    }
    return members;
  };

  const textOf = (row: Row): string => {
    const own = ownText(level, row);
    if (used.length === 0 && others.length === 0 && query.include !== 'all') return `{${own}}`;
    const members: string[] = [];
    if (query.include === 'all') members.push(...everyMember(level, readHeader(reader, Number(row.version))));
    else if (others.length > 0) members.push(...headerMembersOf(others, readHeader(reader, Number(row.version))));
    for (const parent of used) {
      const texts = membersOf(parent.level, Number(row[parent.level]));
      for (const text of texts) if (parent.whole || parent.wanted?.includes(text.slice(1, 9))) members.push(text);
    }
    for (const text of own.split(GLUE)) if (text !== '') members.push(text);
    return `{${merge(members)}}`;
  };
  for (const rows of read(reader, SELECT[level], ids)) for (const row of rows) yield textOf(row);
}

function* read(reader: Connection, select: string, ids: readonly number[]): Generator<Row[]> {
  for (let at = 0; at < ids.length; at += PAGE) yield reader.all(select, JSON.stringify(ids.slice(at, at + PAGE)));
}

/** The levels above, highest first; `whole`: the path does not name the entity, so that its attributes belong in the row. */
function parentLevels(query: Query): { level: 'study' | 'series'; whole: boolean }[] {
  const study = { level: 'study', whole: query.studyInstanceUID === undefined } as const;
  const series = { level: 'series', whole: query.seriesInstanceUID === undefined } as const;
  if (query.level === 'patient' || query.level === 'study') return [];
  return query.level === 'series' ? [study] : [study, series];
}

/** A patient is what the newest of its studies says of it. */
function patientText(row: Row): string {
  const own = String(row.text)
    .split(GLUE)
    .filter((text) => DEFAULT_TAGS.patient.has(text.slice(1, 9)));
  const [studies, series, instances] = JSON.parse(String(row.counts)) as number[];
  const counts = { '00201200': studies, '00201202': series, '00201204': instances };
  for (const [tag, count] of Object.entries(counts)) own.push(`"${tag}":{"vr":"IS","Value":[${count}]}`);
  return own.join(GLUE);
}

function ownText(level: QueryLevel, row: Row): string {
  if (level === 'patient') return patientText(row);
  if (level === 'study') {
    const series = `"00201206":{"vr":"IS","Value":[${row.series}]}`;
    return `${row.text}${GLUE}${series}${GLUE}"00201208":{"vr":"IS","Value":[${row.instances}]}`;
  }
  if (level === 'series')
    return `${row.head}${GLUE}"00201209":{"vr":"IS","Value":[${row.instances}]}${GLUE}${row.tail}`;
  const { uid, class: sopClass, syntax, study_uid: study, series_uid: series } = row as Record<string, string>;
  // Timezone Offset From UTC, where it is there, comes before what is made here.
  const cut = String(row.extra).startsWith(ZONE) ? String(row.extra).indexOf(GLUE) + GLUE.length : 0;
  const zone = cut > 0 ? GLUE + String(row.extra).slice(0, cut - GLUE.length) : '';
  const text =
    CHARACTER_SET +
    `${GLUE}"00080016":{"vr":"UI","Value":[${JSON.stringify(sopClass)}]}` +
    `${GLUE}"00080018":{"vr":"UI","Value":[${JSON.stringify(uid)}]}` +
    GLUE +
    ONLINE +
    zone +
    `${GLUE}"00081190":{"vr":"UR","Value":[${JSON.stringify(`retrieve:/studies/${study}/series/${series}/instances/${uid}`)}]}` +
    `${GLUE}"00083002":{"vr":"UI","Value":[${JSON.stringify(syntax)}]}` +
    `${GLUE}"0020000D":{"vr":"UI","Value":[${JSON.stringify(study)}]}` +
    `${GLUE}"0020000E":{"vr":"UI","Value":[${JSON.stringify(series)}]}`;
  return `${text}${GLUE}${String(row.extra).slice(cut)}`;
}

/** The stored header of a version. */
export function readHeader(reader: Connection, version: number): DicomJson {
  return JSON.parse(readHeaderText(reader, version)) as DicomJson;
}

/** The same as JSON text. */
export function readHeaderText(reader: Connection, version: number): string {
  const row = reader.get('SELECT header FROM details WHERE id = ?', version);
  return row ? zstdDecompressSync(row.header as Uint8Array).toString() : '{}';
}

function headerMembersOf(tags: string[], header: DicomJson): string[] {
  const members: string[] = [];
  for (const tag of tags) {
    const element = header[tag];
    const kept = element && withoutBulk(element);
    if (kept) members.push(member(tag, kept.vr, kept));
  }
  return members;
}

/** All that the level's entity has of the header, but for pixels and what stays in the stored object. */
function everyMember(level: QueryLevel, header: DicomJson): string[] {
  const tags = Object.keys(header).filter((tag) => !tag.startsWith('7FE0') && reaches(level, levelOf(tag)));
  return headerMembersOf(tags, header);
}
