import { Readable } from 'node:stream';
import { createDeflateRaw } from 'node:zlib';
import { decodedLayout, encodedLayout, storedFrameBytes } from '../../dicom/compression.ts';
import { UNDEFINED_LENGTH } from '../../dicom/element-header.ts';
import { writeFileMeta } from '../../dicom/meta.ts';
import { type PixelLayout, undecodable } from '../../dicom/pixels.ts';
import { reencode } from '../../dicom/reencode.ts';
import { rewriteDataset } from '../../dicom/rewrite.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN, type TransferSyntax, transferSyntax } from '../../dicom/transfer-syntax.ts';
import { vrNamed } from '../../dicom/vr.ts';
import { CLOSE_SEQUENCE, elementStart, ITEM, itemStart, shortElement, textElement } from '../../dicom/write-element.ts';
import { frameCount, headerOf, type OpenedInstance, StoredImage } from './stored-image.ts';
import type { TranscodedPart } from './transcoded.ts';

/** Makes frame `number` of an image in a transfer syntax. */
export type MakeFrame = (image: StoredImage, number: number, transferSyntaxUID: string) => Promise<Uint8Array>;

const EXPLICIT = transferSyntax(EXPLICIT_VR_LITTLE_ENDIAN) as TransferSyntax;
const PHOTOMETRIC_INTERPRETATION = 0x00280004;
const PLANAR_CONFIGURATION = 0x00280006;
const EXTENDED_OFFSET_TABLE = 0x7fe00001;
const EXTENDED_OFFSET_TABLE_LENGTHS = 0x7fe00002;
const PIXEL_DATA = 0x7fe00010;
/** Bytes of decoded frames that are made before the first byte leaves. */
const MAX_PREPARED = 8 * 1024 * 1024;
/** Lengths are 32 bits, of which the greatest says that there is none. */
const MAX_VALUE = UNDEFINED_LENGTH - 1;

/**
 * An instance in another transfer syntax, as a Part 10 file. It stays the same instance, with the same UIDs, since nothing
 * that is done here loses anything.
 * @throws DagpacsError `undecodable`
 */
export function transcodeInstance(opened: OpenedInstance, target: string, make: MakeFrame): TranscodedPart {
  const dataset = transcodeDataset(opened, target, make);
  const { sopClassUID, sopInstanceUID } = opened.version;
  return {
    size: undefined,
    transferSyntaxUID: target,
    async *bytes() {
      let meta: Uint8Array | undefined = writeFileMeta({ sopClassUID, sopInstanceUID, transferSyntaxUID: target });
      for await (const chunk of dataset()) {
        // What is wrong near the start is told before anything is sent.
        yield meta ? Buffer.concat([meta, chunk]) : chunk;
        meta = undefined;
      }
    },
  };
}

/**
 * Its data set alone, as C-STORE carries it: written anew as it is read, its frames one after the other. Implicit and
 * big-endian ones are made of the explicit little-endian one.
 * @throws DagpacsError `undecodable`
 */
export function transcodeDataset(
  opened: OpenedInstance,
  target: string,
  make: MakeFrame,
): () => AsyncIterable<Uint8Array> {
  const { version, details } = opened;
  const header = headerOf(details);
  const stored = transferSyntax(version.transferSyntaxUID);
  const to = transferSyntax(target);
  const encapsulated = to?.encapsulated === true;
  const recoded = frameCount(details.frames) > 0 && (details.frames.kind === 'encapsulated' || encapsulated);
  const image = recoded ? new StoredImage(opened, header) : undefined;
  const changes = new Map<number, Buffer | undefined>();
  const ready = new Map<number, Uint8Array>();
  const prepared: MakeFrame = async (of, number, syntax) => {
    const bytes = ready.get(number) ?? (await make(of, number, syntax));
    ready.delete(number);
    return bytes;
  };
  const frames = image ? recode(image, target, encapsulated, changes, prepared) : undefined;
  const end = stored?.deflated ? Number.POSITIVE_INFINITY : version.size;
  const dataset = () =>
    rewriteDataset(opened.stream.range(version.datasetOffset, end), {
      implicit: stored?.implicit ?? false,
      bigEndian: stored?.bigEndian ?? false,
      offset: version.datasetOffset,
      signed: header['00280103']?.Value?.[0] === 1,
      changes,
      ...(frames && { pixels: frames }),
      ...(stored?.bigEndianPixels && !stored.bigEndian && { pixelUnit: 2 }),
    });
  return async function* () {
    if (image) await prepare(image, encapsulated ? target : EXPLICIT_VR_LITTLE_ENDIAN, make, ready);
    if (to?.deflated) yield* deflated(dataset());
    else if (to && (to.implicit || to.bigEndian)) yield* reencode(dataset(), EXPLICIT, to);
    else yield* dataset();
  };
}

/** Makes the first frame, and those after it that are small, into `ready`: one that fails still decides the answer's status. */
async function prepare(
  image: StoredImage,
  syntax: string,
  make: MakeFrame,
  ready: Map<number, Uint8Array>,
): Promise<void> {
  const size = storedFrameBytes(image.layout);
  const last = Math.max(1, Math.min(image.count, Math.floor(MAX_PREPARED / size)));
  for (let number = 1; number <= last; number++) ready.set(number, await make(image, number, syntax));
}

/** What the header says of the frames once they are recoded, and the whole Pixel Data element. */
function recode(
  image: StoredImage,
  target: string,
  encapsulated: boolean,
  changes: Map<number, Buffer | undefined>,
  make: MakeFrame,
): () => AsyncIterable<Uint8Array> {
  const decoded = decodedLayout(image.transferSyntaxUID, image.layout);
  const layout = encapsulated ? encodedLayout(target, decoded) : decoded;
  if (!layout) throw undecodable('Pixels that the transfer syntax asked for can hold (PS3.5 §8.2)');
  describe(image.layout, layout, changes);
  changes.set(EXTENDED_OFFSET_TABLE, undefined);
  changes.set(EXTENDED_OFFSET_TABLE_LENGTHS, undefined);
  return encapsulated ? () => fragments(image, target, make) : () => native(image, layout, make);
}

function describe(before: PixelLayout, after: PixelLayout, changes: Map<number, Buffer | undefined>): void {
  if (after.photometric !== before.photometric)
    changes.set(PHOTOMETRIC_INTERPRETATION, textElement(PHOTOMETRIC_INTERPRETATION, 'CS', after.photometric));
  if (after.samplesPerPixel > 1)
    changes.set(PLANAR_CONFIGURATION, shortElement(PLANAR_CONFIGURATION, after.planar ? 1 : 0));
}

async function* native(image: StoredImage, layout: PixelLayout, make: MakeFrame): AsyncIterable<Uint8Array> {
  const frame = storedFrameBytes(layout);
  const bits = layout.rows * layout.columns * layout.samplesPerPixel * layout.bitsAllocated;
  if (bits % 8 !== 0 && image.count > 1) throw undecodable('Frames that end with a byte (PS3.5 §8.1.1)');
  const length = frame * image.count;
  if (length > MAX_VALUE) throw undecodable('Pixel Data of less than 4 GiB (PS3.5 §7.1.2)');
  yield elementStart(PIXEL_DATA, vrNamed(layout.bitsAllocated > 8 ? 'OW' : 'OB'), length + (length % 2));
  for await (const bytes of inTurn(image, EXPLICIT_VR_LITTLE_ENDIAN, make)) yield bytes;
  if (length % 2) yield Buffer.alloc(1);
}

async function* fragments(image: StoredImage, target: string, make: MakeFrame): AsyncIterable<Uint8Array> {
  yield elementStart(PIXEL_DATA, vrNamed('OB'), UNDEFINED_LENGTH);
  // An empty offset table: the places are known only when all frames are made.
  yield itemStart(ITEM, 0);
  for await (const bytes of inTurn(image, target, make)) {
    yield itemStart(ITEM, bytes.length);
    yield bytes;
  }
  yield CLOSE_SEQUENCE;
}

/** All frames in order, the next one under way while one is written. */
async function* inTurn(image: StoredImage, syntax: string, make: MakeFrame): AsyncIterable<Uint8Array> {
  let next = make(image, 1, syntax);
  for (let number = 1; number <= image.count; number++) {
    const bytes = await next;
    if (number < image.count) {
      next = make(image, number + 1, syntax);
      next.catch(() => {});
    }
    yield bytes;
  }
}

async function* deflated(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const deflate = createDeflateRaw();
  const input = Readable.from(source);
  input.on('error', (error) => deflate.destroy(error));
  input.pipe(deflate);
  let size = 0;
  try {
    for await (const chunk of deflate as AsyncIterable<Buffer>) {
      size += chunk.length;
      yield chunk;
    }
  } finally {
    input.destroy();
    deflate.destroy();
  }
  // A data set of odd length is padded (PS3.5 §A.5).
  if (size % 2) yield Buffer.alloc(1);
}
