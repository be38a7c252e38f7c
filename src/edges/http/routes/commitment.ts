import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { parseContentType } from '../../../dicom/accept.ts';
import type { DicomJson } from '../../../dicom/model.ts';
import { nativeModelOf } from '../../../dicom/native-model.ts';
import { readDicomJson } from '../../../dicom/read-json.ts';
import { readNativeModel } from '../../../dicom/read-native-model.ts';
import { isUsableUID } from '../../../dicom/uid.ts';
import type { Reference } from '../../../flows/commitment/judge.ts';
import type { CommitmentResult } from '../../../flows/commitment/requests.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import { DICOM_JSON, DICOM_XML } from '../metadata-parts.ts';
import type { RouteContext } from '../modules.ts';
import { acceptedBy, negotiate } from '../negotiate.ts';
import { bodyOf } from '../plugins/request-body.ts';
import * as schemas from '../schemas/commitment.ts';
import { addRoute, type Call } from './route.ts';

const ANSWERS = [DICOM_JSON, 'application/json', DICOM_XML].map((type) => ({ multipart: false, type }));
const MAX_BYTES = 16 * 1024 * 1024;
const MAX_REFERENCES = 10_000;
/** Failure Reason (0008,1197) (PS3.3 C.14.1.1). */
const REASONS = { 'no-such-instance': 0x0112, 'class-conflict': 0x0119, waiting: 0x0110 } as const;

/** Storage commitment (PS3.18 §13): the request, and the check for its result. */
export function addCommitmentRoutes(app: FastifyInstance, { commitments, options }: RouteContext): void {
  type TransactionCall = Call<{ transactionUID: string }, { accept?: string | undefined }>;

  function send(reply: FastifyReply, type: string, result: CommitmentResult): unknown {
    if (!result.done) return reply.code(202).header('retry-after', options.retryAfterSeconds).send();
    const dataset = datasetOf(result);
    return reply.type(type).send(Buffer.from(type === DICOM_XML ? nativeModelOf(dataset) : JSON.stringify(dataset)));
  }

  addRoute(app, schemas.requestCommitment, async ({ params, query, request, reply }: TransactionCall) => {
    const { type } = negotiate(acceptedBy(request, query), ANSWERS);
    const references = referencesOf(await read(request));
    return send(reply, type, commitments.request(params.transactionUID, references));
  });
  addRoute(app, schemas.checkCommitment, ({ params, query, request, reply }: TransactionCall) => {
    const { type } = negotiate(acceptedBy(request, query), ANSWERS);
    return send(reply, type, commitments.check(params.transactionUID));
  });
}

/** The Storage Commitment Request Module. */
async function read(request: FastifyRequest): Promise<DicomJson> {
  const media = parseContentType(request.headers['content-type'] ?? '')?.type;
  if (media !== DICOM_XML && media !== DICOM_JSON && media !== 'application/json') {
    const rule = `${DICOM_JSON} or ${DICOM_XML} (PS3.18 §13.4.1.4)`;
    throw new DagpacsError('unsupported-media-type', `Content-Type is ${rule}`, { attribute: 'Content-Type', rule });
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of bodyOf(request.raw, MAX_BYTES)) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const [dataset, ...more] = media === DICOM_XML ? [readNativeModel(text)] : readDicomJson(text);
  if (!dataset || more.length > 0) throw broken('one data set is given (PS3.18 J.1)');
  return dataset;
}

function referencesOf(dataset: DicomJson): Reference[] {
  const items = dataset['00081199']?.Value ?? [];
  if (items.length === 0) throw broken('one item for each instance (PS3.18 J.1)');
  if (items.length > MAX_REFERENCES) throw broken(`at most ${MAX_REFERENCES} items`);
  return items.map((item) => {
    const [sopClassUID, sopInstanceUID] = ['00081150', '00081155'].map((tag) => (item as DicomJson)[tag]?.Value?.[0]);
    const usable = [sopClassUID, sopInstanceUID].every((uid) => typeof uid === 'string' && isUsableUID(uid));
    if (!usable) throw broken('each item has a class and an instance UID (PS3.3 Table 10-11)');
    return { sopClassUID: String(sopClassUID), sopInstanceUID: String(sopInstanceUID) };
  });
}

function broken(rule: string): DagpacsError {
  const subject = { attribute: 'ReferencedSOPSequence', tag: '00081199', rule };
  return new DagpacsError('invalid-parameter', `ReferencedSOPSequence breaks a rule: ${rule}`, subject);
}

/** The Storage Commitment Response Module (PS3.18 J.2). */
function datasetOf({ committed, failed }: Extract<CommitmentResult, { done: true }>): DicomJson {
  const item = ({ sopClassUID, sopInstanceUID }: Reference): DicomJson => ({
    '00081150': { vr: 'UI', Value: [sopClassUID] },
    '00081155': { vr: 'UI', Value: [sopInstanceUID] },
  });
  const dataset: DicomJson = {};
  if (failed.length > 0) {
    const Value = failed.map((each) => ({ ...item(each), '00081197': { vr: 'US', Value: [REASONS[each.verdict]] } }));
    dataset['00081198'] = { vr: 'SQ', Value };
  }
  if (committed.length > 0) dataset['00081199'] = { vr: 'SQ', Value: committed.map(item) };
  return dataset;
}
