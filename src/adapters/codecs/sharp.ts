import type { Sharp, SharpOptions } from 'sharp';

type MakeSharp = ((samples: Uint8Array, options?: SharpOptions) => Sharp) & typeof import('sharp');

let loading: Promise<MakeSharp> | undefined;

/** Loaded when it is first needed, and always on the main thread, as its authors ask for. */
export function loadSharp(): Promise<MakeSharp> {
  loading ??= load();
  return loading;
}

async function load(): Promise<MakeSharp> {
  const { default: sharp } = await import('sharp');
  // Images come and go once: what libvips would keep of them is of no use to anybody.
  sharp.cache(false);
  sharp.concurrency(1);
  return sharp as unknown as MakeSharp;
}
