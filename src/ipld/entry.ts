import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { encode } from '@ipld/dag-cbor';
import { Shape } from './shape.ts';

const VERSION = 1;
const DIGEST_SIZE = 32;
/** JSON text of more characters is compressed: it is a frame table with an offset and a length for each of many frames. */
const PLAIN_LIMIT = 2048;
/** Far above any frame table that fits a data set, and the bound for what damaged bytes may unfold to. */
const MAX_UNFOLDED = 1 << 30;

/**
 * What is known of an instance beside its bytes: the plaintext of an instance node's entry, from which an index is made
 * again. `Frames` and `Bulk` are JSON values; nothing here looks into them.
 */
export interface Entry<Frames, Bulk> {
  /** Zstandard of the header's JSON text (UTF-8). */
  header: Uint8Array;
  /** SHA-256 of the received bytes. */
  sha256: Uint8Array;
  /** Bytes received. */
  size: number;
  /** Offset of the first byte after the file meta information. */
  datasetOffset: number;
  transferSyntaxUID: string;
  sopClassUID: string;
  sopInstanceUID: string;
  studyInstanceUID: string;
  seriesInstanceUID: string;
  /** ISO 8601 UTC with milliseconds. */
  receivedAt: string;
  receivedFrom: string;
  frames: Frames;
  bulk: Bulk;
}

/** @returns dag-cbor; `frames` and `bulk` as JSON text, or as zstd of it where it is long */
export function encodeEntry(entry: Entry<unknown, unknown>): Uint8Array {
  const { header, sha256, size, datasetOffset, transferSyntaxUID, receivedAt, receivedFrom, frames, bulk } = entry;
  const { sopClassUID, sopInstanceUID, studyInstanceUID, seriesInstanceUID } = entry;
  return encode({
    v: VERSION,
    header,
    sha256,
    size,
    datasetOffset,
    transferSyntaxUID,
    sopClassUID,
    sopInstanceUID,
    studyInstanceUID,
    seriesInstanceUID,
    receivedAt,
    receivedFrom,
    frames: fold(frames),
    bulk: fold(bulk),
  });
}

/**
 * The caller vouches for `Frames` and `Bulk`: the entry was authenticated, so they are what was encoded.
 * @throws DagpacsError `block-damaged` for anything that is not an entry of this version
 */
export function decodeEntry<Frames, Bulk>(bytes: Uint8Array): Entry<Frames, Bulk> {
  const shape = new Shape('entry', bytes);
  shape.constant('v', VERSION);
  const entry = {
    header: shape.bytes('header'),
    sha256: shape.bytes('sha256', DIGEST_SIZE),
    size: shape.count('size'),
    datasetOffset: shape.count('datasetOffset'),
    transferSyntaxUID: shape.text('transferSyntaxUID'),
    sopClassUID: shape.text('sopClassUID'),
    sopInstanceUID: shape.text('sopInstanceUID'),
    studyInstanceUID: shape.text('studyInstanceUID'),
    seriesInstanceUID: shape.text('seriesInstanceUID'),
    receivedAt: shape.text('receivedAt'),
    receivedFrom: shape.text('receivedFrom'),
    frames: unfold(shape, 'frames') as Frames,
    bulk: unfold(shape, 'bulk') as Bulk,
  };
  shape.end();
  return entry;
}

function fold(value: unknown): string | Uint8Array {
  const text = JSON.stringify(value);
  return text.length <= PLAIN_LIMIT ? text : zstdCompressSync(text);
}

function unfold(shape: Shape, name: string): unknown {
  const folded = shape.take(name);
  if (typeof folded !== 'string' && !(folded instanceof Uint8Array)) throw shape.damaged(`${name} is not folded JSON`);
  try {
    const text = typeof folded === 'string' ? folded : zstdDecompressSync(folded, { maxOutputLength: MAX_UNFOLDED });
    return JSON.parse(text.toString());
  } catch (cause) {
    throw shape.damaged(`${name} is not folded JSON`, cause);
  }
}
