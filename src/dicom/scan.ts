import { DagpacsError } from '../kernel/errors.ts';
import { lookup } from './dictionary.ts';
import { looksExplicit, uint16, uint32 } from './element-header.ts';
import { FileMetaParser } from './file-meta.ts';
import { encapsulatedFrames, nativeFrames } from './frames.ts';
import type { HeaderLimits } from './header-builder.ts';
import { identify, uidAt } from './identity.ts';
import { InflateError, Inflater, isZlib } from './inflate.ts';
import type { FrameTable, Scan } from './model.ts';
import { DatasetParser } from './parser.ts';
import {
  EXPLICIT_VR_BIG_ENDIAN,
  EXPLICIT_VR_LITTLE_ENDIAN,
  IMPLICIT_VR_LITTLE_ENDIAN,
  transferSyntax,
} from './transfer-syntax.ts';
import { Warnings } from './warnings.ts';
import { type Consumer, Window } from './window.ts';

/** Limits of what a scan holds in memory; every one has a default that fits common instances. */
export interface ScanOptions extends Partial<HeaderLimits> {
  /** Longest value of OB, OD, OF, OL, OV, OW and UN in the header, in bytes. Default: 1024. */
  maxInlineBinary?: number;
  /** Longest other value in the header, in bytes. Default: 65,536. */
  maxInlineText?: number;
  /** Bytes of all values in the header; beyond it values become bulk data. Default: 16 MiB. */
  maxHeaderBytes?: number;
  /** Elements and items in sequences, and as many outside; beyond it new sequences become bulk data. Default: 1,000,000. */
  maxElements?: number;
  /** Depth of sequences; a deeper one becomes bulk data, since readers of JSON have limits too. Default: 64. */
  maxDepth?: number;
  /**
   * Takes a data set that comes without preamble and prefix, or without group 0002, where its first element leaves no doubt of
   * what it is. What is retrieved then is no Part 10 file either, which many readers stumble over. Default: false.
   */
  acceptWithoutPreamble?: boolean;
  /** Bytes of an inflated data set that are looked at. Default: 1 GiB. */
  maxInflatedBytes?: number;
}

/** What is known of an instance while it arrives, and after its scan failed. */
export interface Identity {
  sopClassUID?: string;
  sopInstanceUID?: string;
  studyInstanceUID?: string;
  transferSyntaxUID?: string;
}

const PREAMBLE = 132;

/**
 * Follows the Part 10 stream (PS3.10 §7) of one instance, in chunks of any size, and holds only header bytes.
 *
 * What can be identified is taken, with warnings for what is wrong with it. A stream that ends inside its header or inside a
 * value is refused (`truncated`): an archive that keeps half an image gives its sender no reason to send the whole one. Only
 * the delimiters that end sequences and fragments may be missing at the very end, since nothing is lost with them.
 */
export class Scanner {
  readonly #limits: HeaderLimits;
  readonly #maxInflated: number;
  readonly #acceptBare: boolean;
  readonly #warnings = new Warnings();
  readonly #window = new Window();
  readonly #meta = new FileMetaParser(this.#warnings);
  #consumer: Consumer | undefined;
  #dataset: DatasetParser | undefined;
  #inflater: Inflater | undefined;
  /** First bytes of a deflated data set, until there are enough to tell what they are. */
  #head: Buffer | undefined;
  #transferSyntaxUID = '';
  #datasetOffset = 0;
  #size = 0;

  constructor(options: ScanOptions = {}) {
    this.#limits = {
      maxInlineBinary: options.maxInlineBinary ?? 1024,
      maxInlineText: options.maxInlineText ?? 65536,
      maxHeaderBytes: options.maxHeaderBytes ?? 16 << 20,
      maxElements: options.maxElements ?? 1_000_000,
      maxDepth: options.maxDepth ?? 64,
    };
    this.#acceptBare = options.acceptWithoutPreamble ?? false;
    this.#maxInflated = options.maxInflatedBytes ?? 2 ** 30;
    this.#consumer = { need: PREAMBLE, skip: 0, parse: (buffer, from, to) => this.#open(buffer, from, to) };
  }

  /** UIDs as far as they were read; from group 0002 where the data set has not given them yet. */
  get identity(): Identity {
    const header = this.#dataset?.root.dataset ?? {};
    const known: Identity = {};
    const set = (name: keyof Identity, uid: string | undefined): void => {
      if (uid) known[name] = uid;
    };
    set('sopClassUID', uidAt(header, '00080016') ?? this.#meta.mediaStorageSOPClassUID);
    set('sopInstanceUID', uidAt(header, '00080018') ?? this.#meta.mediaStorageSOPInstanceUID);
    set('studyInstanceUID', uidAt(header, '0020000D'));
    set('transferSyntaxUID', this.#transferSyntaxUID || this.#meta.transferSyntaxUID);
    return known;
  }

  /**
   * Takes the next bytes; they may be overwritten once this returns, or its promise resolves. There is a promise for deflated
   * data sets only.
   * @throws DagpacsError `not-dicom`, `malformed-dataset`, `truncated`
   */
  write(chunk: Uint8Array): void | Promise<void> {
    this.#size += chunk.length;
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    if (this.#inflater || this.#head) return this.#inflate(bytes);
    const rest = this.#window.feed(bytes, this.#next);
    if (rest) return this.#inflate(rest);
  }

  /**
   * The stream has ended.
   * @throws DagpacsError `not-dicom`, `truncated`, `malformed-dataset`, `missing-attribute`, `invalid-attribute`
   */
  end(): Scan | Promise<Scan> {
    if (this.#inflater || this.#head) return this.#endInflated();
    return this.#finish();
  }

  readonly #next = (): Consumer | undefined => this.#consumer;

  /** The first bytes: preamble and prefix, or what stands in their place. */
  #open(buffer: Buffer, from: number, to: number): number {
    if (to - from < PREAMBLE) return from;
    const part10 = buffer.toString('latin1', from + 128, from + PREAMBLE) === 'DICM';
    if (!part10 && !(this.#acceptBare && startsDataset(buffer, from))) throw notDicom();
    if (!part10) this.#warnings.dataset('No preamble and prefix (PS3.10 §7.1)');
    this.#consumer = this.#metaConsumer;
    return part10 ? from + PREAMBLE : from;
  }

  #readMeta(buffer: Buffer, from: number, to: number, base: number): number {
    const pos = this.#meta.parse(buffer, from, to, base);
    this.#consumer = this.#meta.done ? this.#begin(base + pos, buffer, pos) : this.#metaConsumer;
    return pos;
  }

  readonly #metaConsumer: Consumer = metaConsumer(this.#meta, (...place) => this.#readMeta(...place));

  /** Group 0002 is over: what follows is the data set. */
  #begin(offset: number, buffer: Buffer, at: number): Consumer | undefined {
    this.#datasetOffset = offset;
    const declared = this.#meta.transferSyntaxUID;
    const syntax = transferSyntax(declared);
    if (!declared)
      this.#warnings.attribute(0x00020010, 'Missing or empty (PS3.10 §7.1): taken from how the data set is encoded');
    else if (!syntax)
      this.#warnings.attribute(
        0x00020010,
        'A transfer syntax that the standard does not define: read as Explicit VR Little Endian',
      );
    this.#transferSyntaxUID = declared || EXPLICIT_VR_LITTLE_ENDIAN;
    if (syntax?.deflated) {
      this.#head = Buffer.alloc(0);
      return undefined;
    }
    if (!declared) {
      if (!startsDataset(buffer, at)) throw untold();
      this.#transferSyntaxUID = encodingOf(buffer, at);
    }
    const { implicit, bigEndian } = transferSyntax(this.#transferSyntaxUID) ?? { implicit: false, bigEndian: false };
    return this.#startDataset(implicit, bigEndian);
  }

  #startDataset(implicit: boolean, bigEndian: boolean): DatasetParser {
    this.#dataset = new DatasetParser(implicit, bigEndian, this.#limits, this.#warnings);
    return this.#dataset;
  }

  async #inflate(chunk: Buffer): Promise<void> {
    if (this.#inflater) return this.#pump(this.#inflater.write(chunk));
    this.#head = Buffer.concat([this.#head as Buffer, chunk]);
    if (this.#head.length >= 8) await this.#startInflating(this.#head);
  }

  /** Decides what a data set that is declared to be deflated really is. */
  async #startInflating(head: Buffer): Promise<void> {
    this.#head = undefined;
    this.#consumer = this.#startDataset(false, false);
    if (startsDataset(head, 0)) {
      this.#warnings.attribute(0x00020010, 'The data set is not deflated, as the transfer syntax says (PS3.5 §A.5)');
      this.#transferSyntaxUID = EXPLICIT_VR_LITTLE_ENDIAN;
      this.#window.feed(head, this.#next);
      return;
    }
    const zlib = isZlib(head);
    if (zlib) this.#warnings.dataset('A zlib stream instead of raw deflate data (PS3.5 §A.5)');
    this.#inflater = new Inflater(zlib, this.#maxInflated, (piece) => void this.#window.feed(piece, this.#next));
    await this.#pump(this.#inflater.write(head));
  }

  async #pump(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#inflater?.close();
      if (!(error instanceof InflateError)) throw error;
      throw error.truncated
        ? truncated(this.#dataset, error)
        : malformed('The deflated data set is damaged (PS3.5 §A.5)', error);
    }
  }

  async #endInflated(): Promise<Scan> {
    if (this.#head) await this.#startInflating(this.#head);
    if (!this.#inflater) return this.#finish();
    await this.#pump(this.#inflater.end());
    this.#inflater.close();
    return this.#finish(this.#inflater.exceeded);
  }

  /** @param cut the rest of an inflated data set was not looked at */
  #finish(cut = false): Scan {
    const dataset = this.#dataset;
    // Too short for a preamble is not DICOM; otherwise the first bytes said that it is.
    if (!dataset) throw this.#size < PREAMBLE ? notDicom() : truncated();
    const { skip, held, position } = this.#window;
    if (cut) this.#warnings.dataset('Inflates to more than is looked at: what follows is not in the header');
    else if (skip > 0 && skip !== Number.POSITIVE_INFINITY) throw truncated(dataset);
    else if (held > 0) this.#checkRest(dataset, this.#window.rest());
    // Levels are closed in any case, so that the header is whole.
    if (!dataset.finish(position) && !cut) throw truncated(dataset);
    const header = dataset.root.dataset;
    const identity = identify(header, this.#warnings);
    this.#settleSyntax(dataset);
    this.#compareMeta(identity);
    return {
      ...identity,
      transferSyntaxUID: this.#transferSyntaxUID,
      datasetOffset: this.#datasetOffset,
      size: this.#size,
      header,
      bulk: dataset.bulk,
      frames: cut ? { kind: 'none' } : this.#frames(dataset),
      warnings: this.#warnings.list,
    };
  }

  /** Bytes after the last whole element. */
  #checkRest(dataset: DatasetParser, rest: Buffer): void {
    if (!dataset.atRoot || rest.length >= 8 || !(dataset.pixelsPassed || rest.every((byte) => byte === 0)))
      throw truncated(dataset);
    this.#warnings.dataset('Bytes after the data set that are not elements');
  }

  /** How the data set is really encoded, where that is not what group 0002 says: frames are read by it. */
  #settleSyntax({ root }: DatasetParser): void {
    const declared = transferSyntax(this.#transferSyntaxUID);
    if (!declared || declared.encapsulated || declared.deflated) return;
    if (root.implicit === declared.implicit && root.bigEndian === declared.bigEndian) return;
    this.#transferSyntaxUID = syntaxOf(root.implicit, root.bigEndian);
  }

  #compareMeta({ sopClassUID, sopInstanceUID }: Identity): void {
    const { mediaStorageSOPClassUID, mediaStorageSOPInstanceUID } = this.#meta;
    const rule = 'Differs from the data set, which counts (PS3.10 §7.1)';
    if (mediaStorageSOPClassUID && mediaStorageSOPClassUID !== sopClassUID) this.#warnings.attribute(0x00020002, rule);
    if (mediaStorageSOPInstanceUID && mediaStorageSOPInstanceUID !== sopInstanceUID)
      this.#warnings.attribute(0x00020003, rule);
  }

  #frames({ root, native, fragments, extended }: DatasetParser): FrameTable {
    const encapsulated = transferSyntax(this.#transferSyntaxUID)?.encapsulated;
    if (fragments) {
      if (encapsulated === false)
        this.#warnings.attribute(0x7fe00010, 'Encapsulated in a transfer syntax that is native (PS3.5 §A.4)');
      return encapsulatedFrames(root.dataset, this.#transferSyntaxUID, fragments, extended, this.#warnings);
    }
    if (!native) {
      if (root.dataset['00280010'] && root.dataset['00280100'])
        this.#warnings.attribute(0x7fe00010, 'Missing, though the header describes pixels (PS3.3 C.7.6.3)');
      return { kind: 'none' };
    }
    if (encapsulated)
      this.#warnings.attribute(0x7fe00010, 'Native in a transfer syntax that is encapsulated (PS3.5 §A.4)');
    return nativeFrames(root.dataset, native, this.#warnings);
  }
}

function metaConsumer(meta: FileMetaParser, parse: Consumer['parse']): Consumer {
  return {
    get need() {
      return meta.need;
    },
    get skip() {
      return meta.skip;
    },
    parse,
  };
}

function notDicom(): DagpacsError {
  return new DagpacsError('not-dicom', 'Not a DICOM file', {
    rule: 'A preamble of 128 bytes, then DICM (PS3.10 §7.1)',
  });
}

function truncated(dataset?: DatasetParser, cause?: unknown): DagpacsError {
  const { keyword, key } = lookup(dataset?.tag ?? 0);
  const subject = dataset && keyword ? { attribute: keyword, tag: key } : { attribute: 'DataSet' };
  const rule = 'The stream ends inside an element (PS3.5 §7.1)';
  return new DagpacsError('truncated', 'The instance is cut short', { ...subject, rule }, { cause });
}

function untold(): DagpacsError {
  return new DagpacsError('malformed-dataset', 'The data set cannot be parsed', {
    attribute: 'TransferSyntaxUID',
    tag: '00020010',
    rule: 'Type 1 (PS3.10 §7.1): it is missing or empty, and the first element does not tell how it is encoded',
  });
}

function malformed(rule: string, cause: unknown): DagpacsError {
  return new DagpacsError(
    'malformed-dataset',
    'The data set cannot be parsed',
    { attribute: 'DataSet', rule },
    { cause },
  );
}

/** True where the bytes at `at` are the first element of a data set, or of group 0002, beyond reasonable doubt. */
function startsDataset(buffer: Buffer, at: number): boolean {
  if (buffer.length - at < 8) return false;
  const bigEndian = buffer[at] === 0;
  const group = uint16(buffer, at, bigEndian);
  if (group !== 0x0002 && group !== 0x0008) return false;
  if (looksExplicit(buffer, at)) return true;
  return group === 0x0008 && uint32(buffer, at + 4, bigEndian) < 0x1000;
}

function syntaxOf(implicit: boolean, bigEndian: boolean): string {
  if (bigEndian) return EXPLICIT_VR_BIG_ENDIAN;
  return implicit ? IMPLICIT_VR_LITTLE_ENDIAN : EXPLICIT_VR_LITTLE_ENDIAN;
}

/** The transfer syntax that the first element shows (PS3.5 Annex A). */
function encodingOf(buffer: Buffer, at: number): string {
  return syntaxOf(!looksExplicit(buffer, at), buffer[at] === 0 && buffer[at + 1] !== 0);
}
