import { DagpacsError } from '../../kernel/errors.ts';

/** `swarm-unavailable` about `what` failed, with the reason in words. Never holds an address, which may have a password. */
export function unavailable(what: string, reason: unknown): DagpacsError {
  if (reason instanceof DagpacsError) return reason;
  const cause = reason instanceof Error ? { cause: reason } : undefined;
  return new DagpacsError('swarm-unavailable', `${what}: ${inWords(reason)}`, {}, cause);
}

/** What a failed request means to a person. */
export function inWords(reason: unknown): string {
  if (!(reason instanceof Error)) return String(reason);
  if (reason instanceof DagpacsError) return reason.message;
  if (reason.name === 'TimeoutError') return 'no answer in time';
  if (reason.name === 'AbortError') return 'the bridge is stopping';
  if (reason.name === 'SyntaxError') return 'the answer is not that of a Kubo RPC API';
  const code = codeOf(reason) ?? codeOf(reason.cause);
  if (code === 'ECONNREFUSED') return 'nothing listens there (connection refused)';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'the host name is not known';
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'UND_ERR_SOCKET') return 'the connection was lost';
  const status = (reason as { response?: { status?: number } }).response?.status;
  if (status !== undefined) return `answered HTTP status ${status}: ${firstLine(reason.message)}`;
  return code === undefined ? firstLine(reason.message) : `${firstLine(reason.message)} (${code})`;
}

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/**
 * A web server's error page is not worth more than its first line. Of a long one the middle is left out: Go's errors end
 * with their cause.
 */
export function firstLine(text: string): string {
  const line = text.trim().split('\n', 1)[0] ?? '';
  return line.length > 200 ? `${line.slice(0, 120)}…${line.slice(-80)}` : line;
}
