import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { carHeader, sectionHead } from '../../ipld/car.ts';
import { type Cid, cidOf, RAW } from '../../ipld/cid.ts';
import type { Location, Locations } from './locations.ts';
import { packPath, readExactly, syncDirectory, walkSections, writeAll } from './pack-file.ts';

/** Bytes that are gathered before they are written. */
const WRITE_BYTES = 4 << 20;

export const MARK_BYTES = Buffer.from('blocks of this pack were dropped: they are in the swarm\n');
/** The first block of every thinned pack, and of what was left out: what is missing can be told from what was never whole. */
export const MARK: Cid = cidOf(RAW, MARK_BYTES);

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
  drop: (cid: Cid) => boolean,
  find: (cid: Cid) => Location | undefined,
): Promise<ThinPack | undefined> {
  const source = await open(packPath(directory, pack), 'r');
  try {
    const { size } = await source.stat();
    const dropped: Cid[] = [];
    let end = 0;
    for await (const { cid, dataEnd } of walkSections(source, 0, size)) {
      if (drop(cid)) dropped.push(cid);
      end = dataEnd;
    }
    // What follows damage would be lost.
    if (end !== size) throw new Error('the pack is damaged');
    if (dropped.length === 0) return undefined;
    const gone = new Set(dropped.map(String));
    const file = await open(thinPath(directory, pack), 'w+', 0o600);
    try {
      const out = new Appender(file);
      const markHead = sectionHead(MARK, MARK_BYTES.length);
      await out.add(Buffer.concat([carHeader(), markHead, MARK_BYTES]));
      const offset = out.end - MARK_BYTES.length;
      const kept: ThinPack['kept'] = [{ cid: MARK, location: { pack, offset, length: MARK_BYTES.length } }];
      for await (const { cid, dataStart, dataEnd } of walkSections(source, 0, size)) {
        const place = find(cid);
        if (cid.equals(MARK) || gone.has(cid.toString()) || place?.pack !== pack || place.offset !== dataStart)
          continue;
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
