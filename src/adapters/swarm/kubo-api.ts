import type { Cid } from '../../ipld/cid.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Block } from '../../ports/blocks.ts';
import { splitCredentials } from './api-address.ts';
import { createBlockPut } from './block-put.ts';
import type { SwarmTuning } from './options.ts';
import { unavailable } from './unavailable.ts';
import { upload } from './upload.ts';

/** A Kubo that has answered. Its methods throw DagpacsError `swarm-unavailable`. */
export interface KuboApi {
  /** Peer identity. */
  node: string;
  version: string;
  put(blocks: AsyncIterable<Block>, closing: AbortSignal): Promise<void>;
  pin(root: Cid, closing: AbortSignal): Promise<void>;
  peers(closing: AbortSignal): Promise<number>;
  /** Resolves if the same node still answers. */
  probe(closing: AbortSignal): Promise<void>;
  close(): void;
}

/**
 * Asks the RPC API at `base` who it is. The client library takes 0.15 to 0.2 s to load and is loaded here, not when the
 * bridge starts. Its own time-outs never fire: everything is bounded by a signal.
 * @throws DagpacsError `swarm-unavailable` where nothing, or something else than Kubo, answers
 */
export async function connectKubo(base: URL, tuning: SwarmTuning, closing: AbortSignal): Promise<KuboApi> {
  const { create } = await import('kubo-rpc-client');
  const { url, headers } = splitCredentials(base);
  const client = create({ url, headers });
  const within = (milliseconds: number, signal: AbortSignal) =>
    AbortSignal.any([signal, AbortSignal.timeout(milliseconds)]);

  const identify = async (signal: AbortSignal) => {
    try {
      const { id } = await client.id({ signal: within(tuning.probeTimeoutMs, signal) });
      return id.toString();
    } catch (error) {
      throw unavailable('Kubo does not answer', error);
    }
  };

  let version: string;
  try {
    const answer = await client.version({ signal: within(tuning.probeTimeoutMs, closing) });
    if (typeof answer.version !== 'string') throw new Error('the answer is not that of a Kubo RPC API');
    version = answer.version;
  } catch (error) {
    throw unavailable('Kubo does not answer', error);
  }
  const node = await identify(closing);
  const blockPut = createBlockPut(base, tuning.parallelRequests);

  return {
    node,
    version,
    async put(blocks, signal) {
      const failed = new AbortController();
      const stopping = AbortSignal.any([signal, failed.signal]);
      const send = async (codec: number, group: readonly Block[]) => {
        try {
          await blockPut.send(codec, group, within(tuning.putTimeoutMs, stopping));
        } catch (error) {
          throw unavailable('blocks could not be replicated', error);
        }
      };
      await upload(blocks, tuning, send, (reason) => failed.abort(reason));
    },
    async pin(root, signal) {
      try {
        await client.pin.add(root, { recursive: true, signal: within(tuning.pinTimeoutMs, signal) });
      } catch (error) {
        throw unavailable('a record could not be pinned', error);
      }
    },
    async peers(signal) {
      try {
        return (await client.swarm.peers({ signal: within(tuning.probeTimeoutMs, signal) })).length;
      } catch (error) {
        throw unavailable('Kubo does not tell its peers', error);
      }
    },
    async probe(signal) {
      if ((await identify(signal)) !== node) {
        throw new DagpacsError('swarm-unavailable', 'another node answers at the address of Kubo');
      }
    },
    close: () => blockPut.close(),
  };
}
