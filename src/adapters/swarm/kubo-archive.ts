import { parseSection } from '../../ipld/car.ts';
import type { Cid } from '../../ipld/cid.ts';
import type { Archive } from '../../ports/archive.ts';
import { apiUrl, splitCredentials } from './api-address.ts';
import { connectKubo, type KuboApi } from './kubo-api.ts';
import { SWARM_TUNING } from './options.ts';
import { unavailable } from './unavailable.ts';

/** For a block that the node does not hold itself: peers may. */
const FETCH_MS = 5000;
/** Blocks of an export that came before they were asked for. */
const MAX_AHEAD_BYTES = 64 << 20;

/**
 * A Kubo as an archive. What hangs on a record comes as one `dag/export` of what the node holds itself; only what is missing
 * there is asked for block by block, of its peers too.
 * @throws DagpacsError `bad-setting`, `swarm-unavailable`
 */
export async function openKuboArchive(address: string): Promise<Archive> {
  const base = apiUrl(address);
  const closing = new AbortController();
  const api: KuboApi = await connectKubo(base, SWARM_TUNING, closing.signal);
  const { url, headers } = splitCredentials(base);
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
      try {
        const response = await post(`block/get?arg=${cid}`, AbortSignal.timeout(FETCH_MS));
        if (response.ok) return new Uint8Array(await response.arrayBuffer());
        await response.body?.cancel();
        return undefined;
      } catch (error) {
        // In time means: neither the node nor its peers have it.
        if ((error as Error).name === 'TimeoutError') return undefined;
        throw unavailable('a block could not be fetched', error);
      }
    },
    pin: (root) => api.pin(root, closing.signal),
    async close() {
      await stream?.return(undefined).catch(() => undefined);
      closing.abort();
      api.close();
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
