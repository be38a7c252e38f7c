import { keywordOf } from '../../dicom/dictionary.ts';
import type { DicomElement, DicomJson, ScanWarning } from '../../dicom/model.ts';
import type { Accepted, Refused } from '../../flows/ingest/received.ts';
import type { DagpacsError, ErrorCode } from '../../kernel/errors.ts';
import { statusOf } from './errors.ts';

/** What became of one part. */
export type Outcome = Accepted | Refused;

/** Failure Reasons (PS3.18 Table I.2-2); 0111 is the one of PS3.7 for a duplicate, which the table leaves to others. */
const OUT_OF_RESOURCES = 0xa700;
const MISMATCH = 0xa900;
const CANNOT_UNDERSTAND = 0xc000;
const PROCESSING_FAILURE = 0x0110;
const DUPLICATE = 0x0111;
const REASONS: Partial<Record<ErrorCode, number>> = {
  'not-dicom': CANNOT_UNDERSTAND,
  truncated: CANNOT_UNDERSTAND,
  'malformed-dataset': CANNOT_UNDERSTAND,
  'malformed-multipart': CANNOT_UNDERSTAND,
  'unsupported-media-type': CANNOT_UNDERSTAND,
  'missing-attribute': MISMATCH,
  'invalid-attribute': MISMATCH,
  'study-mismatch': MISMATCH,
  'sop-mismatch': MISMATCH,
  'instance-in-other-study': DUPLICATE,
  'instance-conflict': DUPLICATE,
  'instance-rejected': DUPLICATE,
  'too-large': OUT_OF_RESOURCES,
  pushback: OUT_OF_RESOURCES,
};
/** Warning Reason: the Data Set does not match its SOP Class (PS3.18 Table I.2-1). */
const STORED_AS_IT_IS = 0xb007;
/** Where nothing was stored and every part failed for one of these, the status says so; else it is 409. */
const TELLING: ReadonlySet<ErrorCode> = new Set([
  'malformed-multipart',
  'unsupported-media-type',
  'too-large',
  'pushback',
  'storage-failed',
]);
const MAX_COMMENTS = 10;

export interface StoreResponse {
  status: number;
  dataset: DicomJson;
  /** Set where an overload refused everything. */
  overload?: DagpacsError;
}

/**
 * The Store Instances Response (PS3.18 §10.5.3, Annex I). A part that could not be identified is an item of Failed SOP
 * Sequence without UIDs. Error Comment (0000,0902) names attribute and rule, and may be longer than its VR allows.
 * @param dicomWeb base of RetrieveURLs, ending in `/dicom-web`
 */
export function storeResponse(outcomes: readonly Outcome[], dicomWeb: string): StoreResponse {
  const accepted = outcomes.filter((outcome) => outcome.outcome !== 'refused');
  const refused = outcomes.filter((outcome) => outcome.outcome === 'refused');
  const studies = new Set(accepted.map(({ studyInstanceUID }) => studyInstanceUID));
  const [study] = studies;
  const dataset: DicomJson = {
    ...(studies.size === 1 && { '00081190': element('UR', `${dicomWeb}/studies/${study}`) }),
    ...(refused.length > 0 && { '00081198': { vr: 'SQ', Value: refused.map(failedItem) } }),
    ...(accepted.length > 0 && { '00081199': { vr: 'SQ', Value: accepted.map((item) => storedItem(item, dicomWeb)) } }),
  };
  if (accepted.length > 0) {
    const flawless = refused.length === 0 && accepted.every(({ warnings }) => warnings.length === 0);
    return { status: flawless ? 200 : 202, dataset };
  }
  const [first] = refused;
  const code = first?.error.code;
  const alike = code !== undefined && TELLING.has(code) && refused.every(({ error }) => error.code === code);
  return {
    status: alike ? statusOf(code) : 409,
    dataset,
    ...(alike && code === 'pushback' && { overload: first?.error as DagpacsError }),
  };
}

function element(vr: string, value: string | number): DicomElement {
  return { vr, Value: [value] };
}

function storedItem(item: Accepted, dicomWeb: string): DicomJson {
  const { studyInstanceUID, seriesInstanceUID, sopInstanceUID, sopClassUID, warnings } = item;
  const series = `${dicomWeb}/studies/${studyInstanceUID}/series/${seriesInstanceUID}`;
  return {
    ...(warnings.length > 0 && { '00000902': element('LO', commentOn(warnings)) }),
    '00081150': element('UI', sopClassUID),
    '00081155': element('UI', sopInstanceUID),
    '00081190': element('UR', `${series}/instances/${sopInstanceUID}`),
    ...(warnings.length > 0 && { '00081196': element('US', STORED_AS_IT_IS) }),
  };
}

function commentOn(warnings: readonly ScanWarning[]): string {
  const texts = warnings.slice(0, MAX_COMMENTS).map(({ attribute, tag, rule }) => `${nameOf(attribute, tag)}: ${rule}`);
  const more = warnings.length - texts.length;
  return more > 0 ? `${texts.join('; ')}; and ${more} more` : texts.join('; ');
}

function failedItem({ error, sopClassUID, sopInstanceUID }: Refused): DicomJson {
  const { attribute, tag, rule } = error.subject;
  const about = attribute === undefined ? '' : nameOf(attribute, tag);
  const extra = [about, rule].filter((text) => text !== undefined && text !== '' && !error.message.includes(text));
  return {
    '00000902': element('LO', [error.message, ...extra].join(': ')),
    ...(sopClassUID !== undefined && { '00081150': element('UI', sopClassUID) }),
    ...(sopInstanceUID !== undefined && { '00081155': element('UI', sopInstanceUID) }),
    '00081197': element('US', REASONS[error.code] ?? PROCESSING_FAILURE),
  };
}

/** `StudyInstanceUID (0020,000D)`. */
function nameOf(attribute: string, tag: string | undefined): string {
  if (tag === undefined || !/^[0-9A-F]{8}$/i.test(tag)) return attribute;
  return `${keywordOf(tag) ?? attribute} (${tag.slice(0, 4)},${tag.slice(4)})`;
}
