/** Shapes of the DICOM JSON model (PS3.18 Annex F) and of what a scan of a Part 10 stream yields. */

/** A person name in UTF-8, by component group (PS3.18 F.2.2). */
export interface PersonName {
  Alphabetic?: string;
  Ideographic?: string;
  Phonetic?: string;
}

export type DicomValue = string | number | null | PersonName | DicomJson;

/** One attribute. `BulkDataURI` is `bulk:/<path>` inside the bridge (path as in {@link Scan.bulk}) and absolute in answers. */
export interface DicomElement {
  vr: string;
  Value?: DicomValue[];
  InlineBinary?: string;
  BulkDataURI?: string;
}

/** A data set: keys are tags as eight upper-case hexadecimal digits, in ascending order. */
export interface DicomJson {
  [tag: string]: DicomElement;
}

/**
 * A value that stays in the stored object: where it lies in the *data stream* (see {@link Scan.datasetOffset}). An encapsulated
 * one reaches from its offset table's item to before the sequence delimiter.
 */
export interface BulkValue {
  vr: string;
  offset: number;
  length: number;
}

/** Where the frames of Pixel Data lie. Offsets count from byte 0 of the received bytes (deflated: of meta + inflated data set). */
export type FrameTable =
  | { kind: 'none' }
  | {
      kind: 'native';
      tag: '7FE00010' | '7FE00008' | '7FE00009';
      offset: number;
      /** Bytes of the whole value. */
      length: number;
      /** Frames that lie wholly inside `length`. */
      count: number;
      /** Bits of one frame: frames of 1-bit images are packed without padding (PS3.5 §8.1.1). */
      bitsPerFrame: number;
      bitsAllocated: number;
    }
  | {
      kind: 'encapsulated';
      /** Per frame its fragments' values as flat pairs: offset, length, offset, length … */
      frames: number[][];
    };

export interface ScanWarning {
  /** Attribute keyword, or `DataSet`. */
  attribute: string;
  tag?: string;
  rule: string;
}

/** What one pass over a Part 10 stream tells about an instance. */
export interface Scan {
  sopClassUID: string;
  sopInstanceUID: string;
  studyInstanceUID: string;
  seriesInstanceUID: string;
  /** As group 0002 declares it; where a data set is unmistakably encoded otherwise, what it really is (with a warning). */
  transferSyntaxUID: string;
  /** Offset of the first byte after the file meta information. */
  datasetOffset: number;
  /** Bytes of the received stream. */
  size: number;
  /** The data set (no group 0002), Pixel Data as BulkDataURI, text in UTF-8. */
  header: DicomJson;
  /** Path → place, for each `bulk:/path` in `header`. A path is `TAG` or `TAG/item(1-based)/TAG`…; big-endian as stored. */
  bulk: Record<string, BulkValue>;
  frames: FrameTable;
  warnings: ScanWarning[];
}
