import { promisify } from 'node:util';
import { brotliCompress, constants, gzip, zstdCompress, zstdDecompressSync } from 'node:zlib';
import type { DicomJson } from '../../dicom/model.ts';
import type { Index } from '../../ports/index.ts';
import { MadeOnce } from './made-once.ts';
import type { MetadataCoding, Scope } from './served.ts';

const [toGzip, toBrotli, toZstd] = [promisify(gzip), promisify(brotliCompress), promisify(zstdCompress)];

/** Fast rather than small: who asks waits for it. */
const COMPRESS: Record<MetadataCoding, (text: Buffer) => Promise<Buffer>> = {
  zstd: (text) => toZstd(text),
  gzip: (text) => toGzip(text, { level: constants.Z_BEST_SPEED }),
  br: (text) => toBrotli(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }),
};

/** Memory for compressed bodies: some hundred series of a thousand instances. */
const CACHE_BYTES = 64 * 1024 * 1024;
/** Text joined into one chunk of an answer. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Metadata bodies (PS3.18 §10.4.1.1.2). The headers are kept as JSON text, so that an answer is joined and never parsed; the
 * compressed body of a study, series or instance is made once for each state of its instances.
 */
export class MetadataBodies {
  readonly #index: Index;
  readonly #bodies = new MadeOnce(CACHE_BYTES);

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
  *documents(scope: Scope, base: string): Generator<DicomJson, undefined> {
    for (const row of this.#headers(scope)) yield JSON.parse(absolute(row, base)) as DicomJson;
  }

  /** One instance is looked up by itself: its series may have thousands. */
  #headers({ studyInstanceUID, seriesInstanceUID, sopInstanceUID }: Scope): ReturnType<Index['headers']> {
    if (sopInstanceUID === undefined) return this.#index.headers(studyInstanceUID, seriesInstanceUID);
    const version = this.#index.version(sopInstanceUID);
    if (version?.studyInstanceUID !== studyInstanceUID || version.seriesInstanceUID !== seriesInstanceUID) return [];
    const { header } = this.#index.details(version);
    return [{ studyInstanceUID, seriesInstanceUID, sopInstanceUID, header }];
  }

  /** The body as one gzip stream (RFC 1952). */
  compressed(scope: Scope, base: string, coding: MetadataCoding): Promise<Uint8Array> {
    const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = scope;
    const revision = this.#index.revision(studyInstanceUID, seriesInstanceUID);
    // A body of an earlier revision is asked for no more, and so is among the first to be dropped.
    const key = [studyInstanceUID, seriesInstanceUID, sopInstanceUID, base, coding, revision].join('\n');
    return this.#bodies.get(key, () => COMPRESS[coding](Buffer.concat(this.text(scope, base))));
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
