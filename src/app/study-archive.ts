import { join } from 'node:path';
import { type CarFile, receiveCar } from '../adapters/blocks/car-file.ts';
import type { StudyArchive } from '../edges/http/modules.ts';
import type { Pushback } from '../flows/ingest/backlog.ts';
import type { CommitQueue } from '../flows/ingest/commit-queue.ts';
import { exportStudy } from '../flows/upkeep/car-export.ts';
import { type CarImport, importStudy } from '../flows/upkeep/car-import.ts';
import type { OneAtATime } from '../kernel/one-at-a-time.ts';
import type { BlockStore } from '../ports/blocks.ts';
import type { Index } from '../ports/index.ts';
import type { Vault } from '../ports/vault.ts';

export interface StudyArchiveModules {
  blocks: BlockStore;
  index: Index;
  vault: Vault;
  commits: CommitQueue;
  /** Held while a version is taken, whose blocks may lie here already. */
  turns: OneAtATime;
  /** Told after each version that is new. */
  onStored: () => void;
}

/** Where CAR files are taken in. */
export function incomingDirectory(dataDir: string): string {
  return join(dataDir, 'incoming');
}

/** Studies out of and into a data directory, as CAR files. */
export function studyArchive(dataDir: string, modules: StudyArchiveModules & { pushback: Pushback }): StudyArchive {
  return {
    exportStudy: (studyInstanceUID) => exportStudy(studyInstanceUID, modules),
    importCar: async function* (bytes) {
      const busy = modules.pushback.begin();
      if (busy) throw busy;
      const taken = whileThereIsRoom(bytes, modules.pushback);
      yield* importFile(await receiveCar(incomingDirectory(dataDir), taken), modules);
    },
  };
}

/** Imports an opened CAR file, and closes it. */
export async function* importFile(archive: CarFile, modules: StudyArchiveModules): AsyncGenerator<CarImport, void> {
  const { commits, onStored } = modules;
  try {
    yield* importStudy(archive.roots[0], {
      ...modules,
      archive,
      async addVersion(node, addition) {
        await commits.version(node, Promise.resolve(), addition);
        onStored();
      },
    });
  } finally {
    await archive.close();
  }
}

/** @throws DagpacsError `pushback` where the next bytes would take of the disk's head room */
async function* whileThereIsRoom(
  bytes: AsyncIterable<Uint8Array>,
  { take }: Pushback,
): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of bytes) {
    const full = take(chunk.byteLength);
    if (full) throw full;
    yield chunk;
  }
}
