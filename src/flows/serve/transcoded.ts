import type { InstanceUIDs } from '../../ports/index.ts';

/** Bytes on their way out that are made as they are sent. */
export interface TranscodedPart {
  /** Undefined where it shows only when they are made. */
  size: number | undefined;
  transferSyntaxUID: string;
  /** `[start, end)` of them only where the size is known. */
  bytes(start?: number, end?: number): AsyncIterable<Uint8Array>;
}

/**
 * Instances and frames in another transfer syntax than the stored one; for those who can take the stored one it is never
 * used. Every method throws DagpacsError `not-found`, `undecodable`, `block-missing`, `block-damaged`, `pushback`.
 */
export interface Transcode {
  /** Transfer syntaxes that an instance can be given in, beside the stored one; the plainest first. */
  instanceSyntaxes(instance: InstanceUIDs): string[];
  /** A whole Part 10 file. */
  instance(instance: InstanceUIDs, transferSyntaxUID: string): Promise<TranscodedPart>;
  /** Transfer syntaxes that its data set can be sent in by C-STORE, beside the stored one: native ones first. */
  datasetSyntaxes(instance: InstanceUIDs): string[];
  /** The data set alone, as C-STORE carries it. */
  dataset(instance: InstanceUIDs, transferSyntaxUID: string): Promise<AsyncIterable<Uint8Array>>;
  /** Transfer syntaxes that its frames can be given in, beside the one they are stored in; the plainest first. */
  frameSyntaxes(instance: InstanceUIDs): string[];
  /** Frames by 1-based number, in the order asked. `invalid-parameter` where one is out of range. */
  frames(instance: InstanceUIDs, numbers: number[], transferSyntaxUID: string): Promise<TranscodedPart[]>;
}
