import { Readable } from 'node:stream';
import { createInflate, createInflateRaw } from 'node:zlib';
import type { Opener } from '../../crypto/open-range.ts';
import { DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN } from '../../dicom/transfer-syntax.ts';

/** What the offsets of a scan refer to: the received bytes, or for a deflated data set the meta and the inflated data set. */
export interface DataStream {
  /** Bytes `start` (inclusive) to `end` (exclusive). */
  range(start: number, end: number): AsyncIterable<Uint8Array>;
}

export function dataStreamOf(
  opener: Opener,
  version: { transferSyntaxUID: string; datasetOffset: number },
): DataStream {
  if (version.transferSyntaxUID !== DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    return { range: (start, end) => opener.range(start, end) };
  return { range: (start, end) => inflatedRange(opener, version.datasetOffset, start, end) };
}

/** Inflates from the start, since a deflated stream has no other entry, and keeps nothing of what is skipped. */
async function* inflatedRange(
  opener: Opener,
  datasetOffset: number,
  start: number,
  end: number,
): AsyncIterable<Uint8Array> {
  if (start < datasetOffset) yield* opener.range(start, Math.min(end, datasetOffset));
  let position = datasetOffset;
  if (end <= position) return;
  const inflate = (await hasZlibHeader(opener, datasetOffset)) ? createInflate() : createInflateRaw();
  const source = Readable.from(opener.range(datasetOffset));
  source.on('error', (error) => inflate.destroy(error));
  source.pipe(inflate);
  try {
    for await (const chunk of inflate as AsyncIterable<Buffer>) {
      const from = Math.max(0, start - position);
      const to = Math.min(chunk.length, end - position);
      if (to > from) yield chunk.subarray(from, to);
      position += chunk.length;
      if (position >= end) return;
    }
  } finally {
    source.destroy();
    inflate.destroy();
  }
}

/** Some senders wrap the deflated data set in a zlib stream (RFC 1950), against PS3.5 §A.5. */
async function hasZlibHeader(opener: Opener, offset: number): Promise<boolean> {
  const head: number[] = [];
  for await (const chunk of opener.range(offset, Math.min(offset + 2, opener.size))) head.push(...chunk);
  const [cmf = 0, flg = 0] = head;
  return head.length === 2 && (cmf & 0x0f) === 8 && cmf >> 4 <= 7 && ((cmf << 8) | flg) % 31 === 0;
}
