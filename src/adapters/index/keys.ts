import { vrOf } from '../../dicom/dictionary.ts';
import { dateKey, dateTimeKey, foldName, NUMBER_VRS, nameGroups, timeKey } from '../../dicom/matching.ts';
import type { DicomElement, DicomJson } from '../../dicom/model.ts';
import type { QueryLevel } from '../../dicom/query.ts';
import { levelOf } from '../../dicom/query-levels.ts';

/** How values of a key are compared. `text` may have wildcards, `set` is a JSON array of texts, `name` is in `names`. */
export type KeyKind = 'text' | 'date' | 'time' | 'datetime' | 'number' | 'set' | 'name';

/** A key that the index answers. `s`, `e`, `i` and `v` are study, series, instance and its current version. */
export interface Key {
  level: QueryLevel;
  kind: KeyKind;
  /** An expression of the entity's row; undefined for a key that is in `key_values`, which may have several values. */
  column?: string;
  /** Its number in `key_values`. */
  attribute?: number;
}

const keys = (level: QueryLevel, kind: KeyKind, list: string): [string, Key][] =>
  list.split(' ').map((entry) => [entry.slice(0, 8), { level, kind, column: entry.slice(9) }]);

/** Keys that have a column of their own. */
export const COLUMN_KEYS: ReadonlyMap<string, Key> = new Map([
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

/** Alias of the table whose rows are a level's entities. */
export const ENTITY: Record<QueryLevel, 's' | 'e' | 'i'> = { patient: 's', study: 's', series: 'e', instance: 'i' };

const KINDS: Record<string, KeyKind> = { DA: 'date', TM: 'time', DT: 'datetime', PN: 'name' };

/** A key by path that is to be in `key_values`, as number `attribute` there. */
export function listedKey(path: string, attribute: number): Key {
  const vr = vrOf(path.slice(-8));
  return { level: levelOf(path.slice(0, 8)), kind: KINDS[vr] ?? (NUMBER_VRS.has(vr) ? 'number' : 'text'), attribute };
}

/** A key's texts in `key_values`: of every value, in every item of the sequences on the way, as queries compare them. */
export function keyTexts(dataset: DicomJson, path: string, kind: KeyKind): string[] {
  const texts = new Set<string>();
  for (const element of elementsAt(dataset, path)) for (const text of textsOf(element, kind)) texts.add(text);
  texts.delete('');
  return [...texts];
}

function* elementsAt(dataset: DicomJson, path: string): Generator<DicomElement> {
  const element = dataset[path.slice(0, 8)];
  if (!element) return;
  if (path.length === 8) yield element;
  else for (const item of element.Value ?? []) if (isItem(item)) yield* elementsAt(item, path.slice(9));
}

function isItem(value: unknown): value is DicomJson {
  return typeof value === 'object' && value !== null;
}

function textsOf(element: DicomElement, kind: KeyKind): string[] {
  return (element.Value ?? []).flatMap((value) => {
    if (kind === 'name') return nameGroups(value as string);
    return typeof value === 'string' || typeof value === 'number' ? keyText(kind, String(value)) : [];
  });
}

/** A value as `key_values` has it. */
export function keyText(kind: KeyKind, value: string, end: 'from' | 'to' = 'from'): string {
  if (kind === 'date') return dateKey(value);
  if (kind === 'time') return timeKey(value, end);
  if (kind === 'datetime') return dateTimeKey(value, end);
  if (kind === 'name') return foldName(value);
  if (kind === 'number') return value.trim() === '' ? '' : String(Number(value));
  return value.trim();
}
