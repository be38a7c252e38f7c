import { randomBytes } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Milliseconds in which the disk alone takes `count` appends of `size` bytes with a sync after each: less time no archive can
 * take that answers one sender only for what a power cut cannot take back.
 */
export async function timeDisk(folder: string, count: number, size: number): Promise<number> {
  const path = join(folder, 'disk');
  const file = await open(path, 'wx');
  const bytes = randomBytes(size);
  const started = performance.now();
  for (let i = 0; i < count; i++) {
    await file.write(bytes, 0, size, i * size);
    await file.datasync();
  }
  const taken = performance.now() - started;
  await file.close();
  await rm(path);
  return taken;
}
