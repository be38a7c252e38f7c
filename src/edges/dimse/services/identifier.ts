import { type ReadDataset, readDataset } from '../../../dicom/dataset.ts';
import type { QueryLevel } from '../../../dicom/query.ts';
import { valuesOf } from '../../../dicom/query-keys.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import type { Response } from '../command.ts';
import { comment, IDENTIFIER_MISMATCH, SOP_CLASS_NOT_SUPPORTED, UNABLE_TO_PROCESS } from '../errors.ts';
import { type Model, QUERY_RETRIEVE } from '../negotiation.ts';
import type { Operation } from './service.ts';

/** Identifiers hold a few hundred bytes; lists of UIDs make some of them longer. */
const MAX_IDENTIFIER = 4 << 20;

/** Levels of the information models, highest first, as Query/Retrieve Level (0008,0052) names them (PS3.4 C.6). */
const LEVELS: Record<Model, readonly [name: string, level: QueryLevel][]> = {
  patient: [
    ['PATIENT', 'patient'],
    ['STUDY', 'study'],
    ['SERIES', 'series'],
    ['IMAGE', 'instance'],
  ],
  study: [
    ['STUDY', 'study'],
    ['SERIES', 'series'],
    ['IMAGE', 'instance'],
  ],
  'patient-study-only': [
    ['PATIENT', 'patient'],
    ['STUDY', 'study'],
  ],
};

/** Unique key attribute of each level. */
export const UNIQUE_KEYS: Record<QueryLevel, { tag: string; keyword: string }> = {
  patient: { tag: '00100020', keyword: 'PatientID' },
  study: { tag: '0020000D', keyword: 'StudyInstanceUID' },
  series: { tag: '0020000E', keyword: 'SeriesInstanceUID' },
  instance: { tag: '00080018', keyword: 'SOPInstanceUID' },
};

/** What a query or retrieval is about. */
export interface Identifier extends ReadDataset {
  level: QueryLevel;
  levelName: string;
  /** Levels above, highest first. */
  above: QueryLevel[];
}

/** The request cannot be performed: how it is to be answered. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly response: Response;

  constructor(status: number, why: string, tag?: string) {
    super(why);
    this.response = { status, errorComment: comment(why), ...(tag && { offendingElement: tag }) };
  }
}

/**
 * Reads and checks the identifier of a C-FIND, C-GET or C-MOVE (PS3.4 C.4): it is a data set, its level is one of the
 * model's, and without relational queries the unique key of each level above has one value.
 * @throws Refusal
 */
export async function readIdentifier(
  operation: Operation,
  service: 'find' | 'move' | 'get',
  relational: boolean,
): Promise<Identifier> {
  const { context, dataset } = operation;
  const negotiated = QUERY_RETRIEVE[context.abstractSyntax];
  // What a peer may do was decided by its contexts: none stands for another.
  if (negotiated?.service !== service)
    throw new Refusal(SOP_CLASS_NOT_SUPPORTED, 'The presentation context is of another service');
  const { model } = negotiated;
  if (!dataset) throw new Refusal(IDENTIFIER_MISMATCH, 'CommandDataSetType: an identifier must follow');
  const read = await readWhole(dataset, context.transferSyntax);
  const [levelName = ''] = valuesOf(read.dataset['00080052']);
  const levels = LEVELS[model];
  const at = levels.findIndex(([name]) => name === levelName.toUpperCase());
  const [, level] = levels[at] ?? [];
  if (!level) {
    const names = levels.map(([name]) => name).join(', ');
    throw new Refusal(IDENTIFIER_MISMATCH, `QueryRetrieveLevel: one of ${names}`, '00080052');
  }
  const above = levels.slice(0, at).map(([, higher]) => higher);
  for (const higher of above) {
    const { tag, keyword } = UNIQUE_KEYS[higher];
    const values = valuesOf(read.dataset[tag]);
    const single = values.length === 1 && !/[*?]/.test(values[0] ?? '');
    if (!relational && !single) throw new Refusal(IDENTIFIER_MISMATCH, `${keyword}: one value without wildcards`, tag);
  }
  return { ...read, level, levelName: levelName.toUpperCase(), above };
}

async function readWhole(bytes: AsyncIterable<Uint8Array>, transferSyntax: string): Promise<ReadDataset> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > MAX_IDENTIFIER) throw new Refusal(UNABLE_TO_PROCESS, 'The identifier is too long');
    // The memory is received into again.
    chunks.push(Buffer.from(chunk));
  }
  try {
    return readDataset(Buffer.concat(chunks, size), transferSyntax);
  } catch (error) {
    if (!(error instanceof DagpacsError)) throw error;
    throw new Refusal(UNABLE_TO_PROCESS, 'The identifier is no data set in the transfer syntax of its context');
  }
}
