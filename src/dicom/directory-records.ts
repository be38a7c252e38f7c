/** Which kind of directory record an instance has, and what it says of it (PS3.3 F.5). */

export interface RecordType {
  name: string;
  /** Attributes beside those that every record has; they are there where they are empty, too. */
  keys: readonly string[];
}

const tags = (list: string): readonly string[] => list.split(' ').filter((tag) => tag !== '');

/** Instance Number, Content Date and Time: what most records have. */
const CONTENT = '00080023 00080033 00200013';

const type = (name: string, keys: string): RecordType => ({ name, keys: tags(keys) });

const IMAGE = type('IMAGE', '00080008 00200013');
const SR = type('SR DOCUMENT', `${CONTENT} 0040A043 0040A491 0040A493`);
const PRESENTATION = type('PRESENTATION', '00080070 00200013 00700080 00700081 00700082 00700083 00700084');
const WAVEFORM = type('WAVEFORM', CONTENT);
const STRUCTURES = type('RT STRUCTURE SET', '00200013 30060002 30060008 30060009');
const TREATMENT = type('RT TREAT RECORD', '00200013 30080250 30080251');
const CONTENT_LABEL = `${CONTENT} 00700080 00700081 00700084`;
const RADIOTHERAPY = type('RADIOTHERAPY', `${CONTENT} 30100054`);

/** By SOP class, under 1.2.840.10008.5.1.4.; the longest prefix counts (PS3.3 Table F.4-1). */
const TYPES: Record<string, RecordType> = {
  '1.1.9': WAVEFORM,
  '1.1.11': PRESENTATION,
  '1.1.66': type('RAW DATA', CONTENT),
  '1.1.66.1': type('REGISTRATION', CONTENT_LABEL),
  '1.1.66.2': type('FIDUCIAL', CONTENT_LABEL),
  '1.1.66.3': type('REGISTRATION', CONTENT_LABEL),
  '1.1.66.4': IMAGE,
  '1.1.66.5': type('SURFACE', CONTENT_LABEL),
  '1.1.66.6': type('TRACT', CONTENT_LABEL),
  '1.1.66.7': IMAGE,
  '1.1.66.8': IMAGE,
  '1.1.67': type('VALUE MAP', CONTENT_LABEL),
  '1.1.4.2': type('SPECTROSCOPY', `00080008 ${CONTENT} 00280008 00280010 00280011 00289001 00289002`),
  '1.1.77.1.5.3': type('STEREOMETRIC', '00200013'),
  '1.1.68': type('SURFACE SCAN', CONTENT),
  '1.1.78': type('MEASUREMENT', CONTENT),
  '1.1.80': type('MEASUREMENT', CONTENT),
  '1.1.88': SR,
  '1.1.88.59': type('KEY OBJECT DOC', `${CONTENT} 0040A043`),
  '1.1.90': type('ASSESSMENT', `${CONTENT} 0040A043`),
  '1.1.104': type('ENCAP DOC', `${CONTENT} 00420010 00420012 0040A043`),
  '1.1.481.2': type('RT DOSE', '00200013 3004000A'),
  '1.1.481.3': STRUCTURES,
  '1.1.481.4': TREATMENT,
  '1.1.481.5': type('RT PLAN', '00200013 300A0002 300A0006 300A0007'),
  '1.1.481.6': TREATMENT,
  '1.1.481.7': TREATMENT,
  '1.1.481.8': type('RT PLAN', '00200013 300A0002 300A0006 300A0007'),
  '1.1.481.9': TREATMENT,
  '1.1.481.10': RADIOTHERAPY,
  '1.1.481.11': RADIOTHERAPY,
  '1.1.481.12': RADIOTHERAPY,
  '1.1.481.13': RADIOTHERAPY,
  '34.7': type('PLAN', ''),
  '34.10': type('PLAN', ''),
};
const ROOT = '1.2.840.10008.5.1.4.';
const STORAGE = `${ROOT}1.1.`;

/** The record of an instance: an image where it is of a standard storage class that has no other, private for the rest. */
export function recordTypeOf(sopClassUID: string): RecordType {
  if (!sopClassUID.startsWith(ROOT)) return type('PRIVATE', '');
  for (let prefix = sopClassUID.slice(ROOT.length); prefix !== ''; ) {
    const found = TYPES[prefix];
    if (found) return found;
    const cut = prefix.lastIndexOf('.');
    prefix = cut < 0 ? '' : prefix.slice(0, cut);
  }
  return sopClassUID.startsWith(STORAGE) ? IMAGE : type('PRIVATE', '');
}

/** What a record says of a patient, a study and a series. */
export const PATIENT_KEYS = tags('00100010 00100020 00100030 00100040');
export const STUDY_KEYS = tags('00080020 00080030 00080050 00080090 00081030 0020000D 00200010');
export const SERIES_KEYS = tags('00080060 00080080 0008103E 0020000E 00200011');
