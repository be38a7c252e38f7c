import type { Cid } from '../../ipld/cid.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Block } from '../../ports/blocks.ts';
import type { Outgoing } from '../../ports/swarm.ts';
import type { KuboAddress } from './api-address.ts';
import { checkBlock, dropBlock, getBlock, hasBlock } from './block-get.ts';
import { importBlocks } from './block-import.ts';
import { createKuboHttp, KuboRefusal } from './kubo-http.ts';
import type { SwarmTuning } from './options.ts';
import { unavailable } from './unavailable.ts';
import { upload } from './upload.ts';

/** Memory of uploads that no batch has used for so long is given back. */
const IDLE_MEMORY_MS = 5000;

/** A Kubo that has answered. Its methods throw DagpacsError `swarm-unavailable`, and end when `closing` does. */
export interface KuboApi {
  /** Peer identity. */
  node: string;
  version: string;
  put(blocks: AsyncIterable<Outgoing>, closing: AbortSignal): Promise<void>;
  has(cid: Cid, closing: AbortSignal): Promise<boolean>;
  check(cid: Cid, closing: AbortSignal): Promise<'whole' | 'missing' | 'damaged'>;
  drop(cid: Cid, closing: AbortSignal): Promise<void>;
  get(cid: Cid, peers: boolean, closing: AbortSignal): Promise<Uint8Array | undefined>;
  pin(root: Cid, recursive: boolean, closing: AbortSignal): Promise<void>;
  unpin(root: Cid, closing: AbortSignal): Promise<void>;
  isPinned(root: Cid, closing: AbortSignal): Promise<boolean>;
  pins(closing: AbortSignal): AsyncIterable<Cid>;
  collectGarbage(closing: AbortSignal): Promise<void>;
  /** Resolves, with the identities of its peers, if the same node still answers. */
  probe(closing: AbortSignal): Promise<ReadonlySet<string>>;
  /** Has it connect to another node, one of whose `addresses` it can reach. */
  connect(addresses: readonly string[], closing: AbortSignal): Promise<void>;
  /** Where it listens for peers, its identity included. */
  addresses: readonly string[];
  close(): void;
}

/**
 * Asks the RPC API at an address who it is. The client library takes 0.15 to 0.2 s to load and is loaded here, not when the
 * bridge starts. Its own time-outs never fire: everything is bounded by a signal.
 * @throws DagpacsError `swarm-unavailable` where nothing, or something else than Kubo, answers
 */
export async function connectKubo(address: KuboAddress, tuning: SwarmTuning, closing: AbortSignal): Promise<KuboApi> {
  const { create } = await import('kubo-rpc-client');
  const { url, headers } = address;
  const client = create({ url, headers });
  const within = (milliseconds: number, signal: AbortSignal) =>
    AbortSignal.any([signal, AbortSignal.timeout(milliseconds)]);

  async function attempt<T>(what: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw unavailable(what, error);
    }
  }

  const identify = (signal: AbortSignal) =>
    attempt('Kubo does not answer', async () => {
      const { id, addresses } = await client.id({ signal: within(tuning.probeTimeoutMs, signal) });
      return { node: id.toString(), addresses: addresses.map(String) };
    });

  const version = await attempt('Kubo does not answer', async () => {
    const answer = await client.version({ signal: within(tuning.probeTimeoutMs, closing) });
    if (typeof answer.version !== 'string') throw new Error('the answer is not that of a Kubo RPC API');
    return answer.version;
  });
  const { node, addresses } = await identify(closing);
  const uploads = createKuboHttp(address, tuning.parallelRequests);
  // Of their own, so that a reader does not wait for an upload.
  const http = createKuboHttp(address, tuning.parallelReads);
  /** What blocks are read into on their way out: kept from batch to batch, not for ever. */
  const idle: Buffer[] = [];
  let forget: NodeJS.Timeout | undefined;

  return {
    node,
    version,
    addresses,
    async put(blocks, signal) {
      const failed = new AbortController();
      const stopping = AbortSignal.any([signal, failed.signal]);
      const send = (group: readonly Block[]) =>
        attempt('blocks could not be replicated', () =>
          importBlocks(uploads, group, within(tuning.putTimeoutMs, stopping)),
        );
      clearTimeout(forget);
      try {
        await upload(blocks, tuning, send, (reason) => failed.abort(reason), idle);
      } finally {
        clearTimeout(forget);
        forget = setTimeout(() => idle.splice(0), IDLE_MEMORY_MS).unref();
      }
    },
    has: (cid, signal) =>
      attempt('Kubo does not tell what it holds', () => hasBlock(http, cid, within(tuning.getTimeoutMs, signal))),
    check: (cid, signal) =>
      attempt('a block could not be read', () => checkBlock(http, cid, within(tuning.getTimeoutMs, signal))),
    drop: (cid, signal) =>
      attempt('a block could not be deleted', () => dropBlock(http, cid, within(tuning.probeTimeoutMs, signal))),
    get: (cid, peers, signal) =>
      attempt('a block could not be fetched', async () => {
        try {
          return await getBlock(http, cid, !peers, within(tuning.getTimeoutMs, signal));
        } catch (error) {
          // In time means: none of its peers has it.
          if (peers && (error as Error).name === 'TimeoutError') return undefined;
          throw error;
        }
      }),
    pin: (root, recursive, signal) =>
      attempt('a record could not be pinned', async () => {
        const pinned = await client.pin.add(root, { recursive, signal: within(tuning.pinTimeoutMs, signal) });
        if (String(pinned) !== String(root)) throw new Error('the node says that it pinned another CID than ours');
      }),
    unpin: (root, signal) =>
      attempt('a pin could not be taken back', async () => {
        try {
          await client.pin.rm(root, { recursive: true, signal: within(tuning.pinTimeoutMs, signal) });
        } catch (error) {
          if (!/not pinned/.test((error as Error).message)) throw error;
        }
      }),
    isPinned: (root, signal) =>
      attempt('Kubo does not tell its pins', async () => {
        try {
          await http.post(`pin/ls?arg=${root}&type=recursive`, 1 << 16, within(tuning.probeTimeoutMs, signal));
          return true;
        } catch (error) {
          if (error instanceof KuboRefusal && /not pinned/.test(error.message)) return false;
          throw error;
        }
      }),
    async *pins(signal) {
      try {
        const listed = client.pin.ls({ type: 'recursive', signal: within(tuning.pinTimeoutMs, signal) });
        for await (const { cid } of listed) yield cid as unknown as Cid;
      } catch (error) {
        throw unavailable('Kubo does not tell its pins', error);
      }
    },
    collectGarbage: (signal) =>
      attempt('what is not pinned could not be deleted', async () => {
        for await (const { err } of client.repo.gc({ signal: within(tuning.gcTimeoutMs, signal) })) if (err) throw err;
      }),
    async probe(signal) {
      if ((await identify(signal)).node !== node) {
        throw new DagpacsError('swarm-unavailable', 'another node answers at the address of Kubo');
      }
      return attempt('Kubo does not tell its peers', async () => {
        const peers = await client.swarm.peers({ signal: within(tuning.probeTimeoutMs, signal) });
        return new Set(peers.map(({ peer }) => peer.toString()));
      });
    },
    connect: (theirs, signal) =>
      attempt('our nodes could not be connected', async () => {
        let failure: unknown = new Error('it listens nowhere');
        for (const each of theirs) {
          try {
            await http.post(
              `swarm/connect?arg=${encodeURIComponent(each)}`,
              1 << 16,
              within(tuning.probeTimeoutMs, signal),
            );
            return;
          } catch (error) {
            failure = error;
          }
        }
        throw failure;
      }),
    close() {
      clearTimeout(forget);
      uploads.close();
      http.close();
    },
  };
}
