import { encodeDataset } from '../../../dicom/encode.ts';
import type { DicomJson } from '../../../dicom/model.ts';
import type { Query } from '../../../dicom/query.ts';
import { valuesOf } from '../../../dicom/query-keys.ts';
import { transferSyntax } from '../../../dicom/transfer-syntax.ts';
import type { Scope, Serve, ServedInstance } from '../../../flows/serve/served.ts';
import type { TransferProgress } from '../../../flows/serve/transfer.ts';
import { isDagpacsError } from '../../../kernel/errors.ts';
import type { Index } from '../../../ports/index.ts';
import type { Response } from '../command.ts';
import { CANCELLED, IDENTIFIER_MISMATCH, SOME_FAILED, SUCCESS, UNABLE_TO_PERFORM_SUBOPERATIONS } from '../errors.ts';
import type { Transcoder } from '../outgoing.ts';
import { type Identifier, Refusal, UNIQUE_KEYS } from './identifier.ts';
import type { Operation } from './service.ts';

export interface RetrievalModules {
  index: Pick<Index, 'query'>;
  serve: Pick<Serve, 'instances'>;
  transcoder: Transcoder;
}

/** The instances that an identifier of a C-GET or C-MOVE names (PS3.4 C.4.2.2.1); none is no error. @throws Refusal */
export function instancesOf(identifier: Identifier, modules: RetrievalModules): ServedInstance[] {
  const { dataset, level } = identifier;
  const { tag, keyword } = UNIQUE_KEYS[level];
  const values = valuesOf(dataset[tag]);
  const wrong = values.length === 0 || values.some((value) => /[*?]/.test(value));
  if (wrong || (level === 'patient' && values.length > 1)) {
    const rule = level === 'patient' ? 'one value without wildcards' : 'one UID or a list of them';
    throw new Refusal(IDENTIFIER_MISMATCH, `${keyword}: ${rule}`, tag);
  }
  const scopes = scopesOf(identifier, values, modules);
  return scopes.flatMap((scope) => held(scope, modules));
}

function scopesOf({ dataset, level }: Identifier, values: string[], { index }: RetrievalModules): Scope[] {
  const [study, ...moreStudies] = valuesOf(dataset['0020000D']);
  const [series, ...moreSeries] = valuesOf(dataset['0020000E']);
  const inStudy = study !== undefined && moreStudies.length === 0;
  if (level === 'study') return values.map((studyInstanceUID) => ({ studyInstanceUID }));
  if (level === 'series' && inStudy) {
    return values.map((seriesInstanceUID) => ({ studyInstanceUID: study, seriesInstanceUID }));
  }
  if (level === 'instance' && inStudy && series !== undefined && moreSeries.length === 0) {
    const above = { studyInstanceUID: study, seriesInstanceUID: series };
    return values.map((sopInstanceUID) => ({ ...above, sopInstanceUID }));
  }
  // By patient, or relational: the index knows where they are.
  const query: Query = {
    level: level === 'patient' ? 'study' : level,
    matches: [
      level === 'patient'
        ? { tag: UNIQUE_KEYS.patient.tag, kind: 'single', value: values[0] ?? '' }
        : { tag: UNIQUE_KEYS[level].tag, kind: 'uid-list', values },
    ],
    include: [],
    limit: Number.MAX_SAFE_INTEGER,
    offset: 0,
    fuzzy: false,
  };
  return Array.from(index.query(query).rows, (row) => {
    const found = JSON.parse(row) as DicomJson;
    const [studyInstanceUID = ''] = valuesOf(found['0020000D']);
    const [seriesInstanceUID = ''] = valuesOf(found['0020000E']);
    const [sopInstanceUID = ''] = valuesOf(found['00080018']);
    if (query.level === 'study') return { studyInstanceUID };
    if (query.level === 'series') return { studyInstanceUID, seriesInstanceUID };
    return { studyInstanceUID, seriesInstanceUID, sopInstanceUID };
  });
}

function held(scope: Scope, { serve }: RetrievalModules): ServedInstance[] {
  try {
    return serve.instances(scope);
  } catch (error) {
    if (isDagpacsError(error, 'not-found')) return [];
    throw error;
  }
}

/** The last response: what became of the sub-operations, and which of them failed (PS3.4 C.4.2.1.4, C.4.3.1.4). */
export function finalResponse(progress: TransferProgress, { context, signal }: Operation): Response {
  const { remaining, completed, failed, warning, failedUIDs } = progress;
  const cancelled = signal.aborted && remaining > 0;
  const subOperations = { completed, failed, warning, ...(cancelled && { remaining }) };
  let status = SUCCESS;
  if (cancelled) status = CANCELLED;
  else if (failed > 0 && completed + warning === 0) status = UNABLE_TO_PERFORM_SUBOPERATIONS;
  else if (failed + warning > 0) status = SOME_FAILED;
  if (failedUIDs.length === 0) return { status, subOperations };
  const { implicit = true, bigEndian = false } = transferSyntax(context.transferSyntax) ?? {};
  const list: DicomJson = { '00080058': { vr: 'UI', Value: failedUIDs } };
  return { status, subOperations, dataset: encodeDataset(list, { implicit, bigEndian }) };
}
