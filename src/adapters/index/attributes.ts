import type { QueryLevel } from '../../dicom/query.ts';

/** An attribute that a row has by default; a required one is there even where it is empty. */
export interface RowAttribute {
  tag: string;
  vr: string;
  required: boolean;
}

function attributes(required: string, optional: string): RowAttribute[] {
  const read = (list: string, isRequired: boolean) =>
    list.split(' ').map((entry) => ({ tag: entry.slice(0, 8), vr: entry.slice(9), required: isRequired }));
  return [...read(required, true), ...read(optional, false)].sort((a, b) => (a.tag < b.tag ? -1 : 1));
}

/** From the header, PS3.18 Table 10.6.3-3; StudyDescription and the like are no duty, but every worklist shows them. */
export const STUDY_ATTRIBUTES = attributes(
  '00080020:DA 00080030:TM 00080050:SH 00080090:PN 00100010:PN 00100020:LO 00100030:DA 00100040:CS 00200010:SH',
  '00080201:SH 00081030:LO 00100021:LO',
);

/** From the header, PS3.18 Table 10.6.3-4, before NumberOfSeriesRelatedInstances (0020,1209) … */
export const SERIES_ATTRIBUTES = attributes('00080060:CS 00200011:IS', '0008103E:LO 00180015:CS');

/** … and after it. */
export const SERIES_STEP_ATTRIBUTES = attributes('00400244:DA 00400245:TM', '00400275:SQ');

/** From the header, PS3.18 Table 10.6.3-5: the image attributes are there where the instance has them. */
export const INSTANCE_ATTRIBUTES = attributes('00200013:IS', '00280008:IS 00280010:US 00280011:US 00280100:US');

/** Made by the index, per level. */
const DERIVED: Record<QueryLevel, string> = {
  study: '00080005 00080056 00080061 00080062 00081190 0020000D 00201206 00201208',
  series: '00080005 00081190 0020000D 0020000E 00201209',
  instance: '00080005 00080016 00080018 00080056 00081190 00083002 0020000D 0020000E',
};

const tagsOf = (list: RowAttribute[]) => list.map(({ tag }) => tag);

/** What a row of the level has by itself, without what it takes over from the levels above. */
export const DEFAULT_TAGS: Record<QueryLevel, ReadonlySet<string>> = {
  study: new Set([...DERIVED.study.split(' '), ...tagsOf(STUDY_ATTRIBUTES)]),
  series: new Set([...DERIVED.series.split(' '), ...tagsOf(SERIES_ATTRIBUTES), ...tagsOf(SERIES_STEP_ATTRIBUTES)]),
  instance: new Set([...DERIVED.instance.split(' '), ...tagsOf(INSTANCE_ATTRIBUTES)]),
};

/** Patient, Patient Study and General Study modules (PS3.3 C.7.1, C.7.2) beside the groups 0010 and 0012. */
const STUDY_TAGS = new Set(
  (
    '00080020 00080030 00080050 00080051 00080090 00080092 00080094 00080096 0008009C 0008009D 00080201 00081030 00081032 ' +
    '00081048 00081049 00081060 00081062 00081080 00081084 00081110 00081120 0020000D 00200010 00201070 00321032 ' +
    '00321033 00321034 00321060 00321064 00324000 00380010 00380014 00380060 00380062 00380064 00380500 00384000 00401012'
  ).split(' '),
);

/** General Series, General Equipment and Frame of Reference modules (PS3.3 C.7.3 to C.7.5). */
const SERIES_TAGS = new Set(
  (
    '00080021 00080031 00080060 00080064 00080068 00080070 00080080 00080081 00080082 00081010 0008103E 0008103F 00081040 ' +
    '00081041 00081050 00081052 00081070 00081072 00081090 00081111 00081250 00180015 00181000 00181002 00181020 ' +
    '00181030 00181200 00181201 00185100 0020000E 00200011 00200052 00200060 00201040 00400241 00400242 00400243 ' +
    '00400244 00400245 00400250 00400251 00400253 00400254 00400260 00400275 00400280 0040A504'
  ).split(' '),
);

/** The level whose entity has the attribute; private ones and whatever is not known belong to the instance. */
export function levelOf(tag: string): QueryLevel {
  const group = tag.slice(0, 4);
  if (group === '0010' || group === '0012' || STUDY_TAGS.has(tag) || DEFAULT_TAGS.study.has(tag)) return 'study';
  return SERIES_TAGS.has(tag) || DEFAULT_TAGS.series.has(tag) ? 'series' : 'instance';
}

const ORDER: Record<QueryLevel, number> = { study: 0, series: 1, instance: 2 };

/** True where an entity of `level` has, or takes over, an attribute of `other`. */
export function reaches(level: QueryLevel, other: QueryLevel): boolean {
  return ORDER[other] <= ORDER[level];
}
