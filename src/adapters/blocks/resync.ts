import type { FileHandle } from 'node:fs/promises';
import { carHeader } from '../../ipld/car.ts';
import { DAG_CBOR, DAG_PB, matchesCid, RAW } from '../../ipld/cid.ts';
import { readExactly, walkSections } from './pack-file.ts';

/** Bytes looked through at once. */
const WINDOW_BYTES = 1024 * 1024;
/** CIDv1, any of our codecs, SHA-256 of 32 bytes: what stands after a section's length. */
const HASH_CODE = Buffer.from([0x12, 0x20]);
const CODECS = [RAW, DAG_PB, DAG_CBOR];
/** Before the hash code stand the CID's version and codec, and before these a length of 1 to 4 bytes. */
const CID_HEAD = 2;
const LENGTH_BYTES = [1, 2, 3, 4];

/**
 * Finds the next section whose bytes are the block that it names, at or after `from`, behind bytes that are no section. The
 * hash decides, so that ciphertext is not taken for a section.
 * @returns its offset, or undefined where there is none up to `end`
 */
export async function findSection(file: FileHandle, from: number, end: number): Promise<number | undefined> {
  const overlap = CID_HEAD + HASH_CODE.length + Math.max(...LENGTH_BYTES);
  for (let at = Math.max(from, carHeader().length); at < end; at += WINDOW_BYTES) {
    const window = await readExactly(file, at, Math.min(WINDOW_BYTES + overlap, end - at));
    for (let hit = window.indexOf(HASH_CODE); hit !== -1; hit = window.indexOf(HASH_CODE, hit + 1)) {
      if (hit < CID_HEAD || window[hit - CID_HEAD] !== 1 || !CODECS.includes(window[hit - 1] as number)) continue;
      for (const lengthBytes of LENGTH_BYTES) {
        const start = at + hit - CID_HEAD - lengthBytes;
        if (start >= from && (await isSection(file, start, end))) return start;
      }
    }
  }
  return undefined;
}

async function isSection(file: FileHandle, start: number, end: number): Promise<boolean> {
  for await (const section of walkSections(file, start, end)) return matchesCid(section.cid, await section.data());
  return false;
}
