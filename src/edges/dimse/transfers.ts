import { EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN } from '../../dicom/transfer-syntax.ts';
import type { Serve } from '../../flows/serve/served.ts';
import type { Echo, Transfer, TransferProgress } from '../../flows/serve/transfer.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { C_ECHO_RQ } from './command.ts';
import { SUCCESS } from './errors.ts';
import { VERIFICATION } from './negotiation.ts';
import type { Transcoder } from './outgoing.ts';
import type { Peer } from './peers.ts';
import { openAssociation, type RequestorOptions } from './requestor.ts';
import { type SendOptions, sendInstances } from './sender.ts';

/** Verification as SCU, of the peers that are named. */
export function createEcho(options: RequestorOptions & { peers?: readonly Peer[] }, log: Log): Echo {
  return async (aeTitle) => {
    const peer = peerNamed(aeTitle, options.peers);
    const started = performance.now();
    const transferSyntaxes = [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN];
    const association = await openAssociation(peer, [{ abstractSyntax: VERIFICATION, transferSyntaxes }], options, log);
    try {
      const [context] = association.contexts.values();
      if (!context) throw unavailable('it does not take the Verification SOP Class');
      const request = { field: C_ECHO_RQ, sopClassUID: VERIFICATION, sopInstanceUID: '' };
      const { status } = await association.invoke({ contextId: context.id, request });
      if (status !== SUCCESS) throw unavailable(`it answers with status ${status.toString(16).padStart(4, '0')}`);
      return performance.now() - started;
    } catch (error) {
      if (!isDagpacsError(error, 'sender-aborted')) throw error;
      throw unavailable('it ended the association without an answer');
    } finally {
      await association.release();
    }
  };
}

function unavailable(rule: string): DagpacsError {
  return new DagpacsError('peer-unavailable', 'The peer was reached and not verified', { attribute: 'aeTitle', rule });
}

/** @throws DagpacsError `not-found` */
function peerNamed(aeTitle: string, peers: readonly Peer[] | undefined): Peer {
  const peer = peers?.find((each) => each.aeTitle === aeTitle);
  if (peer) return peer;
  const subject = { attribute: 'aeTitle', rule: 'an AE title of DAGPACS_AE_PEERS' };
  throw new DagpacsError('not-found', 'There is no such application entity', subject);
}

/** Transfers to the peers that are named; a reader that is slow gets fewer of the steps, and always the last. */
export function createTransfer(
  options: SendOptions & { peers?: readonly Peer[] },
  { serve, transcoder, log }: { serve: Pick<Serve, 'instances'>; transcoder: Transcoder; log: Log },
): Transfer {
  return (aeTitle, scope, signal) => {
    const to = peerNamed(aeTitle, options.peers);
    const instances = serve.instances(scope);
    return steps();

    async function* steps(): AsyncGenerator<TransferProgress> {
      let latest: TransferProgress | undefined;
      let wake = (): void => undefined;
      const onProgress = (progress: TransferProgress): void => {
        latest = { ...progress };
        wake();
      };
      let ended = false;
      const sending = sendInstances({ to, instances, signal, onProgress }, options, {
        transcoder,
        log,
      }).finally(() => {
        ended = true;
        wake();
      });
      while (!ended) {
        if (!latest) {
          await new Promise<void>((resolve) => {
            wake = resolve;
            if (latest || ended) resolve();
          });
        }
        // The last step is the outcome.
        if (latest && latest.remaining > 0) yield latest;
        latest = undefined;
      }
      yield await sending;
    }
  };
}
