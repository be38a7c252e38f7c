import { BaseError, type Client, createClient, HttpRequestError, http, RpcRequestError, type Transport } from 'viem';
import { DagpacsError } from '../../kernel/errors.ts';

/** A JSON-RPC node. */
export type Node = Client<Transport>;

/**
 * A client for the node at `url`: every call ends within `timeout` milliseconds or when `signal` says so, and none is
 * tried again by itself.
 */
export function nodeAt(url: string, timeout: number, signal: AbortSignal): Node {
  return createClient({ transport: http(url, { timeout, retryCount: 0, fetchOptions: { signal } }), cacheTime: 0 });
}

/**
 * Waits for a call to the node. viem's messages hold the request, its URL and so perhaps credentials: only its short
 * message without the details is kept.
 * @throws DagpacsError `chain-unavailable`
 */
export async function ask<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof DagpacsError) throw error;
    throw new DagpacsError('chain-unavailable', `${what}: ${reasonOf(error)}`);
  }
}

/** {@link ask} for a number: nodes that answer nonsense must not become a nonce. */
export async function askNumber(what: string, call: Promise<number>): Promise<number> {
  const number = await ask(what, call);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new DagpacsError('chain-unavailable', `${what}: the node answers nonsense`);
}

/** The node's own words where it answered; else what kind of failure it was. */
export function reasonOf(error: unknown): string {
  const refusal = refusalOf(error);
  if (refusal) return refusal.details;
  const failure = error instanceof BaseError ? error.walk((cause) => cause instanceof HttpRequestError) : undefined;
  if (failure instanceof HttpRequestError)
    return failure.status ? `HTTP ${failure.status}` : 'the node is not reachable';
  return error instanceof Error ? error.name : 'unknown failure';
}

/** The error that the node answered with, where it did answer. */
export function refusalOf(error: unknown): RpcRequestError | undefined {
  if (!(error instanceof BaseError)) return undefined;
  const refusal = error.walk((cause) => cause instanceof RpcRequestError);
  return refusal instanceof RpcRequestError ? refusal : undefined;
}
