import type { QueryLevel } from '../../dicom/query.ts';
import { levelOf } from '../../dicom/query-levels.ts';

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
export const SERIES_ATTRIBUTES = attributes('00080060:CS 00200011:IS', '00080201:SH 0008103E:LO 00180015:CS');

/** … and after it. */
export const SERIES_STEP_ATTRIBUTES = attributes('00400244:DA 00400245:TM', '00400275:SQ');

/** From the header, PS3.18 Table 10.6.3-5: the image attributes are there where the instance has them. */
export const INSTANCE_ATTRIBUTES = attributes(
  '00200013:IS',
  '00080201:SH 00280008:IS 00280010:US 00280011:US 00280100:US',
);

/** Made by the index, per level. */
const DERIVED: Record<QueryLevel, string> = {
  patient: '00080005 00080056 00201200 00201202 00201204',
  study: '00080005 00080056 00080061 00080062 00081190 0020000D 00201206 00201208',
  series: '00080005 00081190 0020000D 0020000E 00201209',
  instance: '00080005 00080016 00080018 00080056 00081190 00083002 0020000D 0020000E',
};

const tagsOf = (list: RowAttribute[]) => list.map(({ tag }) => tag);

/** What a study's row says about its patient. */
const PATIENT_TAGS = tagsOf(STUDY_ATTRIBUTES).filter((tag) => levelOf(tag) === 'patient');

/** What a row of the level has by itself, without what it takes over from the levels above. */
export const DEFAULT_TAGS: Record<QueryLevel, ReadonlySet<string>> = {
  patient: new Set([...DERIVED.patient.split(' '), ...PATIENT_TAGS]),
  study: new Set([...DERIVED.study.split(' '), ...tagsOf(STUDY_ATTRIBUTES)]),
  series: new Set([...DERIVED.series.split(' '), ...tagsOf(SERIES_ATTRIBUTES), ...tagsOf(SERIES_STEP_ATTRIBUTES)]),
  instance: new Set([...DERIVED.instance.split(' '), ...tagsOf(INSTANCE_ATTRIBUTES)]),
};
