import type { DicomJson } from '../../dicom/model.ts';
import type { InstanceUIDs } from '../../ports/index.ts';
import type { OpenedInstance } from './stored-image.ts';

/** What a retrieval is about. */
export interface Scope {
  studyInstanceUID: string;
  seriesInstanceUID?: string;
  sopInstanceUID?: string;
}

/** One instance on its way out. */
export interface ServedInstance extends InstanceUIDs {
  sopClassUID: string;
  transferSyntaxUID: string;
  /** Bytes of the whole Part 10 file. */
  size: number;
  /** Offset of the first byte after the file meta information: from there on, what C-STORE carries. */
  datasetOffset: number;
  sha256: Uint8Array;
  receivedAt: string;
  /** The received bytes, or `[start, end)` of them. Authenticated before they are yielded. */
  bytes(start?: number, end?: number): AsyncIterable<Uint8Array>;
}

/** One frame or bulk value on its way out. Native pixels and big-endian values leave as little-endian (PS3.18 §8.7.3). */
export interface ServedPart {
  size: number;
  /** Transfer syntax of the bytes: the stored one for encapsulated frames, else Explicit VR Little Endian. */
  transferSyntaxUID: string;
  bytes(start?: number, end?: number): AsyncIterable<Uint8Array>;
}

/** A part, and the version of the instance that it is of. */
export interface ServedValue extends ServedPart {
  of: Pick<ServedInstance, 'sha256' | 'receivedAt'>;
}

/** What of an instance lies outside its metadata. */
export interface Contents {
  /** Frames that are located. */
  frames: number;
  /** Bulk values, each by the last part of its BulkDataURI; native pixels are among them, what encloses located frames is not. */
  bulk: string[];
  /** The name of native pixels among them. */
  pixels?: string;
}

/** Content codings that metadata are kept in. */
export type MetadataCoding = 'zstd' | 'gzip' | 'br';

/** What the read edges ask of the bridge; every method throws DagpacsError `not-found`, `block-missing`, `block-damaged`. */
export interface Serve {
  /** Current instances in scope, in their order; at least one. */
  instances(scope: Scope): ServedInstance[];
  /** Version `n` (1-based) of an instance. */
  version(sopInstanceUID: string, n: number): ServedInstance;
  /**
   * The instances' metadata as one DICOM JSON array, every BulkDataURI absolute under `base` (which ends in `/dicom-web`).
   * As one compressed body or as chunks of text.
   */
  metadata(scope: Scope, base: string, encoding: MetadataCoding | 'identity'): Promise<Uint8Array | Uint8Array[]>;
  /** A name for the state of the metadata in scope: it changes with them. */
  state(scope: Scope): string;
  /** The same, each instance by itself, read one after the other. */
  headers(scope: Scope, base: string): Iterable<DicomJson>;
  /** Frames by 1-based number, in the order asked. `invalid-parameter` where one is out of range. */
  frames(instance: InstanceUIDs, numbers: number[]): Promise<ServedValue[]>;
  contents(instance: InstanceUIDs): Contents;
  /** The value that a BulkDataURI's last part (`7FE00010`, `00400275/1/00091010`) names. */
  bulkData(instance: InstanceUIDs, path: string): Promise<ServedValue>;
}

/** What is made from instances asks for them here. Methods throw as those of {@link Serve}. */
export interface InstanceSource {
  /** What is known of an instance, without a look at its bytes. */
  describe(instance: InstanceUIDs): Omit<OpenedInstance, 'stream'>;
  /** Opens an instance, for what is made from it. */
  open(instance: InstanceUIDs): Promise<OpenedInstance>;
}
