import type { Log } from '../../../kernel/log.ts';
import { C_MOVE_RQ } from '../command.ts';
import { PENDING, UNKNOWN_DESTINATION } from '../errors.ts';
import type { Peer } from '../peers.ts';
import { type SendOptions, sendInstances } from '../sender.ts';
import { refusal } from './find.ts';
import { Refusal, readIdentifier } from './identifier.ts';
import { finalResponse, instancesOf, type RetrievalModules } from './retrieval.ts';
import type { Service } from './service.ts';

export interface MoveOptions extends SendOptions {
  /** The destinations that there are. */
  peers?: readonly Peer[];
}

/** Query/Retrieve Service Class as SCP of C-MOVE (PS3.4 C.4.2), to destinations that are configured. */
export function moveService(options: MoveOptions, modules: RetrievalModules, log: Log): Service {
  const { transcoder } = modules;
  return {
    field: C_MOVE_RQ,
    async perform(operation) {
      const { command, callingAE, context, signal } = operation;
      try {
        const identifier = await readIdentifier(operation, 'move', context.extended?.[0] === 1);
        const to = options.peers?.find(({ aeTitle }) => aeTitle === command.moveDestination);
        if (!to) throw new Refusal(UNKNOWN_DESTINATION, 'MoveDestination: must be an AE title that is configured');
        const instances = instancesOf(identifier, modules);
        const originator = { aeTitle: callingAE, messageId: command.messageId };
        const onProgress = (subOperations: {
          remaining: number;
          completed: number;
          failed: number;
          warning: number;
        }) => (subOperations.remaining > 0 ? operation.respond({ status: PENDING, subOperations }) : undefined);
        const progress = await sendInstances({ to, instances, signal, originator, onProgress }, options, {
          transcoder,
          log,
        });
        return finalResponse(progress, operation);
      } catch (error) {
        return refusal(error);
      }
    },
  };
}
