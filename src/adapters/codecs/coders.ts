import { JpegLs } from './emscripten.ts';
import { NativeCodecs } from './native.ts';

/** The coders of one thread. */
export interface Coders {
  native: NativeCodecs;
  jpegLs: JpegLs;
}

export function makeCoders(): Coders {
  return { native: new NativeCodecs(), jpegLs: new JpegLs() };
}
