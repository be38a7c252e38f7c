import { SegmentOpener, StreamLayout, type StreamParameters } from './sealed-stream.ts';

/** Reads bytes `start` (inclusive) to `end` (exclusive) of the sealed object. */
export type ReadSealed = (start: number, end: number) => Promise<Uint8Array>;

/** Segments per read, aligned so that a read of the default 256 KiB segments is half of a 1 MiB leaf and never spans two. */
const SEGMENTS_PER_READ = 2;

/** A sealed object that is being read: its header is read and its key derived once, for any number of ranges. */
export class Opener {
  /** Plaintext bytes. */
  readonly size: number;
  readonly #layout: StreamLayout;
  readonly #segments: SegmentOpener;
  readonly #sealedSize: number;
  readonly #read: ReadSealed;
  /** An object of one segment is read whole with its header, and kept until its first range. */
  #whole: Uint8Array | undefined;

  private constructor(
    key: Uint8Array,
    sealedSize: number,
    read: ReadSealed,
    start: Uint8Array,
    parameters: StreamParameters,
  ) {
    this.#layout = new StreamLayout(parameters);
    this.size = this.#layout.openedSize(sealedSize);
    this.#segments = new SegmentOpener(key, sealedSize, start, parameters);
    this.#sealedSize = sealedSize;
    this.#read = read;
    this.#whole = start.length === sealedSize ? start : undefined;
  }

  /**
   * @param key the object's key
   * @param sealedSize bytes of the sealed object, from its instance node
   * @throws DagpacsError `block-damaged` for an impossible length or header, and what `read` throws
   */
  static async open(
    key: Uint8Array,
    sealedSize: number,
    read: ReadSealed,
    parameters: StreamParameters = {},
  ): Promise<Opener> {
    const layout = new StreamLayout(parameters);
    layout.openedSize(sealedSize);
    const start = await read(0, sealedSize <= layout.segmentSize ? sealedSize : layout.headerSize);
    return new Opener(key, sealedSize, read, start, parameters);
  }

  /**
   * Plaintext bytes `start` (inclusive) to `end` (exclusive), opening only the segments that hold them; each is
   * authenticated before it is yielded. One read runs ahead of the consumer.
   * @throws DagpacsError `block-damaged` where a tag does not agree; RangeError for a range outside the object
   */
  async *range(start = 0, end = this.size): AsyncGenerator<Buffer, void, void> {
    if (!(start >= 0 && start <= end && end <= this.size)) throw new RangeError('range outside the object');
    if (start === end) return;
    const last = this.#layout.segmentOf(end - 1);
    let next: Group | undefined = this.#fetch(this.#layout.segmentOf(start), last);
    while (next) {
      const group: Group = next;
      const sealed = await group.bytes;
      next = group.after > last ? undefined : this.#fetch(group.after, last);
      for (let segment = group.first; segment < group.after; segment += 1) {
        const from = (segment - group.first) * this.#layout.segmentSize;
        const plain = this.#segments.open(segment, sealed.subarray(from, from + this.#layout.segmentSize));
        const base = this.#layout.plainStart(segment);
        yield plain.subarray(Math.max(0, start - base), Math.min(plain.length, end - base));
      }
    }
  }

  #fetch(first: number, last: number): Group {
    const after = Math.min(last + 1, first - (first % SEGMENTS_PER_READ) + SEGMENTS_PER_READ);
    const { segmentSize } = this.#layout;
    const whole = this.#whole;
    this.#whole = undefined;
    const bytes = whole
      ? Promise.resolve(whole)
      : this.#read(first * segmentSize, Math.min(after * segmentSize, this.#sealedSize));
    // The failure of a read ahead is thrown when its turn comes; a consumer that stops before that is not concerned.
    bytes.catch(() => {});
    return { first, after, bytes };
  }
}

interface Group {
  first: number;
  /** The segment after the group's last. */
  after: number;
  bytes: Promise<Uint8Array>;
}

/** {@link Opener.open} and {@link Opener.range} for an object of which one range is wanted. */
export async function* openRange(
  key: Uint8Array,
  sealedSize: number,
  read: ReadSealed,
  start: number,
  end: number,
  parameters: StreamParameters = {},
): AsyncGenerator<Buffer, void, void> {
  const opener = await Opener.open(key, sealedSize, read, parameters);
  yield* opener.range(start, end);
}
