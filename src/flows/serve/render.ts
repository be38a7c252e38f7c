import { decodedLayout } from '../../dicom/compression.ts';
import type { DicomElement, DicomJson } from '../../dicom/model.ts';
import { type PixelLayout, undecodable } from '../../dicom/pixels.ts';
import { frameMapping, profileElement } from '../../dicom/presentation.ts';
import { fit } from '../../dicom/render-parameters.ts';
import type { ColourProfile, FrameMapping, MovingPart } from '../../dicom/rendering.ts';
import type { Codecs, CodedFrame } from '../../ports/codecs.ts';
import type { InstanceUIDs } from '../../ports/index.ts';
import { documentOf } from './document.ts';
import { checkFrameNumber } from './frame-number.ts';
import { MadeOnce } from './made-once.ts';
import { bulkPart } from './parts.ts';
import type { Render, Renderable, RenderParameters } from './rendered.ts';
import type { InstanceSource, Scope, Serve } from './served.ts';
import { frameCount, headerOf, isDecodable, type OpenedInstance, StoredImage } from './stored-image.ts';

export interface RenderModules {
  serve: Pick<Serve, 'instances'>;
  source: InstanceSource;
  codecs: Codecs;
}

/** Memory for images that were made. */
const CACHE_BYTES = 32 * 1024 * 1024;
/** Bytes of frames of an image that moves that are made at one time: as they are decoded or shown, whichever is more. */
const MOVING_BYTES = 4 * 1024 * 1024;
/** Profiles of slide scanners have up to a few megabytes; no more than this fits into a JPEG anyway. */
const MAX_PROFILE_BYTES = 16 * 1024 * 1024;
const NO_IMAGE = 'An image in a transfer syntax that is decoded';
const DEFAULT_QUALITY = 90;
const DEFAULT_FRAME_MS = 100;

/** Rendering on request (PS3.18 §10.4.1.1.3): frames as stored, then one job of a codec thread. */
export function createRender({ serve, source, codecs }: RenderModules): Render {
  const cache = new MadeOnce(CACHE_BYTES);

  function picture(opened: OpenedInstance, numbers: number[], parameters: RenderParameters, part?: MovingPart) {
    const key = JSON.stringify([opened.version.node.toString(), numbers, parameters, part]);
    return cache.get(key, () => make(opened, numbers, parameters, codecs, part));
  }

  return {
    renderable(scope: Scope) {
      const found = serve.instances(scope).flatMap((instance) => describe(instance, source) ?? []);
      if (found.length === 0) throw undecodable(NO_IMAGE);
      return found;
    },

    representative(scope) {
      const instances = serve.instances(scope);
      const middle = Math.floor((instances.length - 1) / 2);
      for (let away = 0; away <= instances.length - middle; away++) {
        for (const at of away === 0 ? [middle] : [middle + away, middle - away]) {
          const instance = instances[at];
          const found = instance && describe(instance, source);
          if (found) return found;
        }
      }
      throw undecodable(NO_IMAGE);
    },

    async document(instance) {
      return documentOf(await source.open(instance));
    },

    async image(instance, number, parameters) {
      return picture(await source.open(instance), [number], parameters);
    },

    async *moving(instance, numbers, parameters) {
      const opened = await source.open(instance);
      const { count, layout } = new StoredImage(opened);
      for (const number of numbers) checkFrameNumber(number, count);
      const shown = fit(parameters.viewport, layout.columns, layout.rows, parameters.enlarge);
      const bytes = Math.max(decodedBytes(layout), shown.width * shown.height * (layout.samplesPerPixel > 1 ? 3 : 1));
      const at = Math.max(1, Math.floor(MOVING_BYTES / bytes));
      const part = (from: number): Promise<Uint8Array> => {
        const part = { begins: from === 0, ends: from + at >= numbers.length };
        return picture(opened, numbers.slice(from, from + at), parameters, part);
      };
      let next = part(0);
      for (let from = at; ; from += at) {
        const made = await next;
        // One is made while the one before is sent; its failure is thrown when its turn comes.
        if (from < numbers.length) {
          next = part(from);
          next.catch(() => undefined);
        }
        yield made;
        if (from >= numbers.length) return;
      }
    },
  };
}

function describe(instance: InstanceUIDs, source: InstanceSource): Renderable | undefined {
  const described = source.describe(instance);
  if (!isDecodable(described)) return undefined;
  const count = frameCount(described.details.frames);
  const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = described.version;
  const uids = { studyInstanceUID, seriesInstanceUID, sopInstanceUID };
  if (count <= 1) return { instance: uids, count, representative: 1 };
  const named = Number(headerOf(described.details)['00286010']?.Value?.[0]);
  const representative = named >= 1 && named <= count ? named : Math.ceil(count / 2);
  return { instance: uids, count, representative };
}

async function make(
  opened: OpenedInstance,
  numbers: number[],
  parameters: RenderParameters,
  codecs: Codecs,
  part: MovingPart | undefined,
): Promise<Uint8Array> {
  const image = new StoredImage(opened);
  const { layout, header } = image;
  for (const number of numbers) checkFrameNumber(number, image.count);
  const words = (element: DicomElement) => readWords(opened, element);
  const decoded = decodedLayout(image.transferSyntaxUID, layout);
  const mappings: FrameMapping[] = [];
  const frames: CodedFrame[] = [];
  for (const number of numbers) {
    mappings.push(await frameMapping(header, decoded, number, parameters.window, words));
    frames.push(await image.frame(number, codecs.memory));
  }
  const { format, quality = DEFAULT_QUALITY, viewport, enlarge, profile: name } = parameters;
  const profile = name && (await profileOf(opened, header, numbers[0] ?? 1, name));
  const place = fit(viewport, layout.columns, layout.rows, enlarge);
  return codecs.render(frames, {
    format,
    quality,
    mappings,
    frameMs: frameMsOf(header),
    ...(part && { part }),
    ...(profile && { profile }),
    ...place,
  });
}

function decodedBytes({ rows, columns, samplesPerPixel, bitsAllocated }: PixelLayout): number {
  return rows * columns * samplesPerPixel * Math.ceil(bitsAllocated / 8);
}

/** Frame Time, or what Cine Rate or Recommended Display Frame Rate says (PS3.3 C.7.6.5). */
function frameMsOf(header: DicomJson): number {
  const positive = (tag: string): number | undefined => {
    const value = Number(header[tag]?.Value?.[0]);
    return value > 0 ? value : undefined;
  };
  const rate = positive('00082144') ?? positive('00180040');
  return (rate && 1000 / rate) ?? positive('00181063') ?? DEFAULT_FRAME_MS;
}

async function profileOf(
  opened: OpenedInstance,
  header: DicomJson,
  number: number,
  name: ColourProfile['name'],
): Promise<ColourProfile> {
  const element = profileElement(header, number);
  const rule = `An ICC Profile of at most ${MAX_PROFILE_BYTES} bytes`;
  const value = element && Buffer.from(await readBytes(opened, element, MAX_PROFILE_BYTES, rule));
  if (!value || value.length === 0) return { name };
  // Its own size, signature and colour space (ISO 15076-1 §7.2): DICOM pads to an even length.
  const length = value.length < 132 ? 0 : value.readUInt32BE(0);
  const isProfile = value.toString('latin1', 36, 40) === 'acsp' && length >= 132 && length <= value.length;
  if (!isProfile || value.toString('latin1', 16, 20) !== 'RGB ')
    throw undecodable('An ICC Profile (0028,2000) of RGB colours (PS3.3 C.11.15)');
  return { name, stored: new Uint8Array(value.subarray(0, length)) };
}

/** The words of a table. */
async function readWords(opened: OpenedInstance, element: DicomElement): Promise<Uint16Array> {
  if (element.Value) return Uint16Array.from(element.Value, (value) => Number(value) & 0xffff);
  const rule = 'A lookup table of at most 65,536 entries (PS3.3 C.11.1.1)';
  const bytes = await readBytes(opened, element, 2 * 65536, rule);
  const words = new Uint16Array(Math.floor(bytes.length / 2));
  for (let i = 0; i < words.length; i++) words[i] = (bytes[2 * i] as number) | ((bytes[2 * i + 1] as number) << 8);
  return words;
}

/** A binary value, which the header holds where it is small. @throws DagpacsError `undecodable` with `rule` where it is larger */
async function readBytes(
  { version, details, stream }: OpenedInstance,
  element: DicomElement,
  maxBytes: number,
  rule: string,
): Promise<Uint8Array> {
  let bytes: Uint8Array = Buffer.from(element.InlineBinary ?? '', 'base64');
  const path = element.BulkDataURI?.replace('bulk:/', '');
  const value = path === undefined ? undefined : details.bulk[path];
  if (value) {
    if (value.length > maxBytes) throw undecodable(rule);
    const chunks: Uint8Array[] = [];
    for await (const chunk of bulkPart(stream, value, version.transferSyntaxUID, path as string).bytes())
      chunks.push(chunk);
    bytes = Buffer.concat(chunks);
  }
  return bytes;
}
