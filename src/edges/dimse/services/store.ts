import { writeFileMeta } from '../../../dicom/meta.ts';
import { isUsableUID } from '../../../dicom/uid.ts';
import type { Ingest, Received } from '../../../flows/ingest/received.ts';
import type { Log } from '../../../kernel/log.ts';
import { C_STORE_RQ } from '../command.ts';
import { INVALID_OBJECT_INSTANCE, NO_SUCH_SOP_CLASS, responseTo, SOP_CLASS_NOT_SUPPORTED, SUCCESS } from '../errors.ts';
import { isStorage } from '../negotiation.ts';
import type { DimseOptions } from '../options.ts';
import type { Service } from './service.ts';

/** File meta information made from the command, then the data set's bytes as they came. */
async function* part10(meta: Uint8Array, dataset: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield meta;
  yield* dataset;
}

/**
 * Storage Service Class as SCP (PS3.4 Annex B), level 2: nothing of an instance is changed. Whether the data set is what
 * the command says of it is found out by the ingest, which reads it anyway.
 */
export function storeService({ stores }: Pick<DimseOptions, 'stores'>, ingest: Ingest, log: Log): Service {
  return {
    field: C_STORE_RQ,
    async perform({ command, context, dataset, peer }) {
      const { sopClassUID, sopInstanceUID } = command;
      if (!isStorage(context.abstractSyntax) || stores?.(sopClassUID) === false)
        return { status: SOP_CLASS_NOT_SUPPORTED };
      if (!isUsableUID(sopClassUID))
        return { status: NO_SUCH_SOP_CLASS, errorComment: 'AffectedSOPClassUID: must be a UID (PS3.5 9.1)' };
      if (!isUsableUID(sopInstanceUID))
        return { status: INVALID_OBJECT_INSTANCE, errorComment: 'AffectedSOPInstanceUID: must be a UID (PS3.5 9.1)' };
      if (!dataset)
        return { status: INVALID_OBJECT_INSTANCE, errorComment: 'CommandDataSetType: a data set must follow' };
      const meta = writeFileMeta({ sopClassUID, sopInstanceUID, transferSyntaxUID: context.transferSyntax });
      const received: Received = {
        bytes: part10(meta, dataset),
        from: `dimse:${peer}`,
        expect: { sopClassUID, sopInstanceUID },
      };
      const outcome = await ingest(received);
      if (outcome.outcome !== 'refused') return { status: SUCCESS };
      const { code, subject } = outcome.error;
      log.warn('store-refused', { peer, code, attribute: subject.attribute });
      return responseTo(outcome.error);
    },
  };
}
