import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { PixelLayout } from '../../dicom/pixels.ts';

/** Functions of the module that are used: numbers are pointers, sizes and flags. */
type Call = (...args: number[]) => number;
interface Exports {
  memory: WebAssembly.Memory;
  [name: string]: Call | WebAssembly.Memory;
}

export type Decoder = 'DecodeJpeg' | 'DecodeJpeg2000' | 'DecodeHtJpeg2000' | 'DecodeJpegXl';
export type Encoder = 'EncodeJpeg2000' | 'EncodeHtJpeg2000';

/** What the encoders are told; the module's own names. */
export interface EncoderParameters {
  ProgressionOrder?: number;
  Rate?: number;
  AllowMct?: number;
}

/** The module's enumeration of Photometric Interpretation; the coders only ask for RGB. */
const PHOTOMETRIC = ['MONOCHROME1', 'MONOCHROME2', 'PALETTE COLOR', 'RGB', 'YBR_FULL', 'YBR_FULL_422'];
/** Beyond this an instance is not kept: its memory never shrinks. */
const MAX_KEPT_BYTES = 512 * 1024 * 1024;

/**
 * The codecs of dcmjs-codecs (IJG for 8, 12 and 16 bits, OpenJPEG, OpenJPH, libjxl), called directly: its JavaScript
 * brings a copy of dcmjs along, which is not needed. An instance that has failed is dropped, since what it allocated is lost.
 */
export class NativeCodecs {
  readonly #module: WebAssembly.Module;
  #exports: Exports | undefined;

  constructor() {
    const path = createRequire(import.meta.url).resolve('dcmjs-codecs/build/dcmjs-native-codecs.wasm');
    this.#module = new WebAssembly.Module(readFileSync(path));
  }

  /** Decodes; `toRgb`: the IJG's colour conversion. @throws Error with the codec's message */
  decode(decoder: Decoder, bytes: Uint8Array, layout: PixelLayout, toRgb = false): Uint8Array {
    return this.#run((call, exports) => {
      const context = this.#context(call, layout);
      call('SetEncodedBufferSize', context, bytes.length);
      new Uint8Array(exports.memory.buffer).set(bytes, call('GetEncodedBuffer', context));
      const parameters = call('CreateDecoderParameters');
      call('SetConvertColorspaceToRgb', parameters, toRgb ? 1 : 0);
      call(decoder, context, parameters);
      call('ReleaseDecoderParameters', parameters);
      return this.#take(call, exports, context, 'Decoded');
    });
  }

  /** Encodes samples by pixel. @throws Error with the codec's message */
  encode(encoder: Encoder, pixels: Uint8Array, layout: PixelLayout, options: EncoderParameters = {}): Uint8Array {
    return this.#run((call, exports) => {
      const context = this.#context(call, layout);
      call('SetDecodedBufferSize', context, pixels.length);
      new Uint8Array(exports.memory.buffer).set(pixels, call('GetDecodedBuffer', context));
      const parameters = call('CreateEncoderParameters');
      for (const [name, value] of Object.entries(options)) call(`Set${name}`, parameters, value);
      call(encoder, context, parameters);
      call('ReleaseEncoderParameters', parameters);
      return this.#take(call, exports, context, 'Encoded');
    });
  }

  #run(work: (call: (name: string, ...args: number[]) => number, exports: Exports) => Uint8Array): Uint8Array {
    this.#exports ??= this.#instantiate();
    const exports = this.#exports;
    try {
      return work((name, ...args) => (exports[name] as Call)(...args), exports);
    } catch (error) {
      this.#exports = undefined;
      throw error;
    } finally {
      if (exports.memory.buffer.byteLength > MAX_KEPT_BYTES) this.#exports = undefined;
    }
  }

  #context(call: (name: string, ...args: number[]) => number, layout: PixelLayout): number {
    const context = call('CreateCodecsContext');
    call('SetColumns', context, layout.columns);
    call('SetRows', context, layout.rows);
    call('SetBitsAllocated', context, layout.bitsAllocated);
    call('SetBitsStored', context, layout.bitsStored);
    call('SetSamplesPerPixel', context, layout.samplesPerPixel);
    call('SetPixelRepresentation', context, layout.signed ? 1 : 0);
    call('SetPlanarConfiguration', context, layout.planar ? 1 : 0);
    call('SetPhotometricInterpretation', context, Math.max(1, PHOTOMETRIC.indexOf(layout.photometric)));
    return context;
  }

  #take(
    call: (name: string, ...args: number[]) => number,
    exports: Exports,
    context: number,
    which: 'Decoded' | 'Encoded',
  ): Uint8Array {
    const start = call(`Get${which}Buffer`, context);
    const result = new Uint8Array(exports.memory.buffer, start, call(`Get${which}BufferSize`, context)).slice();
    call('ReleaseCodecsContext', context);
    return result;
  }

  #instantiate(): Exports {
    let exports: Exports | undefined;
    const view = () => new DataView((exports as Exports).memory.buffer);
    const text = (at: number, length: number) =>
      Buffer.from((exports as Exports).memory.buffer, at, length).toString('latin1');
    const instance = new WebAssembly.Instance(this.#module, {
      env: {
        onCodecsException(at: number, length: number): never {
          throw new Error(text(at, length));
        },
        onCodecsInfo: () => {},
        onCodecsTrace: () => {},
        emscripten_notify_memory_growth: () => {},
      },
      wasi_snapshot_preview1: {
        proc_exit(code: number): never {
          throw new Error(`the codec ended with ${code}`);
        },
        clock_time_get: () => 0,
        // What a codec prints is taken and not shown: it may tell of the image.
        fd_write(_: number, vectors: number, count: number, written: number): number {
          let total = 0;
          for (let i = 0; i < count; i++) total += view().getUint32(vectors + 8 * i + 4, true);
          view().setUint32(written, total, true);
          return 0;
        },
        fd_close: () => 0,
        fd_seek: () => 0,
        environ_sizes_get(count: number, size: number): number {
          view().setUint32(count, 0, true);
          view().setUint32(size, 0, true);
          return 0;
        },
        environ_get: () => 0,
      },
    });
    exports = instance.exports as Exports;
    (exports._initialize as Call)();
    return exports;
  }
}
