import { parseSection } from '../../ipld/car.ts';
import type { Cid } from '../../ipld/cid.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { Archive } from '../../ports/archive.ts';
import { apiUrl, kuboAddress } from './api-address.ts';
import { connectKubo, type KuboApi } from './kubo-api.ts';
import { SWARM_TUNING } from './options.ts';
import { unavailable } from './unavailable.ts';

/** For a block that a node does not hold itself: peers may. */
const FETCH_MS = 5000;
/** Blocks of an export that came before they were asked for. */
const MAX_AHEAD_BYTES = 64 << 20;

/**
 * Kubos as an archive. What hangs on a record comes as one `dag/export` of what the first of them holds itself; only what is
 * missing there is asked for block by block, of the others and of their peers too. Those that do not answer are left out.
 * @throws DagpacsError `bad-setting`; `swarm-unavailable` where none answers
 */
export async function openKuboArchive(addresses: readonly string[], authorization?: string): Promise<Archive> {
  const places = addresses.map((address) => kuboAddress(apiUrl(address), authorization));
  const closing = new AbortController();
  const tuning = { ...SWARM_TUNING, getTimeoutMs: FETCH_MS };
  const tried = await Promise.allSettled(places.map((place) => connectKubo(place, tuning, closing.signal)));
  const at = tried.findIndex(({ status }) => status === 'fulfilled');
  const first = places[at];
  if (!first) throw unavailable('no Kubo answers', (tried[0] as PromiseRejectedResult | undefined)?.reason);
  const { url, headers } = first;
  const apis: KuboApi[] = tried.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  let stream: AsyncGenerator<{ cid: Cid; bytes: Uint8Array }> | undefined;
  let ahead = new Map<string, Uint8Array>();
  let aheadBytes = 0;

  async function post(path: string, signal: AbortSignal): Promise<Response> {
    return fetch(`${url.href}/${path}`, { method: 'POST', headers, signal: AbortSignal.any([signal, closing.signal]) });
  }

  async function* exported(root: Cid): AsyncGenerator<{ cid: Cid; bytes: Uint8Array }> {
    const response = await post(`dag/export?arg=${root}&progress=false&offline=true`, AbortSignal.timeout(600_000));
    if (response.ok && response.body) yield* sectionsOf(response.body);
    else await response.body?.cancel();
  }

  /** Takes a block out of the export; undefined where it does not come there. */
  async function fromStream(cid: Cid): Promise<Uint8Array | undefined> {
    const name = cid.toString();
    for (;;) {
      const held = ahead.get(name);
      if (held) {
        ahead.delete(name);
        aheadBytes -= held.length;
        return held;
      }
      if (!stream || aheadBytes > MAX_AHEAD_BYTES) return undefined;
      let next: IteratorResult<{ cid: Cid; bytes: Uint8Array }>;
      try {
        next = await stream.next();
      } catch {
        // An export breaks off at a block that the node does not hold: the rest is asked for block by block.
        stream = undefined;
        continue;
      }
      if (next.done) stream = undefined;
      else if (next.value.cid.equals(cid)) return next.value.bytes;
      else {
        ahead.set(next.value.cid.toString(), next.value.bytes);
        aheadBytes += next.value.bytes.length;
      }
    }
  }

  return {
    follow(root) {
      void stream?.return(undefined).catch(() => undefined);
      stream = exported(root);
      ahead = new Map();
      aheadBytes = 0;
    },
    async get(cid) {
      const bytes = await fromStream(cid);
      if (bytes) return bytes;
      let failure: unknown;
      let answers = 0;
      for (const peers of [false, true]) {
        for (const api of apis) {
          try {
            const found = await api.get(cid, peers, closing.signal);
            if (found) return found;
            answers += 1;
          } catch (error) {
            // One that gives other bytes, or none in time, has it as little as one that says so.
            if (!isDagpacsError(error, 'swarm-unavailable')) throw error;
            failure = error;
          }
        }
      }
      if (answers > 0 || failure === undefined) return undefined;
      throw failure;
    },
    async pin(root) {
      const pinned: string[] = [];
      let failure: unknown;
      for (const api of apis) {
        try {
          await api.pin(root, true, closing.signal);
          pinned.push(api.node);
        } catch (error) {
          failure = error;
        }
      }
      if (pinned.length === 0) throw failure;
      return pinned;
    },
    async close() {
      await stream?.return(undefined).catch(() => undefined);
      closing.abort();
      for (const api of apis) api.close();
    },
  };
}

/** The blocks of a CARv1 stream. */
async function* sectionsOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<{ cid: Cid; bytes: Uint8Array }> {
  let buffer = Buffer.alloc(0);
  let at = 0;
  let inHeader = true;
  for await (const chunk of body) {
    buffer = Buffer.concat([buffer.subarray(at), chunk]);
    at = 0;
    if (inHeader) {
      const end = headerEnd(buffer);
      if (end === undefined || end > buffer.length) continue;
      at = end;
      inHeader = false;
    }
    for (;;) {
      const section = at < buffer.length ? parseSection(buffer, at) : undefined;
      if (!section || section.dataEnd > buffer.length) break;
      yield { cid: section.cid, bytes: buffer.subarray(section.dataStart, section.dataEnd) };
      at = section.next;
    }
  }
}

function headerEnd(buffer: Buffer): number | undefined {
  let length = 0;
  for (let i = 0; i < Math.min(buffer.length, 4); i++) {
    const byte = buffer[i] as number;
    length += (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return i + 1 + length;
  }
  return undefined;
}
