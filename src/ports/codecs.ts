import type { PixelLayout } from '../dicom/pixels.ts';
import type { Rendering } from '../dicom/rendering.ts';

/** A frame in its transfer syntax. */
export interface CodedFrame {
  transferSyntaxUID: string;
  bytes: Uint8Array;
  /** As the instance's header says. */
  layout: PixelLayout;
  /** Samples are floating-point numbers (Float or Double Float Pixel Data). */
  float?: boolean;
}

/**
 * What is computed on pixels, off the main thread. Every method takes over the bytes it is given, which must not be used
 * afterwards, and throws DagpacsError `undecodable`, or `pushback` where too much waits already.
 */
export interface Codecs {
  /** Memory for the bytes of a frame, which may have been another's: every one of them is to be written. */
  memory(size: number): Uint8Array;
  /** Native little-endian samples in `decodedLayout` of the frame's. */
  decode(frame: CodedFrame): Promise<Uint8Array>;
  /** `frame` in `transferSyntaxUID`, in `encodedLayout` of its decoded layout. What comes out was decoded and compared. */
  transcode(frame: CodedFrame, transferSyntaxUID: string): Promise<Uint8Array>;
  /** Frames as one image in a consumer format; several with a format that moves (GIF). */
  render(frames: CodedFrame[], rendering: Rendering): Promise<Uint8Array>;
  close(): Promise<void>;
}
