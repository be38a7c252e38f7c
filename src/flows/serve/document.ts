import { transferSyntax } from '../../dicom/transfer-syntax.ts';
import { bulkPart, frameParts } from './parts.ts';
import type { StoredDocument } from './rendered.ts';
import type { ServedPart } from './served.ts';
import { headerOf, type OpenedInstance } from './stored-image.ts';

const ENCAPSULATED_DOCUMENT = '00420011';
const MIME_TYPE = '00420012';
const DOCUMENT_LENGTH = '00420015';
const MEDIA_TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/;

/** The video of a video's transfer syntax, or the document of an encapsulated one (PS3.3 C.24.2). */
export function documentOf(opened: OpenedInstance): StoredDocument | undefined {
  const { version, details, stream } = opened;
  const { transferSyntaxUID } = version;
  const syntax = transferSyntax(transferSyntaxUID);
  if (syntax?.video) {
    if (details.frames.kind !== 'encapsulated') return undefined;
    const [part] = frameParts(stream, details.frames, transferSyntaxUID, 'OB', [1]);
    return part && { type: syntax.mediaType, part };
  }
  const header = headerOf(details);
  const element = header[ENCAPSULATED_DOCUMENT];
  const type = String(header[MIME_TYPE]?.Value?.[0] ?? '').toLowerCase();
  if (!element || !MEDIA_TYPE.test(type)) return undefined;
  const bulk = details.bulk[ENCAPSULATED_DOCUMENT];
  const inline = Buffer.from(element.InlineBinary ?? '', 'base64');
  const part = bulk
    ? bulkPart(stream, bulk, transferSyntaxUID, ENCAPSULATED_DOCUMENT)
    : inMemory(inline, transferSyntaxUID);
  // The value is padded to an even length; what it is without says another attribute.
  const length = Number(header[DOCUMENT_LENGTH]?.Value?.[0]);
  const size = length === part.size - 1 ? length : part.size;
  return { type, part: { ...part, size, bytes: (start = 0, end = size) => part.bytes(start, end) } };
}

function inMemory(bytes: Buffer, transferSyntaxUID: string): ServedPart {
  return {
    size: bytes.length,
    transferSyntaxUID,
    async *bytes(start = 0, end = bytes.length) {
      yield bytes.subarray(start, end);
    },
  };
}
