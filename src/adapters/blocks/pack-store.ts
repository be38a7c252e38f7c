import { existsSync, renameSync, statfsSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { mkdir, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { sectionHead } from '../../ipld/car.ts';
import { type Cid, matchesCid, RAW } from '../../ipld/cid.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import { oneAtATime } from '../../kernel/one-at-a-time.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import { Locations } from './locations.ts';
import type { BlockStoreOptions } from './options.ts';
import { createPack, listBlocks, listPacks, openPack, PackEnds, packPath, readExactly, writeAll } from './pack-file.ts';
import { PackWriter, storageFailed } from './pack-writer.ts';
import { recover, replay } from './recover.ts';
import { COMPACTED, DROPPED, isMark, placeThinPack, settleThinPacks, writeThinPack } from './thin.ts';

/** Packs kept open for reading. */
const OPEN_PACKS = 64;

/**
 * Opens the block store: append-only packs, each a CARv1 file that any IPFS tool reads, and the derived database of
 * where each block lies. A torn tail is cut, and what the database does not know yet is read from the packs.
 * @throws DagpacsError `storage-failed`
 */
export async function openPackStore(options: BlockStoreOptions): Promise<BlockStore> {
  const { directory, log } = options;
  try {
    return await openPacks(options);
  } catch (error) {
    log.error('block-store-not-opened', { reason: (error as Error).message });
    throw error instanceof DagpacsError ? error : storageFailed(`open ${directory}`, error);
  }
}

async function nextPack(directory: string, pack: number) {
  return { pack, ...(await createPack(directory, pack)) };
}

/** The database is derived: one that cannot be used is set aside, and the packs are read again. */
function openLocations(path: string, log: Log): Locations {
  try {
    return new Locations(path, log);
  } catch (error) {
    log.warn('block-locations-set-aside', { reason: (error as Error).message });
    for (const suffix of ['', '-wal', '-shm']) {
      if (existsSync(path + suffix)) renameSync(path + suffix, `${path}${suffix}.old`);
    }
    return new Locations(path, log);
  }
}

async function openPacks(options: BlockStoreOptions): Promise<BlockStore> {
  const { directory, log } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const locations = openLocations(join(directory, 'locations.sqlite'), log);
  await settleThinPacks(directory, await readdir(directory), locations);
  const found = await recover(directory, locations, log);
  const current = found?.intact
    ? { pack: found.pack, ...(await openPack(directory, found.pack, found.end)) }
    : await nextPack(directory, Math.max(found?.pack ?? 0, locations.cursor.pack) + 1);
  // All before it is known, so that the one before is a closed one.
  locations.settle({ pack: current.pack, offset: current.end });

  let packBytes = 0;
  for (const pack of await listPacks(directory)) {
    if (pack !== current.pack) packBytes += (await stat(packPath(directory, pack))).size;
  }
  const files = new Map<number, Promise<FileHandle>>([[current.pack, Promise.resolve(current.file)]]);
  const writer = new PackWriter(options, locations, current, (pack, file) => {
    files.set(pack, Promise.resolve(file));
    packBytes += options.packBytes;
  });

  function fileOf(pack: number): Promise<FileHandle> {
    const held = files.get(pack);
    if (held) return held;
    for (const [old, file] of files) {
      if (files.size < OPEN_PACKS || old === writer.position.pack) break;
      files.delete(old);
      // A read that began keeps its descriptor: close() waits for it.
      void file.then((handle) => handle.close()).catch((error) => log.warn('pack-not-closed', { reason: error.code }));
    }
    const file = open(packPath(directory, pack), 'r');
    files.set(pack, file);
    file.catch(() => files.delete(pack));
    return file;
  }

  async function read(cid: Cid, start = 0, stop?: number, target?: Buffer): Promise<Uint8Array> {
    const place = locations.find(cid);
    if (!place) throw new DagpacsError('block-missing', 'a block is not in the local store');
    const last = Math.min(stop ?? place.length, place.length);
    try {
      return await readExactly(await fileOf(place.pack), place.offset + start, Math.max(0, last - start), target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        throw new DagpacsError('block-missing', 'a pack is gone from the local store', {}, { cause: error });
      }
      // What the disk does not give any more may be had from the swarm, like what it gives wrongly.
      if (error instanceof PackEnds || (error as NodeJS.ErrnoException).code === 'EIO') {
        throw new DagpacsError('block-damaged', 'a block cannot be read from the disk', {}, { cause: error });
      }
      throw storageFailed('read a block', error);
    }
  }

  /** What the store itself put into a pack is nobody's block. */
  async function* list(pack: number, whole?: 'whole'): AsyncIterable<{ cid: Cid; size: number }> {
    const end = () => (pack === writer.position.pack ? writer.position.offset : undefined);
    for await (const block of listBlocks(directory, pack, end, whole !== undefined))
      if (!isMark(block.cid)) yield block;
  }

  const exclusive = oneAtATime();

  /** Writes the section where it lies, so that the pack is what it was; false where it does not lie anywhere any more. */
  async function restoreInPlace(cid: Cid, bytes: Uint8Array): Promise<boolean> {
    const place = locations.find(cid);
    if (!place || place.length !== bytes.length) return false;
    let file: FileHandle;
    try {
      file = await open(packPath(directory, place.pack), 'r+');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
    try {
      if ((await file.stat()).size < place.offset + place.length) return false;
      const head = sectionHead(cid, bytes.length);
      await writeAll(file, [head, bytes], place.offset - head.length);
      await file.datasync();
      return true;
    } finally {
      await file.close();
    }
  }

  async function thin(pack: number, drop: (cid: Cid) => boolean, mark = DROPPED): Promise<number> {
    const written = await writeThinPack(directory, pack, { drop, find: (cid) => locations.find(cid), mark });
    if (!written) return 0;
    const { file, kept, dropped, before, after } = written;
    const old = files.get(pack);
    // In one turn, so that every reader has a place and a file that belong together.
    locations.replacePack(pack, kept, dropped);
    files.set(pack, Promise.resolve(file));
    packBytes -= before - after;
    await placeThinPack(directory, pack, locations);
    await (await old)?.close();
    return before - after;
  }

  async function attempt<T>(what: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw error instanceof DagpacsError ? error : storageFailed(what, error);
    }
  }

  return {
    append: (cid, parts) => writer.append(cid, parts),
    commit: () => writer.commit(),
    position: () => writer.position,
    has: (cid) => locations.find(cid) !== undefined,
    read,
    async mend(cid) {
      const bytes = await read(cid);
      if (matchesCid(cid, bytes)) return bytes;
      throw new DagpacsError('block-damaged', 'a block is damaged');
    },
    restore: (cid, bytes, only) =>
      exclusive(() =>
        attempt('restore a block', async () => {
          if (await restoreInPlace(cid, bytes)) return;
          await writer.append(cid, [bytes]);
          if (cid.code === RAW && only === undefined) locations.noteFetched(cid);
        }),
      ),
    async closedPacks() {
      const closed = Math.min(writer.position.pack, locations.cursor.pack);
      const packs = (await listPacks(directory)).filter((pack) => pack < closed);
      return Promise.all(packs.map(async (pack) => ({ pack, bytes: (await stat(packPath(directory, pack))).size })));
    },
    list,
    closePack: () => attempt('begin a pack', () => writer.turnOver()),
    thin: (pack, drop) => exclusive(() => attempt('thin a pack', () => thin(pack, drop))),
    compact: (pack, drop) => exclusive(() => attempt('compact a pack', () => thin(pack, drop, COMPACTED))),
    wasFetched: (cid) => locations.wasFetched(cid),
    thinned: () => locations.find(DROPPED.cid) !== undefined,
    async leaveOut() {
      if (!locations.find(DROPPED.cid)) await writer.append(DROPPED.cid, [DROPPED.bytes]);
    },
    replay: (from, to) => replay(directory, from, to),
    usage() {
      const { bavail, bsize } = statfsSync(directory);
      const bytes = packBytes + writer.position.offset;
      return { packs: writer.position.pack, blocks: locations.blocks, bytes, free: bavail * bsize };
    },
    async close() {
      await writer.close();
      locations.close();
      for (const file of files.values()) await (await file).close();
    },
  };
}
