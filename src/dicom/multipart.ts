import { DagpacsError } from '../kernel/errors.ts';

/** One part of a multipart body. */
export interface MultipartPart {
  /** Field names in lower case. */
  headers: Map<string, string>;
  /**
   * The part's bytes, as slices of the source's chunks; read once, before the next part is asked for (what is left then
   * is passed over). It rejects where the body ends before the part does.
   */
  body: AsyncIterable<Uint8Array>;
  /** Why the part cannot be used although its end is known: its header breaks a rule. */
  error?: DagpacsError;
}

/** Bytes of one part's header, and of what stands before the first boundary or after a boundary on its line. */
const MAX_HEADER = 16 * 1024;
const MAX_PREAMBLE = 64 * 1024;
const MAX_PADDING = 256;
/** RFC 2046 §5.1.1: not ending in a space, and at most 70 of them; Orthanc's have 73. */
const BOUNDARY = /^[0-9A-Za-z'()+_,\-./:=? ]{0,255}[0-9A-Za-z'()+_,\-./:=?]$/;
const HEADER_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/;
const END_OF_HEADER = Buffer.from('\r\n\r\n');

function malformed(rule: string): DagpacsError {
  return new DagpacsError('malformed-multipart', `The multipart body breaks a rule: ${rule}`, { rule });
}

/**
 * Reads a multipart body (RFC 2046 §5.1) as it arrives. Nothing is copied but the few bytes at the end of a chunk that
 * might be the start of a boundary; backpressure is the reader's: the source is pulled only when bytes are asked for.
 * @param source the body; its errors pass through
 * @param boundary the Content-Type's parameter
 * @throws DagpacsError `malformed-multipart`, with the rule
 */
export async function* parseMultipart(
  source: AsyncIterable<Uint8Array>,
  boundary: string | undefined,
): AsyncGenerator<MultipartPart, void, undefined> {
  if (boundary === undefined || !BOUNDARY.test(boundary)) {
    throw malformed('Content-Type has a boundary of 1 to 256 characters (RFC 2046 §5.1.1)');
  }
  const reader = new MultipartReader(source[Symbol.asyncIterator](), boundary);
  try {
    await reader.skipPreamble();
    let parts = 0;
    while (await reader.startsPart()) {
      parts++;
      const { headers, error } = await reader.readHeader();
      const body = reader.body();
      yield { headers, body, ...(error && { error }) };
      await body.skip();
    }
    if (parts === 0) throw malformed('there is at least one part (RFC 2046 §5.1)');
  } finally {
    await reader.close();
  }
}

class MultipartReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #delimiter: Buffer;
  /** What was read from the source and not used yet. A line break in front lets the first boundary look like the others. */
  #rest: Buffer = Buffer.from('\r\n');

  constructor(source: AsyncIterator<Uint8Array>, boundary: string) {
    this.#source = source;
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  }

  async skipPreamble(): Promise<void> {
    let skipped = 0;
    for (;;) {
      const chunk = await this.chunkBeforeDelimiter('the body has its first boundary (RFC 2046 §5.1.1)');
      if (chunk === undefined) return;
      skipped += chunk.length;
      if (skipped > MAX_PREAMBLE) throw malformed(`the first boundary lies in the first ${MAX_PREAMBLE} bytes`);
    }
  }

  /** Reads what follows a boundary on its line: true where a part starts, false after the last one. */
  async startsPart(): Promise<boolean> {
    await this.#need(2, 'the last boundary is followed by "--" (RFC 2046 §5.1.1)');
    if (this.#rest[0] === 0x2d && this.#rest[1] === 0x2d) return false;
    for (let padding = 0; padding <= MAX_PADDING; padding++) {
      await this.#need(padding + 2, 'a boundary is followed by a line break (RFC 2046 §5.1.1)');
      const byte = this.#rest[padding];
      if (byte === 0x0d && this.#rest[padding + 1] === 0x0a) {
        this.#rest = this.#rest.subarray(padding); // The line break stays: it may be all there is of a header.
        return true;
      }
      if (byte !== 0x20 && byte !== 0x09) break;
    }
    throw malformed('nothing but white space follows a boundary on its line (RFC 2046 §5.1.1)');
  }

  /** Reads a part's header. Where it is broken, the rest of the part can still be passed over. */
  async readHeader(): Promise<{ headers: Map<string, string>; error?: DagpacsError }> {
    let from = 0;
    for (;;) {
      const end = this.#rest.indexOf(END_OF_HEADER, from);
      const header = end < 0 ? this.#rest : this.#rest.subarray(0, end);
      if (header.includes(this.#delimiter)) {
        return { headers: new Map(), error: malformed('a blank line ends the header of a part (RFC 2046 §5.1)') };
      }
      if (end > MAX_HEADER || (end < 0 && this.#rest.length > MAX_HEADER)) {
        return { headers: new Map(), error: malformed(`the header of a part has at most ${MAX_HEADER} bytes`) };
      }
      if (end >= 0) {
        const text = this.#rest.toString('latin1', 2, Math.max(2, end));
        // The line break before the body stays, since a delimiter begins with it: an empty part has no bytes between.
        this.#rest = this.#rest.subarray(end + 2);
        return parseHeader(text);
      }
      from = Math.max(0, this.#rest.length - END_OF_HEADER.length + 1);
      if (!(await this.#fill())) throw malformed('the header of a part is complete (RFC 2046 §5.1)');
    }
  }

  body(): PartBody {
    return new PartBody(this);
  }

  /** Passes over the line break that ends the header; a delimiter that begins with it stays. */
  async skipLineBreak(rule: string): Promise<void> {
    await this.#need(2, rule);
    const { length } = this.#delimiter;
    while (this.#rest.length < length && this.#rest.equals(this.#delimiter.subarray(0, this.#rest.length))) {
      if (!(await this.#fill())) throw malformed(rule);
    }
    const empty = this.#rest.length >= length && this.#rest.compare(this.#delimiter, 0, length, 0, length) === 0;
    if (!empty && this.#rest[0] === 0x0d && this.#rest[1] === 0x0a) this.#rest = this.#rest.subarray(2);
  }

  /** The next bytes before a boundary; undefined (and the boundary is passed) where there are none left. */
  async chunkBeforeDelimiter(rule: string): Promise<Buffer | undefined> {
    for (;;) {
      const at = this.#rest.indexOf(this.#delimiter);
      if (at === 0) {
        this.#rest = this.#rest.subarray(this.#delimiter.length);
        return undefined;
      }
      const sure = at > 0 ? at : this.#rest.length - this.#possibleStart();
      if (sure > 0) {
        const chunk = this.#rest.subarray(0, sure);
        this.#rest = this.#rest.subarray(sure);
        return chunk;
      }
      if (!(await this.#fill())) throw malformed(rule);
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  /** How many bytes at the end of what was read may be the beginning of a delimiter. */
  #possibleStart(): number {
    const { length } = this.#rest;
    let at = this.#rest.indexOf(0x0d, Math.max(0, length - this.#delimiter.length + 1));
    while (at >= 0) {
      if (this.#rest.compare(this.#delimiter, 0, length - at, at, length) === 0) return length - at;
      at = this.#rest.indexOf(0x0d, at + 1);
    }
    return 0;
  }

  async #need(bytes: number, rule: string): Promise<void> {
    while (this.#rest.length < bytes) if (!(await this.#fill())) throw malformed(rule);
  }

  async #fill(): Promise<boolean> {
    const { done, value } = await this.#source.next();
    if (done) return false;
    const chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    return true;
  }
}

/** A part's bytes: an iterator by hand, since leaving its loop early must not end the whole body. */
class PartBody implements AsyncIterableIterator<Uint8Array> {
  static readonly #rule = 'a boundary ends every part (RFC 2046 §5.1.1)';
  readonly #reader: MultipartReader;
  #state: 'new' | 'open' | 'ended' = 'new';
  #failure: unknown;

  constructor(reader: MultipartReader) {
    this.#reader = reader;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#state === 'ended') return { done: true, value: undefined };
    try {
      if (this.#state === 'new') {
        this.#state = 'open';
        await this.#reader.skipLineBreak(PartBody.#rule);
      }
      const chunk = await this.#reader.chunkBeforeDelimiter(PartBody.#rule);
      if (chunk !== undefined) return { done: false, value: chunk };
      this.#state = 'ended';
      return { done: true, value: undefined };
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  /** Passes over what is left. */
  async skip(): Promise<void> {
    while (!(await this.next()).done);
  }
}

function parseHeader(text: string): { headers: Map<string, string>; error?: DagpacsError } {
  const headers = new Map<string, string>();
  const unfolded = text.replace(/\r\n[ \t]+/g, ' ');
  for (const line of unfolded === '' ? [] : unfolded.split('\r\n')) {
    const match = HEADER_LINE.exec(line);
    if (match === null) {
      return { headers: new Map(), error: malformed('a header line of a part is "name: value" (RFC 5322 §2.2)') };
    }
    headers.set((match[1] ?? '').toLowerCase(), match[2] ?? '');
  }
  return { headers };
}
