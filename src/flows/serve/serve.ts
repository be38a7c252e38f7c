import { randomUUID } from 'node:crypto';
import { DagpacsError } from '../../kernel/errors.ts';
import type { BlockStore } from '../../ports/blocks.ts';
import type { Index, InstanceUIDs, Version } from '../../ports/index.ts';
import type { Vault } from '../../ports/vault.ts';
import { openSealed } from '../objects/sealed-object.ts';
import { type DataStream, dataStreamOf } from './data-stream.ts';
import { MetadataBodies } from './metadata.ts';
import { bulkPart, frameParts } from './parts.ts';
import type { InstanceSource, Scope, Serve, ServedInstance } from './served.ts';
import { frameCount, pixelVrOf } from './stored-image.ts';

export interface ServeModules {
  blocks: BlockStore;
  vault: Vault;
  index: Index;
}

const INDEX_NAME = 'index-name';
const PIXEL_DATA = '7FE00010';
/** Objects kept open: a viewer asks for the frames of one series again and again. */
const OPEN_OBJECTS = 256;

/** The way out: index, then blocks, then open. Nothing is decoded and no object is held whole. */
export function createServe(modules: ServeModules): Serve & InstanceSource {
  const { index } = modules;
  const bodies = new MetadataBodies(index);
  const indexName = nameOf(index);
  const streams = new Map<string, Promise<DataStream>>();

  /** `all`: those that are served in one answer; `at`: the place of this one. */
  function served(version: Version, at?: number, all?: readonly Version[]): ServedInstance {
    return {
      ...version,
      async *bytes(start = 0, end = version.size) {
        const opener = await openSealed(version, modules, all, at);
        yield* opener.range(start, end);
      },
    };
  }

  function current({ studyInstanceUID, seriesInstanceUID, sopInstanceUID }: InstanceUIDs): Version {
    const version = index.version(sopInstanceUID);
    const inScope = version?.studyInstanceUID === studyInstanceUID && version.seriesInstanceUID === seriesInstanceUID;
    if (!version || !inScope) throw notFound();
    return version;
  }

  function expect({ studyInstanceUID, seriesInstanceUID, sopInstanceUID }: Scope): void {
    if (seriesInstanceUID !== undefined && sopInstanceUID !== undefined) {
      current({ studyInstanceUID, seriesInstanceUID, sopInstanceUID });
    } else if (index.revision(studyInstanceUID, seriesInstanceUID) === 0) {
      throw notFound();
    }
  }

  function streamOf(version: Version): Promise<DataStream> {
    const key = version.node.toString();
    let stream = streams.get(key);
    if (!stream) {
      stream = openSealed(version, modules).then((opener) => dataStreamOf(opener, version));
      if (streams.size >= OPEN_OBJECTS) streams.delete(streams.keys().next().value as string);
      streams.set(key, stream);
      stream.catch(() => streams.delete(key));
    }
    return stream;
  }

  return {
    instances(scope: Scope) {
      const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = scope;
      if (seriesInstanceUID !== undefined && sopInstanceUID !== undefined) {
        return [served(current({ studyInstanceUID, seriesInstanceUID, sopInstanceUID }))];
      }
      const versions = index.instances(studyInstanceUID, seriesInstanceUID);
      if (versions.length === 0) throw notFound();
      return versions.map(served);
    },

    version(sopInstanceUID, n) {
      const version = index.version(sopInstanceUID, n);
      if (!version) throw notFound();
      return served(version);
    },

    async metadata(scope, base, encoding) {
      expect(scope);
      return encoding === 'identity' ? bodies.text(scope, base) : bodies.compressed(scope, base, encoding);
    },

    state(scope) {
      expect(scope);
      return `${indexName}-${index.revision(scope.studyInstanceUID, scope.seriesInstanceUID)}`;
    },

    headers(scope, base) {
      expect(scope);
      return bodies.documents(scope, base);
    },

    async frames(instance, numbers) {
      const version = current(instance);
      const { frames, bulk } = index.details(version);
      const { transferSyntaxUID } = version;
      const parts = frameParts(await streamOf(version), frames, transferSyntaxUID, pixelVrOf(frames, bulk), numbers);
      return parts.map((part) => Object.assign(part, { of: version }));
    },

    contents(instance) {
      const { frames, bulk } = index.details(current(instance));
      const pixels = frames.kind === 'native' && Object.hasOwn(bulk, frames.tag) ? frames.tag : undefined;
      const paths = Object.keys(bulk).filter((path) => frames.kind !== 'encapsulated' || path !== PIXEL_DATA);
      return { frames: frameCount(frames), bulk: paths, ...(pixels && { pixels }) };
    },

    describe(instance) {
      const version = current(instance);
      return { version, details: index.details(version) };
    },

    async open(instance) {
      const version = current(instance);
      return { version, details: index.details(version), stream: await streamOf(version) };
    },

    async bulkData(instance, path) {
      const version = current(instance);
      const { bulk } = index.details(version);
      const value = Object.hasOwn(bulk, path) ? bulk[path] : undefined;
      if (!value) throw notFound();
      const part = bulkPart(await streamOf(version), value, version.transferSyntaxUID, path);
      return Object.assign(part, { of: version });
    },
  };
}

/** Revisions are numbers of one index: one that was made anew counts anew. */
function nameOf(index: Index): string {
  const name = index.getValue(INDEX_NAME) ?? randomUUID();
  if (index.getValue(INDEX_NAME) !== name) index.setValue(INDEX_NAME, name);
  return name;
}

function notFound(): DagpacsError {
  return new DagpacsError('not-found', 'no such study, series, instance or value is held');
}
