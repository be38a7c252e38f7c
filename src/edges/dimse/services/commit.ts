import { readDataset } from '../../../dicom/dataset.ts';
import type { DicomJson } from '../../../dicom/model.ts';
import { valuesOf } from '../../../dicom/query-keys.ts';
import { isUsableUID } from '../../../dicom/uid.ts';
import type { Reference } from '../../../flows/commitment/judge.ts';
import { DagpacsError } from '../../../kernel/errors.ts';
import { N_ACTION_RQ } from '../command.ts';
import { COMMITMENT_INSTANCE, type Commitment, type Commitments } from '../commitments.ts';
import {
  comment,
  DUPLICATE_TRANSACTION,
  INVALID_ARGUMENT,
  NO_SUCH_ACTION,
  NO_SUCH_INSTANCE,
  NO_SUCH_SOP_CLASS,
  RESOURCE_LIMITATION,
  responseTo,
  SUCCESS,
} from '../errors.ts';
import { STORAGE_COMMITMENT } from '../negotiation.ts';
import { Refusal } from './identifier.ts';
import type { Operation, Service } from './service.ts';

/** Request Storage Commitment (PS3.4 J.3.2). */
const REQUEST_COMMITMENT = 1;
const MAX_BYTES = 16 << 20;

export interface CommitServiceOptions {
  /** Milliseconds that a peer has to release the association, before it is reported to on the same one. */
  commitGraceMs: number;
}

/**
 * Storage Commitment Push Model as SCP (PS3.4 Annex J). The report comes on the same association where the peer keeps it,
 * else on one of ours.
 */
export function commitService({ commitGraceMs }: CommitServiceOptions, commitments: Commitments): Service {
  return {
    field: N_ACTION_RQ,
    async perform(operation) {
      let commitment: Commitment;
      try {
        commitment = await read(operation, commitments, commitGraceMs);
      } catch (error) {
        if (error instanceof Refusal) return error.response;
        // The association ended inside the data set.
        if (error instanceof DagpacsError) return responseTo(error);
        throw error;
      }
      commitments.add(commitment);
      operation.later(commitGraceMs, async () => {
        const invoke = (invocation: Parameters<Operation['invoke']>[0]) => operation.invoke(invocation);
        if (!(await commitments.report(commitment, operation.context, invoke))) commitments.hurry(commitment);
      });
      return { status: SUCCESS };
    },
  };
}

/** @throws Refusal */
async function read(operation: Operation, commitments: Commitments, graceMs: number): Promise<Commitment> {
  const { command, context, dataset, callingAE } = operation;
  if (command.sopClassUID !== STORAGE_COMMITMENT || context.abstractSyntax !== STORAGE_COMMITMENT)
    throw new Refusal(NO_SUCH_SOP_CLASS, 'RequestedSOPClassUID: Storage Commitment Push Model');
  if (command.sopInstanceUID !== COMMITMENT_INSTANCE)
    throw new Refusal(NO_SUCH_INSTANCE, 'RequestedSOPInstanceUID: the well-known instance (PS3.4 J.3)');
  if (command.typeId !== REQUEST_COMMITMENT) throw new Refusal(NO_SUCH_ACTION, 'ActionTypeID: 1 (PS3.4 J.3.2)');
  if (!dataset) throw new Refusal(INVALID_ARGUMENT, 'CommandDataSetType: a data set must follow');
  const information = await readWhole(dataset, context.transferSyntax);
  const [transactionUID = ''] = valuesOf(information['00081195']);
  if (!isUsableUID(transactionUID)) throw new Refusal(INVALID_ARGUMENT, 'TransactionUID: a UID', '00081195');
  const references = ((information['00081199']?.Value ?? []) as DicomJson[]).map(referenceOf);
  if (references.length === 0) {
    throw new Refusal(INVALID_ARGUMENT, 'ReferencedSOPSequence: one item for each instance', '00081199');
  }
  if (commitments.has(callingAE, transactionUID)) {
    throw new Refusal(DUPLICATE_TRANSACTION, 'TransactionUID: is in use', '00081195');
  }
  if (!commitments.makeRoomFor(references.length))
    throw new Refusal(RESOURCE_LIMITATION, 'Too many reports are still owed');
  const askedAt = Date.now();
  // Should this association or this process end first, our own associations report.
  return { transactionUID, peer: callingAE, references, askedAt, dueAt: askedAt + 2 * graceMs, tries: 0 };
}

function referenceOf(item: DicomJson): Reference {
  const [sopClassUID = ''] = valuesOf(item['00081150']);
  const [sopInstanceUID = ''] = valuesOf(item['00081155']);
  if (!isUsableUID(sopClassUID) || !isUsableUID(sopInstanceUID)) {
    throw new Refusal(INVALID_ARGUMENT, 'ReferencedSOPSequence: a class and an instance UID each', '00081199');
  }
  return { sopClassUID, sopInstanceUID };
}

async function readWhole(bytes: AsyncIterable<Uint8Array>, transferSyntaxUID: string): Promise<DicomJson> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > MAX_BYTES) throw new Refusal(RESOURCE_LIMITATION, 'The list of instances is too long');
    chunks.push(Buffer.from(chunk));
  }
  try {
    return readDataset(Buffer.concat(chunks, size), transferSyntaxUID).dataset;
  } catch (error) {
    if (!(error instanceof DagpacsError)) throw error;
    throw new Refusal(INVALID_ARGUMENT, comment('The action information is no data set in its transfer syntax'));
  }
}
