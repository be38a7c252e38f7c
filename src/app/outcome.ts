import { isDagpacsError } from '../kernel/errors.ts';
import { RpcRefusal } from '../proof/rpc.ts';

/** Exit codes beside 0: the answer is no; it could not be done. */
export const NO = 1;
export const COULD_NOT = 2;

/** Arguments that a command does not take. */
export class UsageError extends Error {}

/**
 * Runs a command and says on standard error why it could not be done: usage, an expected failure, a file that is not there.
 * @returns the exit code
 */
export async function saying(name: string, usage: string, command: () => Promise<number>): Promise<number> {
  try {
    return await command();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const isUsage = error instanceof UsageError || code?.startsWith('ERR_PARSE_ARGS');
    const isFile = code !== undefined && /^E[A-Z]+$/.test(code);
    if (!isUsage && !isFile && !isDagpacsError(error) && !(error instanceof RpcRefusal)) throw error;
    process.stderr.write(`${name}: ${(error as Error).message}\n${isUsage ? `\n${usage}` : ''}`);
    const isNo = isDagpacsError(error, 'backup-refused') || isDagpacsError(error, 'transaction-refused');
    return isNo ? NO : COULD_NOT;
  }
}
