import { zstdDecompressSync } from 'node:zlib';
import { compressionOf } from '../../dicom/compression.ts';
import type { BulkValue, DicomJson, FrameTable } from '../../dicom/model.ts';
import { type PixelLayout, pixelLayout, undecodable } from '../../dicom/pixels.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN, transferSyntax } from '../../dicom/transfer-syntax.ts';
import type { CodedFrame } from '../../ports/codecs.ts';
import type { Version, VersionDetails } from '../../ports/index.ts';
import type { DataStream } from './data-stream.ts';
import { frameParts } from './parts.ts';

/** A current instance that is open for reading. */
export interface OpenedInstance {
  version: Version;
  details: VersionDetails;
  stream: DataStream;
}

/** An instance's header, parsed from what the index keeps. */
export function headerOf({ header }: VersionDetails): DicomJson {
  return JSON.parse(zstdDecompressSync(header).toString()) as DicomJson;
}

/** How many frames a table locates. */
export function frameCount(table: FrameTable): number {
  if (table.kind === 'none') return 0;
  return table.kind === 'native' ? table.count : table.frames.length;
}

/** VR of native pixels, which tells in which units they are turned round. */
export function pixelVrOf(table: FrameTable, bulk: Record<string, BulkValue>): string {
  return table.kind === 'native' ? (bulk[table.tag]?.vr ?? 'OW') : 'OB';
}

/** The transfer syntax that frames leave the store in: native ones are little-endian by then. */
export function frameSyntaxOf({ version, details }: Pick<OpenedInstance, 'version' | 'details'>): string {
  return details.frames.kind === 'native' ? EXPLICIT_VR_LITTLE_ENDIAN : version.transferSyntaxUID;
}

/** True where frames of the instance can be decoded, as far as header and frame table tell. */
export function isDecodable(opened: Pick<OpenedInstance, 'version' | 'details'>): boolean {
  const { frames } = opened.details;
  if (frames.kind === 'none') return false;
  if (frames.kind === 'native') return frames.count > 0;
  const syntax = transferSyntax(opened.version.transferSyntaxUID);
  return syntax?.encapsulated === true && compressionOf(syntax.uid) !== undefined;
}

/** The frames of an instance, ready for a codec. */
export class StoredImage {
  readonly header: DicomJson;
  readonly layout: PixelLayout;
  readonly count: number;
  readonly transferSyntaxUID: string;
  readonly #opened: OpenedInstance;

  /** @throws DagpacsError `undecodable` where there are no frames, or none that can be decoded */
  constructor(opened: OpenedInstance, header: DicomJson = headerOf(opened.details)) {
    if (!isDecodable(opened)) throw undecodable('Frames in a transfer syntax that is decoded');
    this.#opened = opened;
    this.header = header;
    this.layout = pixelLayout(header);
    this.count = frameCount(opened.details.frames);
    this.transferSyntaxUID = frameSyntaxOf(opened);
  }

  /** Frame `number`, from 1, in memory of its own, which `memory` makes. @throws DagpacsError `invalid-parameter`, `block-missing`, `block-damaged` */
  async frame(number: number, memory: (size: number) => Uint8Array): Promise<CodedFrame> {
    const { details, stream, version } = this.#opened;
    const { frames, bulk } = details;
    const vr = pixelVrOf(frames, bulk);
    const [part] = frameParts(stream, frames, version.transferSyntaxUID, vr, [number]);
    const bytes = memory(part?.size ?? 0);
    let at = 0;
    for await (const chunk of part?.bytes() ?? []) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    const float = frames.kind === 'native' && frames.tag !== '7FE00010';
    return { transferSyntaxUID: this.transferSyntaxUID, bytes, layout: this.layout, ...(float && { float }) };
  }
}
