import type { Viewport } from '../../dicom/render-parameters.ts';
import type { ImageFormat, ProfileName, VoiTransform } from '../../dicom/rendering.ts';
import type { InstanceUIDs } from '../../ports/index.ts';
import type { Scope, ServedPart } from './served.ts';

/** How an image is asked for (PS3.18 §8.3.5). */
export interface RenderParameters {
  format: ImageFormat;
  quality?: number;
  viewport?: Viewport;
  window?: VoiTransform;
  /** Undefined: no ICC profile in the image. */
  profile?: ProfileName;
  /** False: never larger than the frame itself. */
  enlarge?: boolean;
}

/** What of an instance can be rendered. */
export interface Renderable {
  instance: InstanceUIDs;
  /** Frames. */
  count: number;
  /** The frame that stands for the instance (PS3.3 C.7.6.6), else the one in the middle. */
  representative: number;
}

/** A document or a video inside an instance. */
export interface StoredDocument {
  /** Media type. */
  type: string;
  part: ServedPart;
}

/** Images in consumer formats. Methods throw DagpacsError `not-found`, `undecodable`, `block-missing`, `block-damaged`, `pushback`. */
export interface Render {
  /** The instances in scope that can be rendered, in their order; at least one. `undecodable` where there is none. */
  renderable(scope: Scope): Renderable[];
  /** The one that stands for all in scope: in the middle, or next to it. `undecodable` where there is none. */
  representative(scope: Scope): Renderable;
  /** What is a document or a video as it is stored (PS3.18 §8.7.4), and needs no rendering. */
  document(instance: InstanceUIDs): Promise<StoredDocument | undefined>;
  /** Frame `number` of an instance as an image. `invalid-parameter` where the number or the viewport is outside. */
  image(instance: InstanceUIDs, number: number, parameters: RenderParameters): Promise<Uint8Array>;
  /** Frames `numbers` of an instance as one image that moves, made a few at a time. Errors as of {@link image}. */
  moving(instance: InstanceUIDs, numbers: number[], parameters: RenderParameters): AsyncIterable<Uint8Array>;
}
