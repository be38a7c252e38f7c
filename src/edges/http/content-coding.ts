import { Readable } from 'node:stream';
import { constants, createGzip, createZstdCompress } from 'node:zlib';

/** Content codings (RFC 9110 §8.4.1) that are made as an answer is sent, the one we like best first. */
export const SENT_CODINGS = ['zstd', 'gzip'] as const;

/** A body in a content coding: at the fastest level, since it is made anew for each answer. */
export async function* inCoding(
  body: AsyncIterable<Uint8Array>,
  coding: (typeof SENT_CODINGS)[number],
): AsyncGenerator<Uint8Array> {
  const encoder =
    coding === 'gzip'
      ? createGzip({ level: constants.Z_BEST_SPEED })
      : createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  const input = Readable.from(body);
  input.on('error', (error) => encoder.destroy(error));
  input.pipe(encoder);
  try {
    yield* encoder as AsyncIterable<Buffer>;
  } finally {
    input.destroy();
    encoder.destroy();
  }
}
