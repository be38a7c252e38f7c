import { isDagpacsError } from '../../../kernel/errors.ts';
import type { Log } from '../../../kernel/log.ts';
import { C_GET_RQ } from '../command.ts';
import { PENDING } from '../errors.ts';
import { readAhead } from '../outgoing.ts';
import { count, startProgress } from '../sender.ts';
import { refusal } from './find.ts';
import { readIdentifier } from './identifier.ts';
import { finalResponse, instancesOf, type RetrievalModules } from './retrieval.ts';
import type { Service } from './service.ts';

/** Query/Retrieve Service Class as SCP of C-GET (PS3.4 C.4.3): the sub-operations go over the same association. */
export function getService(modules: RetrievalModules, log: Log): Service {
  return {
    field: C_GET_RQ,
    async perform(operation) {
      try {
        const identifier = await readIdentifier(operation, 'get', operation.context.extended?.[0] === 1);
        const instances = instancesOf(identifier, modules);
        const contexts = [...operation.contexts.values()].filter(({ roles }) => roles?.scp);
        const progress = startProgress(instances.length);
        for await (const { instance, invocation } of readAhead(instances, contexts, modules.transcoder)) {
          if (operation.signal.aborted) break;
          let status: number | undefined;
          try {
            if (invocation) ({ status } = await operation.invoke(invocation));
          } catch (error) {
            // It cannot be read; or the association has ended, after which nothing is tried.
            if (!isDagpacsError(error)) throw error;
            log.warn('send-failed', { peer: operation.peer, code: error.code });
            if (error.code === 'sender-aborted') break;
          }
          count(progress, instance.sopInstanceUID, status);
          if (progress.remaining > 0) await operation.respond({ status: PENDING, subOperations: progress });
        }
        return finalResponse(progress, operation);
      } catch (error) {
        return refusal(error);
      }
    },
  };
}
