import type { Serve } from '../../flows/serve/served.ts';
import type { Transfer, TransferProgress } from '../../flows/serve/transfer.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Transcoder } from './outgoing.ts';
import type { Peer } from './peers.ts';
import { type SendOptions, sendInstances } from './sender.ts';

/** Transfers to the peers that are named; a reader that is slow gets fewer of the steps, and always the last. */
export function createTransfer(
  options: SendOptions & { peers?: readonly Peer[] },
  { serve, transcoder, log }: { serve: Pick<Serve, 'instances'>; transcoder: Transcoder; log: Log },
): Transfer {
  return (aeTitle, scope, signal) => {
    const to = options.peers?.find((peer) => peer.aeTitle === aeTitle);
    if (!to) {
      const subject = { attribute: 'aeTitle', rule: 'an AE title of DAGPACS_AE_PEERS' };
      throw new DagpacsError('not-found', 'There is no such application entity', subject);
    }
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
      const sending = sendInstances({ to: to as Peer, instances, signal, onProgress }, options, {
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
