import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

interface FrameInfo {
  width: number;
  height: number;
  bitsPerSample: number;
  componentCount: number;
  isSigned: boolean;
}

/** An object of the module, which lies in its memory until it is deleted. */
interface Disposable {
  delete(): void;
}

interface Encoder extends Disposable {
  getDecodedBuffer(info: FrameInfo): Uint8Array;
  encode(): void;
  getEncodedBuffer(): Uint8Array;
}

interface CharLs {
  JpegLSDecoder: new () => Disposable & {
    getEncodedBuffer(size: number): Uint8Array;
    decode(): void;
    getDecodedBuffer(): Uint8Array;
  };
  JpegLSEncoder: new () => Encoder & { setNearLossless(value: number): void; setInterleaveMode(mode: number): void };
}

/** A module that has given more than this at once is not kept. */
const MAX_KEPT_BYTES = 32 * 1024 * 1024;

type Factory<Module> = (options: object) => Promise<Module>;

/** One of cornerstone's codecs. A module that has failed is made anew, since what it allocated is lost. */
class EmscriptenCodec<Module> {
  readonly #name: string;
  #module: Module | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  /** To be awaited before {@link use}. */
  async ready(): Promise<void> {
    if (this.#module) return;
    const create = require(`${this.#name}/wasmjs`) as Factory<Module>;
    const path = require.resolve(`${this.#name}/wasm`);
    // What a codec prints may tell of the image.
    this.#module = await create({ locateFile: () => path, print: () => {}, printErr: () => {} });
  }

  /** @throws Error where the codec does */
  use<T extends Disposable>(make: (module: Module) => T, work: (object: T) => Uint8Array): Uint8Array {
    if (!this.#module) throw new Error('the codec was not made ready');
    try {
      const object = make(this.#module);
      // The bytes lie in the module's memory, which the next one uses again.
      const result = new Uint8Array(work(object));
      object.delete();
      // Its memory never shrinks.
      if (result.length > MAX_KEPT_BYTES) this.#module = undefined;
      return result;
    } catch (error) {
      this.#module = undefined;
      // Exceptions of C++ are no errors.
      throw error instanceof Error ? error : new Error('the codec failed');
    }
  }
}

const BY_LINE = 1;
const BY_SAMPLE = 2;

/** JPEG-LS by CharLS, three times as fast as the build in dcmjs-codecs. */
export class JpegLs {
  readonly #codec = new EmscriptenCodec<CharLs>('@cornerstonejs/codec-charls');

  ready(): Promise<void> {
    return this.#codec.ready();
  }

  decode(bytes: Uint8Array): Uint8Array {
    return this.#codec.use(
      ({ JpegLSDecoder }) => new JpegLSDecoder(),
      (decoder) => {
        decoder.getEncodedBuffer(bytes.length).set(bytes);
        decoder.decode();
        return decoder.getDecodedBuffer();
      },
    );
  }

  /** Lossless, of samples by pixel. */
  encode(pixels: Uint8Array, info: FrameInfo): Uint8Array {
    return this.#codec.use(
      ({ JpegLSEncoder }) => new JpegLSEncoder(),
      (encoder) => {
        encoder.getDecodedBuffer(info).set(pixels);
        encoder.setNearLossless(0);
        encoder.setInterleaveMode(info.componentCount === 1 ? 0 : info.bitsPerSample > 8 ? BY_LINE : BY_SAMPLE);
        encoder.encode();
        return encoder.getEncodedBuffer();
      },
    );
  }
}
