import { parseContentType } from '../../dicom/accept.ts';
import { type BulkPart, type BulkSource, makeInstance, urisOf } from '../../dicom/make-instance.ts';
import type { DicomJson } from '../../dicom/model.ts';
import type { MultipartPart } from '../../dicom/multipart.ts';
import { readDicomJson } from '../../dicom/read-json.ts';
import { readNativeModel } from '../../dicom/read-native-model.ts';
import { DagpacsError, isDagpacsError } from '../../kernel/errors.ts';
import type { StorePart } from './store-parts.ts';

export const DICOM_JSON = 'application/dicom+json';
export const DICOM_XML = 'application/dicom+xml';
const DICOM = 'application/dicom';
/** Bytes of metadata that one part has. */
const MAX_METADATA = 32 * 1024 * 1024;
/** Bytes of bulk data that are held because they come before they are needed, or inside of a sequence. */
const MAX_HELD = 64 * 1024 * 1024;

interface Held {
  type: string;
  transferSyntaxUID: string | undefined;
  bytes: Buffer;
}

/**
 * The instances of a body of metadata and bulk data (PS3.18 §10.5.2), each as a part that makes its Part 10 file while it is
 * read. Bulk data that come in the order of the instances and their attributes pass through; others are held, within a bound.
 * @throws what the body throws, after the instances that could be made
 */
export async function* instancesOf(
  source: AsyncIterable<MultipartPart>,
  type: typeof DICOM_JSON | typeof DICOM_XML,
): AsyncGenerator<StorePart, void, undefined> {
  const parts = new Parts(source, type);
  try {
    for (let next = await parts.nextInstance(); next !== undefined; next = await parts.nextInstance()) {
      if (isDagpacsError(next)) {
        yield { headers: new Map(), body: nothing(), error: next };
        continue;
      }
      const uris = Object.values(next).flatMap((element) => [...urisOf(element)]);
      yield { headers: new Map([['content-type', DICOM]]), body: makeInstance(next, parts), ...identityOf(next) };
      parts.forget(uris);
    }
    if (parts.failure !== undefined) throw parts.failure;
  } finally {
    await parts.close();
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function identityOf(metadata: DicomJson): Pick<StorePart, 'sopClassUID' | 'sopInstanceUID'> {
  const [sopClassUID, sopInstanceUID] = ['00080016', '00080018'].map((tag) => metadata[tag]?.Value?.[0]);
  return {
    ...(typeof sopClassUID === 'string' && { sopClassUID }),
    ...(typeof sopInstanceUID === 'string' && { sopInstanceUID }),
  };
}

class Parts implements BulkSource {
  /** What ended the body before its time. */
  failure: unknown;
  readonly #source: AsyncIterator<MultipartPart>;
  readonly #type: string;
  readonly #instances: (DicomJson | DagpacsError)[] = [];
  /** URIs that some instance waits for. */
  readonly #wanted = new Set<string>();
  readonly #held = new Map<string, Held[]>();
  #heldBytes = 0;
  /** Of these, what the instance at hand has in memory. */
  #lent = 0;
  /** The bulk part that was read last, while its bytes are not. */
  #current: { uri: string; part: BulkPart } | undefined;
  #any = false;

  constructor(source: AsyncIterable<MultipartPart>, type: string) {
    this.#source = source[Symbol.asyncIterator]();
    this.#type = type;
  }

  async nextInstance(): Promise<DicomJson | DagpacsError | undefined> {
    while (this.#instances.length === 0 && (await this.#advance())) {
      // Bulk data that nobody waits for are passed over.
    }
    return this.#instances.shift();
  }

  /** Nothing more is wanted of these. */
  forget(uris: readonly string[]): void {
    this.#heldBytes -= this.#lent;
    this.#lent = 0;
    for (const uri of uris) {
      this.#wanted.delete(uri);
      for (const { bytes } of this.#held.get(uri) ?? []) this.#heldBytes -= bytes.length;
      this.#held.delete(uri);
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async look(uri: string): Promise<BulkPart | undefined> {
    for (;;) {
      const [held] = this.#held.get(uri) ?? [];
      if (held) return { ...held, size: held.bytes.length, bytes: once(held.bytes) };
      if (this.#current?.uri === uri) return this.#current.part;
      if (!(await this.#advance())) return undefined;
    }
  }

  async take(uri: string): Promise<BulkPart | undefined> {
    // Frames follow each other: after the first, what comes next is looked at and no further.
    const found = this.#wanted.has(uri) ? await this.look(uri) : await this.#another(uri);
    if (!found) return undefined;
    this.#wanted.delete(uri);
    const held = this.#held.get(uri)?.shift();
    if (held) this.#heldBytes -= held.bytes.length;
    else this.#current = undefined;
    return found;
  }

  async whole(uri: string): Promise<Buffer | undefined> {
    const part = await this.take(uri);
    if (!part) return undefined;
    const bytes = await collect(part.bytes, MAX_HELD - this.#heldBytes);
    this.#heldBytes += bytes.length;
    this.#lent += bytes.length;
    return bytes;
  }

  async #another(uri: string): Promise<BulkPart | undefined> {
    if (!this.#held.get(uri)?.length && this.#current === undefined) await this.#advance(uri);
    const [held] = this.#held.get(uri) ?? [];
    if (held) return { ...held, size: held.bytes.length, bytes: once(held.bytes) };
    return this.#current?.uri === uri ? this.#current.part : undefined;
  }

  /** Reads the next part: takes in the metadata that it is, or makes it the current one. False at the end. */
  async #advance(also?: string): Promise<boolean> {
    try {
      await this.#hold();
      const { done, value: part } = await this.#source.next();
      if (done) {
        if (!this.#any) throw malformed('a body has a part of metadata');
        return false;
      }
      await this.#read(part, also);
      return true;
    } catch (error) {
      this.failure ??= error;
      throw error;
    }
  }

  async #read(part: MultipartPart, also: string | undefined): Promise<void> {
    const media = parseContentType(part.headers.get('content-type') ?? '');
    if (part.error || media === undefined) {
      this.#instances.push(part.error ?? malformed('a part has a Content-Type'));
    } else if (media.type === this.#type || (media.type === 'application/json' && this.#type === DICOM_JSON)) {
      this.#any = true;
      await this.#readMetadata(part);
    } else {
      const uri = part.headers.get('content-location');
      const length = part.headers.get('content-length') ?? '';
      if (uri === undefined || !(this.#wanted.has(uri) || uri === also)) return;
      const size = /^\d{1,15}$/.test(length) ? Number(length) : undefined;
      const transferSyntaxUID = media.parameters.get('transfer-syntax');
      this.#current = { uri, part: { type: media.type, transferSyntaxUID, size, bytes: part.body } };
    }
  }

  async #readMetadata({ body }: MultipartPart): Promise<void> {
    const text = (await collect(body, MAX_METADATA)).toString();
    try {
      const found = this.#type === DICOM_JSON ? readDicomJson(text) : [readNativeModel(text)];
      for (const metadata of found) {
        this.#instances.push(metadata);
        for (const element of Object.values(metadata)) for (const uri of urisOf(element)) this.#wanted.add(uri);
      }
    } catch (error) {
      if (!isDagpacsError(error)) throw error;
      this.#instances.push(error);
    }
  }

  /** Keeps the current part, where it was not read, for who asks for it later. */
  async #hold(): Promise<void> {
    const { uri, part } = this.#current ?? {};
    this.#current = undefined;
    if (uri === undefined || part === undefined) return;
    const bytes = await collect(part.bytes, MAX_HELD - this.#heldBytes);
    this.#heldBytes += bytes.length;
    const { type, transferSyntaxUID } = part;
    this.#held.set(uri, [...(this.#held.get(uri) ?? []), { type, transferSyntaxUID, bytes }]);
  }
}

async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function collect(source: AsyncIterable<Uint8Array>, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > limit) {
      const rule = `metadata have at most ${MAX_METADATA} bytes, and bulk data out of order or in sequences ${MAX_HELD}`;
      throw new DagpacsError('too-large', 'The body asks for too much memory', { attribute: 'DataSet', rule });
    }
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks, size);
}

function malformed(rule: string): DagpacsError {
  const full = `${rule} (PS3.18 §10.5.2)`;
  return new DagpacsError('malformed-multipart', `The body breaks a rule: ${full}`, {
    attribute: 'Content-Type',
    rule: full,
  });
}
