import { DicomdirWriter } from '../../dicom/dicomdir.ts';
import type { InstanceSource, Scope, Serve } from './served.ts';
import { headerOf } from './stored-image.ts';

/** A file of a file-set. */
export interface FileSetFile {
  /** Components of its File ID: folders, then the name. */
  fileID: readonly string[];
  size: number;
  modified: Date;
  bytes(): AsyncIterable<Uint8Array>;
}

/**
 * What is in scope as files for exchange media (PS3.10 §8): the DICOMDIR first, then every instance as it was received. All
 * of them are known before the first byte, and none is read before its turn. `uid` is that of the DICOMDIR.
 * Throws as the methods of {@link Serve}.
 */
export type MakeFileSet = (scope: Scope, uid: string) => Promise<FileSetFile[]>;

export interface FileSetModules {
  serve: Pick<Serve, 'instances'>;
  source: Pick<InstanceSource, 'describe'>;
}

/** Headers that are read before the event loop has its turn. */
const STRIDE = 64;

export function createFileSet({ serve, source }: FileSetModules): MakeFileSet {
  return async (scope, uid) => {
    const directory = new DicomdirWriter();
    const files: FileSetFile[] = [];
    let series = 0;
    let within = 0;
    let seriesInstanceUID = '';
    for (const instance of serve.instances(scope)) {
      if (instance.seriesInstanceUID !== seriesInstanceUID) {
        series += 1;
        within = 0;
      }
      ({ seriesInstanceUID } = instance);
      within += 1;
      const fileID = ['DICOM', numbered('SE', series), numbered('IM', within)];
      const header = headerOf(source.describe(instance).details);
      directory.add({ ...instance, fileID, header });
      const modified = new Date(instance.receivedAt);
      files.push({ fileID, size: instance.size, modified, bytes: () => instance.bytes() });
      if (files.length % STRIDE === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const dicomdir = directory.end(uid);
    const modified = new Date(files.reduce((latest, file) => Math.max(latest, file.modified.getTime()), 0));
    return [{ fileID: ['DICOMDIR'], size: dicomdir.length, modified, bytes: () => once(dicomdir) }, ...files];
  };
}

/** Eight characters, as a component of a File ID has at most. */
function numbered(prefix: string, number: number): string {
  return prefix + String(number).padStart(6, '0');
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
