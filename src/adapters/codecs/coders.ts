import { Jpeg, JpegLs } from './emscripten.ts';
import { NativeCodecs } from './native.ts';

/** The coders of one thread. */
export interface Coders {
  native: NativeCodecs;
  jpegLs: JpegLs;
  jpeg: Jpeg;
}

export function makeCoders(): Coders {
  return { native: new NativeCodecs(), jpegLs: new JpegLs(), jpeg: new Jpeg() };
}

/** Makes ready what a job needs; each is loaded when it is first needed. */
export async function readyFor(
  { jpeg, jpegLs }: Coders,
  { format, jpegLs: coded }: { format?: string; jpegLs: boolean },
) {
  if (coded) await jpegLs.ready();
  if (format === 'image/jpeg') await jpeg.ready();
}
