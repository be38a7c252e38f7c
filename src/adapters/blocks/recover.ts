import { open, stat, truncate } from 'node:fs/promises';
import { DAG_CBOR, matchesCid } from '../../ipld/cid.ts';
import type { Log } from '../../kernel/log.ts';
import type { Block, Position } from '../../ports/blocks.ts';
import type { Locations } from './locations.ts';
import { listPacks, packPath, walkSections } from './pack-file.ts';

/**
 * Brings the locations up to date with the packs after a start, and cuts a torn tail: what follows the last whole block of
 * the last pack. Only there are blocks hashed: a crash cannot tear a pack that was synced when the next one was begun, and
 * every reader authenticates what it reads.
 */
export async function recover(directory: string, locations: Locations, log: Log): Promise<Position | undefined> {
  const packs = await listPacks(directory);
  const last = packs.at(-1);
  const { cursor } = locations;
  for (const pack of packs) {
    if (pack < cursor.pack) continue;
    const from = pack === cursor.pack ? cursor.offset : 0;
    const end = await recoverPack(directory, { pack, from, maybeTorn: pack === last }, locations);
    const { size } = await stat(packPath(directory, pack));
    if (end < size) {
      log.warn(pack === last ? 'torn-pack-tail-cut' : 'damaged-pack', { pack, bytes: size - end });
      if (pack === last) await truncate(packPath(directory, pack), end);
    }
    locations.settle({ pack, offset: end });
    locations.flush();
    if (pack === last) return { pack, offset: end };
  }
  return undefined;
}

async function recoverPack(
  directory: string,
  { pack, from, maybeTorn }: { pack: number; from: number; maybeTorn: boolean },
  locations: Locations,
): Promise<number> {
  const file = await open(packPath(directory, pack), 'r');
  try {
    const { size } = await file.stat();
    let end = from;
    for await (const section of walkSections(file, from, size)) {
      if (maybeTorn && !matchesCid(section.cid, await section.data())) break;
      const { cid, dataStart, dataEnd } = section;
      locations.add(cid, { pack, offset: dataStart, length: dataEnd - dataStart });
      end = dataEnd;
    }
    return end;
  } finally {
    await file.close();
  }
}

/** The dag-cbor blocks after `from` and up to `to`, in order. */
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
      for await (const section of walkSections(file, pack === from.pack ? from.offset : 0, end)) {
        if (section.cid.code !== DAG_CBOR) continue;
        const bytes = Buffer.from(await section.data());
        // A damaged node is passed over here and reported by whoever misses it.
        if (!matchesCid(section.cid, bytes)) continue;
        yield { cid: section.cid, bytes, next: { pack, offset: section.dataEnd } };
      }
    } finally {
      await file.close();
    }
  }
}
