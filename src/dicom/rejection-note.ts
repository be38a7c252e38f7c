import type { DicomElement, DicomJson } from './model.ts';

/**
 * Rejection notes: Key Object Selection Documents whose title says why instances are not to be seen any more (PS3.16 CID 7011,
 * as in IHE's Imaging Object Change Management). The bridge writes one for each deletion, and only its own count.
 */

/** What stands before the origin of a note that the bridge wrote: nothing that is received begins so. */
export const NOTE_ORIGIN = 'delete:';
const KEY_OBJECT_SELECTION = '1.2.840.10008.5.1.4.1.1.88.59';

/** Codes of the scheme DCM, with their meanings. */
export const REJECTION_REASONS = {
  '113001': 'Rejected for Quality Reasons',
  '113037': 'Rejected for Patient Safety Reasons',
  '113038': 'Incorrect Modality Worklist Entry',
  '113039': 'Data Retention Policy Expired',
} as const;
/** A reason that the one who deletes gives, or that none was given. */
export type RejectionReason = keyof typeof REJECTION_REASONS | 'unspecified';
/** What expired may come back as it was. */
export const RETENTION_EXPIRED: RejectionReason = '113039';

/** An instance that is rejected. */
export interface Rejected {
  sopClassUID: string;
  sopInstanceUID: string;
  seriesInstanceUID: string;
}

export interface Note {
  sopInstanceUID: string;
  seriesInstanceUID: string;
  studyInstanceUID: string;
  reason: RejectionReason;
  /** ISO 8601 UTC. */
  at: string;
  /** All of one study. */
  instances: readonly Rejected[];
  /** The header of one of its instances, for patient and study. */
  of: DicomJson;
}

/** Patient and study attributes of a document (PS3.3 A.35.4). */
const KEPT = [
  '00080020',
  '00080030',
  '00080050',
  '00080090',
  '00100010',
  '00100020',
  '00100021',
  '00100030',
  '00100040',
  '00200010',
];

/** The note as a data set. */
export function rejectionNote({
  sopInstanceUID,
  seriesInstanceUID,
  studyInstanceUID,
  reason,
  at,
  instances,
  of,
}: Note): DicomJson {
  const date = element('DA', at.slice(0, 10).replaceAll('-', ''));
  const time = element('TM', at.slice(11, 19).replaceAll(':', ''));
  const kept: DicomJson = {};
  for (const tag of KEPT) if (of[tag]?.BulkDataURI === undefined) kept[tag] = of[tag] ?? empty(tag);
  const reference = (each: Rejected): DicomJson => ({
    '00081150': element('UI', each.sopClassUID),
    '00081155': element('UI', each.sopInstanceUID),
  });
  const bySeries = Map.groupBy(instances, (each) => each.seriesInstanceUID);
  const series = [...bySeries].map(([uid, list]) => ({
    '00081199': sequence(list.map(reference)),
    '0020000E': element('UI', uid),
  }));
  return {
    ...kept,
    '00080012': date,
    '00080013': time,
    '00080016': element('UI', KEY_OBJECT_SELECTION),
    '00080018': element('UI', sopInstanceUID),
    '00080023': date,
    '00080033': time,
    '00080060': element('CS', 'KO'),
    '00080070': element('LO', 'DagPACS'),
    '00081111': { vr: 'SQ' },
    '0020000D': element('UI', studyInstanceUID),
    '0020000E': element('UI', seriesInstanceUID),
    '00200011': element('IS', 1),
    '00200013': element('IS', 1),
    '0040A040': element('CS', 'CONTAINER'),
    '0040A043': sequence([titleOf(reason)]),
    '0040A050': element('CS', 'SEPARATE'),
    '0040A375': sequence([{ '00081115': sequence(series), '0020000D': element('UI', studyInstanceUID) }]),
    '0040A504': sequence([{ '00080105': element('CS', 'DCMR'), '0040DB00': element('CS', '2010') }]),
    '0040A730': sequence(
      instances.map((each) => ({
        '00081199': sequence([reference(each)]),
        '0040A010': element('CS', 'CONTAINS'),
        '0040A040': element('CS', 'COMPOSITE'),
      })),
    ),
  };
}

/** What a note says: its reason, and the SOP Instance UIDs that it rejects. */
export function readRejectionNote(dataset: DicomJson): { reason: RejectionReason; instances: string[] } {
  const code = text(items(dataset['0040A043'])[0]?.['00080100']);
  const references = items(dataset['0040A375'])
    .flatMap((study) => items(study['00081115']))
    .flatMap((series) => items(series['00081199']));
  return {
    reason: Object.hasOwn(REJECTION_REASONS, code) ? (code as RejectionReason) : 'unspecified',
    instances: references.map((each) => text(each['00081155'])),
  };
}

function titleOf(reason: RejectionReason): DicomJson {
  const known = reason === 'unspecified' ? undefined : REJECTION_REASONS[reason];
  return {
    '00080100': element('SH', known === undefined ? 'DELETED' : reason),
    '00080102': element('SH', known === undefined ? '99DAGPACS' : 'DCM'),
    '00080104': element('LO', known ?? 'Deleted, without a reason'),
  };
}

function element(vr: string, value: string | number): DicomElement {
  return { vr, Value: [value] };
}

function empty(tag: string): DicomElement {
  return {
    vr:
      {
        '00080020': 'DA',
        '00080030': 'TM',
        '00080050': 'SH',
        '00080090': 'PN',
        '00100010': 'PN',
        '00100030': 'DA',
        '00100040': 'CS',
        '00200010': 'SH',
      }[tag] ?? 'LO',
  };
}

function sequence(list: DicomJson[]): DicomElement {
  return { vr: 'SQ', Value: list };
}

function items(of: DicomElement | undefined): DicomJson[] {
  return (of?.Value ?? []) as DicomJson[];
}

function text(of: DicomElement | undefined): string {
  return String(of?.Value?.[0] ?? '');
}
