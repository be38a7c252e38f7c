import { DagpacsError } from '../kernel/errors.ts';

/**
 * Calls a method of an Ethereum JSON-RPC node.
 * @throws DagpacsError `chain-unavailable` where there is no usable answer, {@link RpcRefusal} where the node says no
 */
export type Rpc = (method: string, params: unknown[]) => Promise<unknown>;

/** The node's own error answer. */
export class RpcRefusal extends Error {
  override readonly name = 'RpcRefusal';
}

/** A node over HTTP, with the user and password of its URL, where it has them. A call that has no answer within `timeoutMs` fails. */
export function httpRpc(url: string, timeoutMs = 15_000): Rpc {
  const { address, authorization } = separate(url);
  let id = 0;
  return async (method, params) => {
    id += 1;
    let answer: unknown;
    try {
      const response = await fetch(address, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...authorization },
        body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
        signal: AbortSignal.timeout(timeoutMs),
      });
      answer = await response.json();
    } catch (cause) {
      throw new DagpacsError('chain-unavailable', `${method}: the node gives no JSON answer`, {}, { cause });
    }
    const { result, error } = (answer ?? {}) as { result?: unknown; error?: { message?: unknown } };
    if (error) throw new RpcRefusal(`${method}: ${String(error.message)}`);
    if (result === undefined) throw nonsense(method);
    return result;
  };
}

/** `fetch` refuses a URL with a user in it. A page may give a path of its own origin. */
function separate(text: string): { address: string; authorization?: { authorization: string } } {
  if (!URL.canParse(text)) return { address: text };
  const url = new URL(text);
  const { username, password } = url;
  if (username === '' && password === '') return { address: text };
  url.username = '';
  url.password = '';
  const bytes = new TextEncoder().encode(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
  return { address: url.href, authorization: { authorization: `Basic ${btoa(String.fromCharCode(...bytes))}` } };
}

/** An answer that the Ethereum JSON-RPC specification does not allow. */
export function nonsense(method: string): DagpacsError {
  return new DagpacsError('chain-unavailable', `${method}: the node's answer is not one of the Ethereum JSON-RPC`);
}
