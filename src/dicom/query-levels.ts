import type { QueryLevel } from './query.ts';

/** Which attribute belongs to which level of the query information models (PS3.4 C.6). */

/** From the highest to the lowest. */
export const QUERY_LEVELS: readonly QueryLevel[] = ['patient', 'study', 'series', 'instance'];

const tags = (list: string): ReadonlySet<string> => new Set(list.split(' '));

/** Patient Study module (PS3.3 C.7.2.2): of group 0010, what is true of a patient at the time of a study. */
const PATIENT_STUDY_TAGS = tags(
  '00101010 00101020 00101021 00101022 00101023 00101024 00101030 00102000 00102110 00102180 001021A0 001021B0 001021C0 ' +
    '001021D0 00102203',
);

/** What is counted for a patient (PS3.4 Table C.6-1). */
const PATIENT_COUNTS = tags('00201200 00201202 00201204');

/** Patient Study and General Study modules (PS3.3 C.7.2) beside the groups 0010 and 0012, and what is made for a study. */
const STUDY_TAGS = tags(
  '00080005 00080020 00080030 00080050 00080051 00080056 00080061 00080062 00080090 00080092 00080094 00080096 0008009C ' +
    '0008009D 00080201 00081030 00081032 00081048 00081049 00081060 00081062 00081080 00081084 00081110 00081120 ' +
    '00081190 0020000D 00200010 00201070 00201206 00201208 00321032 00321033 00321034 00321060 00321064 00324000 ' +
    '00380010 00380014 00380060 00380062 00380064 00380500 00384000 00401012',
);

/** General Series, General Equipment and Frame of Reference modules (PS3.3 C.7.3 to C.7.5), and what is made for a series. */
const SERIES_TAGS = tags(
  '00080021 00080031 00080060 00080064 00080068 00080070 00080080 00080081 00080082 00081010 0008103E 0008103F 00081040 ' +
    '00081041 00081050 00081052 00081070 00081072 00081090 00081111 00081250 00180015 00181000 00181002 00181020 ' +
    '00181030 00181200 00181201 00185100 0020000E 00200011 00200052 00200060 00201040 00201209 00400241 00400242 ' +
    '00400243 00400244 00400245 00400250 00400251 00400253 00400254 00400260 00400275 00400280 0040A504',
);

/** The level whose entity has the attribute; private ones and whatever is not known belong to the instance. */
export function levelOf(tag: string): QueryLevel {
  const group = tag.slice(0, 4);
  if (PATIENT_COUNTS.has(tag)) return 'patient';
  if (group === '0010') return PATIENT_STUDY_TAGS.has(tag) ? 'study' : 'patient';
  if (group === '0012' || STUDY_TAGS.has(tag)) return 'study';
  return SERIES_TAGS.has(tag) ? 'series' : 'instance';
}

/** True where an entity of `level` has, or takes over, an attribute of `other`. */
export function reaches(level: QueryLevel, other: QueryLevel): boolean {
  return QUERY_LEVELS.indexOf(other) <= QUERY_LEVELS.indexOf(level);
}
