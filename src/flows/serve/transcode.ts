import { decodedLayout, ENCODINGS, encodedLayout, storedFrameBytes } from '../../dicom/compression.ts';
import type { PixelLayout } from '../../dicom/pixels.ts';
import {
  DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
  EXPLICIT_VR_BIG_ENDIAN,
  EXPLICIT_VR_LITTLE_ENDIAN,
  IMPLICIT_VR_LITTLE_ENDIAN,
  transferSyntax,
} from '../../dicom/transfer-syntax.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import type { Codecs } from '../../ports/codecs.ts';
import type { InstanceUIDs } from '../../ports/index.ts';
import { checkFrameNumber } from './frame-number.ts';
import { MadeOnce } from './made-once.ts';
import type { InstanceSource } from './served.ts';
import { isDecodable, type OpenedInstance, StoredImage } from './stored-image.ts';
import { transcodeDataset, transcodeInstance } from './transcode-instance.ts';
import type { Transcode, TranscodedPart } from './transcoded.ts';

export interface TranscodeModules {
  source: InstanceSource;
  codecs: Codecs;
}

/** Web services have no implicit and no big-endian data sets (PS3.18 §8.7.3.1). */
const FOR_THE_WEB = [EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN];
const FOR_C_STORE = [
  EXPLICIT_VR_LITTLE_ENDIAN,
  IMPLICIT_VR_LITTLE_ENDIAN,
  EXPLICIT_VR_BIG_ENDIAN,
  DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
];
/** Memory for frames that were made. */
const CACHE_BYTES = 24 * 1024 * 1024;

/** Transcoding on request (PS3.18 §8.7.3): index, blocks, open, then a codec, frame by frame. */
export function createTranscode({ source, codecs }: TranscodeModules): Transcode {
  const cache = new MadeOnce(CACHE_BYTES);

  /** A frame in `transferSyntaxUID`, made once for all who wait; kept for later unless it is one of a whole instance. */
  function make(opened: OpenedInstance, image: StoredImage, number: number, transferSyntaxUID: string, keep: boolean) {
    const key = `${opened.version.node} ${number} ${transferSyntaxUID}`;
    const making = async () => {
      const frame = await image.frame(number, codecs.memory);
      return transferSyntaxUID === EXPLICIT_VR_LITTLE_ENDIAN
        ? codecs.decode(frame)
        : codecs.transcode(frame, transferSyntaxUID);
    };
    return cache.get(key, making, keep);
  }

  /** Those of `plain`, and the compressed ones where there are frames to encode; without the stored one. */
  function syntaxesOf(instance: InstanceUIDs, plain: readonly string[]): string[] {
    const { version, details } = source.describe(instance);
    const pixels = isDecodable({ version, details });
    const syntax = transferSyntax(version.transferSyntaxUID);
    // Without frames the data set alone is rewritten, which what lies outside the file or is a stream does not allow.
    if (!pixels && (!syntax || syntax.encapsulated || /JPIP|ST 2110/.test(syntax.name))) return [];
    const all = pixels ? [...plain, ...encodingsOf({ version, details })] : plain;
    return all.filter((uid) => uid !== version.transferSyntaxUID);
  }

  return {
    instanceSyntaxes: (instance) => syntaxesOf(instance, FOR_THE_WEB),
    datasetSyntaxes: (instance) => syntaxesOf(instance, FOR_C_STORE),

    async dataset(instance, transferSyntaxUID) {
      const opened = await source.open(instance);
      return transcodeDataset(opened, transferSyntaxUID, (image, n, uid) => make(opened, image, n, uid, false))();
    },

    async instance(instance, transferSyntaxUID) {
      const opened = await source.open(instance);
      return transcodeInstance(opened, transferSyntaxUID, (image, n, uid) => make(opened, image, n, uid, false));
    },

    frameSyntaxes(instance) {
      const described = source.describe(instance);
      if (!isDecodable(described)) return [];
      const native = described.details.frames.kind === 'native';
      const all = native ? encodingsOf(described) : [EXPLICIT_VR_LITTLE_ENDIAN, ...encodingsOf(described)];
      return all.filter((uid) => uid !== described.version.transferSyntaxUID);
    },

    async frames(instance, numbers, transferSyntaxUID) {
      const opened = await source.open(instance);
      const image = new StoredImage(opened);
      for (const number of numbers) checkFrameNumber(number, image.count);
      const layout = decodedLayout(image.transferSyntaxUID, image.layout);
      const size = transferSyntaxUID === EXPLICIT_VR_LITTLE_ENDIAN ? storedFrameBytes(layout) : undefined;
      return numbers.map(
        (number, i): TranscodedPart => ({
          size,
          transferSyntaxUID,
          async *bytes(start, end) {
            const made = make(opened, image, number, transferSyntaxUID, true);
            // The next one is made while this one is sent; its failure is thrown when its turn comes.
            const next = numbers[i + 1];
            if (next !== undefined) make(opened, image, next, transferSyntaxUID, true).catch(() => {});
            yield (await made).subarray(start, end);
          },
        }),
      );
    },
  };
}

function encodingsOf(described: Pick<OpenedInstance, 'version' | 'details'>): string[] {
  let layout: PixelLayout;
  try {
    // The stream is read when a frame is.
    const image = new StoredImage({ ...described, stream: { range: () => nothing } });
    layout = decodedLayout(image.transferSyntaxUID, image.layout);
  } catch (error) {
    if (!isDagpacsError(error, 'undecodable')) throw error;
    return [];
  }
  const { frames } = described.details;
  // Floating-point pixels have no compressed form (PS3.5 §A.4).
  if (frames.kind === 'native' && frames.tag !== '7FE00010') return [];
  return ENCODINGS.filter((uid) => encodedLayout(uid, layout) !== undefined);
}

const nothing: AsyncIterable<Uint8Array> = { async *[Symbol.asyncIterator]() {} };
