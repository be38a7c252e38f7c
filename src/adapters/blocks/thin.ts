import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { carHeader, sectionHead } from '../../ipld/car.ts';
import { type Cid, cidOf, RAW } from '../../ipld/cid.ts';
import type { Location, Locations } from './locations.ts';
import { packPath, readExactly, syncDirectory, walkSections, writeAll } from './pack-file.ts';

/** Bytes that are gathered before they are written. */
const WRITE_BYTES = 4 << 20;

/** A block that the store itself puts into a pack. */
interface Mark {
  cid: Cid;
  bytes: Buffer;
}

/** Stands where blocks were dropped or left out that the swarm has: what is missing can be told from what was never whole. */
export const DROPPED = markOf('blocks of this pack were dropped: they are in the swarm\n');
/** Stands where only blocks were dropped to which nothing leads: what is missing was lost. */
export const COMPACTED = markOf('blocks of this pack were dropped: nothing leads to them\n');

export function isMark(cid: Cid): boolean {
  return cid.equals(DROPPED.cid) || cid.equals(COMPACTED.cid);
}

function markOf(text: string): Mark {
  const bytes = Buffer.from(text);
  return { cid: cidOf(RAW, bytes), bytes };
}

/** Whether a pack was written anew, so that positions in it that were noted before are of no use. */
export async function isRewritten(file: FileHandle, size: number): Promise<boolean> {
  for await (const { cid } of walkSections(file, 0, size)) return isMark(cid);
  return false;
}

function thinPath(directory: string, pack: number): string {
  return `${packPath(directory, pack)}.thin`;
}

/** A pack's new file, not yet in its place. */
export interface ThinPack {
  file: FileHandle;
  kept: { cid: Cid; location: Location }[];
  dropped: Cid[];
  /** Bytes of the old file and of the new one. */
  before: number;
  after: number;
}

/**
 * Writes what is left of a closed pack without the blocks that `drop` names; undefined where it names none. Copies of a
 * block that lie elsewhere (`find` says so) are left out too, and so is what is no section.
 */
export async function writeThinPack(
  directory: string,
  pack: number,
  { drop, find, mark }: { drop(cid: Cid): boolean; find(cid: Cid): Location | undefined; mark: Mark },
): Promise<ThinPack | undefined> {
  const source = await open(packPath(directory, pack), 'r');
  try {
    const { size } = await source.stat();
    const dropped: Cid[] = [];
    let marked = mark;
    let end = 0;
    for await (const { cid, dataEnd } of walkSections(source, 0, size)) {
      if (cid.equals(DROPPED.cid)) marked = DROPPED;
      else if (!isMark(cid) && drop(cid)) dropped.push(cid);
      end = dataEnd;
    }
    // What follows damage would be lost.
    if (end !== size) throw new Error('the pack is damaged');
    if (dropped.length === 0) return undefined;
    const gone = new Set(dropped.map(String));
    const file = await open(thinPath(directory, pack), 'w+', 0o600);
    try {
      const out = new Appender(file);
      const { length } = marked.bytes;
      await out.add(Buffer.concat([carHeader(), sectionHead(marked.cid, length), marked.bytes]));
      const kept: ThinPack['kept'] = [{ cid: marked.cid, location: { pack, offset: out.end - length, length } }];
      for await (const { cid, dataStart, dataEnd } of walkSections(source, 0, size)) {
        const place = find(cid);
        if (isMark(cid) || gone.has(cid.toString())) continue;
        if (place?.pack !== pack || place.offset !== dataStart) continue;
        const length = dataEnd - dataStart;
        const head = sectionHead(cid, length);
        kept.push({ cid, location: { pack, offset: out.end + head.length, length } });
        await out.add(head);
        await out.add(await readExactly(source, dataStart, length));
      }
      await out.flush();
      await file.sync();
      await syncDirectory(directory);
      return { file, kept, dropped, before: size, after: out.end };
    } catch (error) {
      await file.close();
      await rm(thinPath(directory, pack), { force: true });
      throw error;
    }
  } finally {
    await source.close();
  }
}

/** Puts a pack's new file in its place. */
export async function placeThinPack(directory: string, pack: number, locations: Locations): Promise<void> {
  await rename(thinPath(directory, pack), packPath(directory, pack));
  await syncDirectory(directory);
  locations.packReplaced(pack);
}

/** Ends what a crash broke off: a new file that counts is put in its place, any other is deleted. */
export async function settleThinPacks(directory: string, names: string[], locations: Locations): Promise<void> {
  const counted = new Set(locations.replacedPacks());
  for (const name of names) {
    const digits = /^pack-(\d{6,})\.car\.thin$/.exec(name)?.[1];
    if (digits === undefined) continue;
    if (counted.has(Number(digits))) await placeThinPack(directory, Number(digits), locations);
    else await rm(thinPath(directory, Number(digits)), { force: true });
    counted.delete(Number(digits));
  }
  for (const pack of counted) locations.packReplaced(pack);
}

class Appender {
  readonly #file: FileHandle;
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  end = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async add(bytes: Uint8Array): Promise<void> {
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
    this.end += bytes.length;
    if (this.#bytes >= WRITE_BYTES) await this.flush();
  }

  async flush(): Promise<void> {
    await writeAll(this.#file, this.#waiting, this.end - this.#bytes);
    this.#waiting = [];
    this.#bytes = 0;
  }
}
