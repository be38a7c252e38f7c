import { promisify } from 'node:util';
import { constants, gzip, zstdDecompressSync } from 'node:zlib';
import type { DicomJson } from '../../dicom/model.ts';
import type { Index } from '../../ports/index.ts';
import type { Scope } from './served.ts';

const compress = promisify(gzip);

/** Memory for compressed bodies: some hundred series of a thousand instances. */
const CACHE_BYTES = 64 * 1024 * 1024;
/** Text joined into one chunk of an answer. */
const CHUNK_BYTES = 256 * 1024;

interface Cached {
  revision: number;
  body: Uint8Array;
}

/**
 * Metadata bodies (PS3.18 §10.4.1.1.2). The headers are kept as JSON text, so that an answer is joined and never parsed; the
 * compressed body of a study, series or instance is kept until its instances change.
 */
export class MetadataBodies {
  readonly #index: Index;
  readonly #cache = new Map<string, Cached>();
  readonly #making = new Map<string, Promise<Uint8Array>>();
  #bytes = 0;

  constructor(index: Index) {
    this.#index = index;
  }

  /** The body as chunks of UTF-8 text; empty array where nothing is in scope. */
  text(scope: Scope, base: string): Buffer[] {
    const chunks: Buffer[] = [];
    let part = '';
    for (const row of this.#headers(scope)) {
      part += part === '' && chunks.length === 0 ? '[' : ',';
      part += absolute(row, base);
      if (part.length >= CHUNK_BYTES) {
        chunks.push(Buffer.from(part));
        part = '';
      }
    }
    if (part === '' && chunks.length === 0) return [];
    chunks.push(Buffer.from(`${part}]`));
    return chunks;
  }

  /** Each instance's by itself. */
  documents(scope: Scope, base: string): (() => DicomJson)[] {
    return this.#headers(scope).map((row) => () => JSON.parse(absolute(row, base)) as DicomJson);
  }

  /** One instance is looked up by itself: its series may have thousands. */
  #headers({ studyInstanceUID, seriesInstanceUID, sopInstanceUID }: Scope): ReturnType<Index['headers']> {
    if (sopInstanceUID === undefined) return this.#index.headers(studyInstanceUID, seriesInstanceUID);
    const version = this.#index.version(sopInstanceUID);
    if (version?.studyInstanceUID !== studyInstanceUID || version.seriesInstanceUID !== seriesInstanceUID) return [];
    const { header } = this.#index.details(version);
    return [{ studyInstanceUID, seriesInstanceUID, sopInstanceUID, header }];
  }

  /** The body as one gzip stream (RFC 1952). Those who ask for the same at once share one compression. */
  async compressed(scope: Scope, base: string): Promise<Uint8Array> {
    const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = scope;
    const key = [studyInstanceUID, seriesInstanceUID, sopInstanceUID, base].join('\n');
    const revision = this.#index.revision(studyInstanceUID, seriesInstanceUID);
    const cached = this.#cache.get(key);
    if (cached?.revision === revision) {
      // Last used last, so that the first is the one to drop.
      this.#cache.delete(key);
      this.#cache.set(key, cached);
      return cached.body;
    }
    const makingKey = `${key}\n${revision}`;
    let making = this.#making.get(makingKey);
    if (!making) {
      making = compress(Buffer.concat(this.text(scope, base)), { level: constants.Z_BEST_SPEED })
        .then((body) => this.#remember(key, { revision, body }))
        .finally(() => this.#making.delete(makingKey));
      this.#making.set(makingKey, making);
    }
    return making;
  }

  #remember(key: string, entry: Cached): Uint8Array {
    this.#bytes -= this.#cache.get(key)?.body.length ?? 0;
    this.#cache.delete(key);
    this.#cache.set(key, entry);
    this.#bytes += entry.body.length;
    for (const [oldest, { body }] of this.#cache) {
      if (this.#bytes <= CACHE_BYTES) break;
      this.#cache.delete(oldest);
      this.#bytes -= body.length;
    }
    return entry.body;
  }
}

/** Quotes inside a JSON string are escaped, so this sequence stands only where the key itself does. */
const BULK = '"BulkDataURI":"bulk:';

function absolute(row: ReturnType<Index['headers']>[number], base: string): string {
  const text = zstdDecompressSync(row.header).toString();
  if (!text.includes(BULK)) return text;
  const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = row;
  const instance = `${base}/studies/${studyInstanceUID}/series/${seriesInstanceUID}/instances/${sopInstanceUID}`;
  return text.replaceAll(BULK, `"BulkDataURI":"${instance}/bulkdata`);
}
