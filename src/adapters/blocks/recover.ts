import { type FileHandle, open, truncate } from 'node:fs/promises';
import { carHeader } from '../../ipld/car.ts';
import { DAG_CBOR, matchesCid } from '../../ipld/cid.ts';
import type { Log } from '../../kernel/log.ts';
import type { Block, Position } from '../../ports/blocks.ts';
import type { Locations } from './locations.ts';
import { listPacks, packPath, walkSections } from './pack-file.ts';
import { findSection } from './resync.ts';
import { isRewritten } from './thin.ts';

/** The last pack as it was found. */
export interface Recovered {
  pack: number;
  /** Where its last section ends. */
  end: number;
  /** False where something was cut, damaged or missing: then nothing may be appended to it, see {@link recover}. */
  intact: boolean;
}

/** What became of one pack's bytes from a position on. */
interface Walked {
  end: number;
  size: number;
  /** Bytes in the middle that are no section, or not the block that their section names. */
  damaged: number;
}

/**
 * Brings the locations up to date with the packs after a start, and cuts a torn tail: what follows the last section of the
 * last pack. Damage in the middle, which a crash does not make, is passed over and reported, and nothing after it is lost.
 * Blocks are hashed in the last pack only: another was synced when the next one was begun, and every reader authenticates
 * what it reads.
 *
 * A pack that is not intact is not appended to: the position of what is appended is then above every position that anyone
 * has noted before.
 */
export async function recover(directory: string, locations: Locations, log: Log): Promise<Recovered | undefined> {
  const packs = await listPacks(directory);
  const last = packs.at(-1);
  const { cursor } = locations;
  for (const pack of packs) {
    if (pack < cursor.pack) continue;
    const from = Math.max(pack === cursor.pack ? cursor.offset : 0, carHeader().length);
    const { end, size, damaged } = await recoverPack(directory, { pack, from, hashed: pack === last }, locations);
    if (damaged > 0) log.error('damaged-pack', { pack, bytes: damaged });
    if (size < from) log.error('pack-cut-short', { pack, bytes: from - size });
    locations.settle({ pack, offset: Math.max(from, end) });
    locations.flush();
    if (pack !== last) {
      if (end < size) log.error('damaged-pack', { pack, bytes: size - end });
      continue;
    }
    if (end < size) {
      log.warn('torn-pack-tail-cut', { pack, bytes: size - end });
      await truncate(packPath(directory, pack), end);
    }
    return { pack, end, intact: end === size && size >= from && damaged === 0 };
  }
  return undefined;
}

async function recoverPack(
  directory: string,
  { pack, from, hashed }: { pack: number; from: number; hashed: boolean },
  locations: Locations,
): Promise<Walked> {
  const file = await open(packPath(directory, pack), 'r');
  try {
    const { size } = await file.stat();
    let damaged = 0;
    let end = Math.min(from, size);
    for (let start: number | undefined = from; start !== undefined; ) {
      const walked = await noteSections(file, { pack, start, size, hashed }, locations);
      damaged += walked.damaged;
      end = Math.max(end, walked.end);
      start = walked.end < size ? await findSection(file, walked.end + 1, size) : undefined;
      if (start !== undefined) damaged += start - walked.end;
    }
    return { end, size, damaged };
  } finally {
    await file.close();
  }
}

/** Notes the blocks of an unbroken row of sections; one whose bytes are not its block is not noted. */
async function noteSections(
  file: FileHandle,
  { pack, start, size, hashed }: { pack: number; start: number; size: number; hashed: boolean },
  locations: Locations,
): Promise<{ end: number; damaged: number }> {
  let end = Math.min(start, size);
  let damaged = 0;
  for await (const section of walkSections(file, start, size)) {
    const { cid, dataStart, dataEnd } = section;
    const length = dataEnd - dataStart;
    if (hashed && !matchesCid(cid, await section.data())) damaged += length;
    else locations.add(cid, { pack, offset: dataStart, length });
    end = dataEnd;
  }
  return { end, damaged };
}

/** The dag-cbor blocks between two positions, in order; all of a pack that was written anew since the first was noted. */
export async function* replay(
  directory: string,
  from: Position,
  to: Position,
): AsyncIterable<Block & { next: Position }> {
  for (const pack of await listPacks(directory)) {
    if (pack < from.pack || pack > to.pack) continue;
    const file = await open(packPath(directory, pack), 'r');
    try {
      const end = pack === to.pack ? to.offset : (await file.stat()).size;
      const isPlace = pack === from.pack && (pack === to.pack || !(await isRewritten(file, end)));
      let start: number | undefined = isPlace ? from.offset : 0;
      while (start !== undefined) {
        let reached: number = Math.max(start, carHeader().length);
        for await (const section of walkSections(file, start, end)) {
          reached = section.dataEnd;
          if (section.cid.code !== DAG_CBOR) continue;
          const bytes = Buffer.from(await section.data());
          // A damaged node is passed over here and reported by whoever misses it.
          if (matchesCid(section.cid, bytes)) yield { cid: section.cid, bytes, next: { pack, offset: reached } };
        }
        start = reached < end ? await findSection(file, reached + 1, end) : undefined;
      }
    } finally {
      await file.close();
    }
  }
}
