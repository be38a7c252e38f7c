import { Worker } from 'node:worker_threads';
import { undecodable } from '../../dicom/pixels.ts';
import type { ColourProfile, Rendering } from '../../dicom/rendering.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Log } from '../../kernel/log.ts';
import type { Codecs, CodedFrame } from '../../ports/codecs.ts';
import { convertColours, planProfile, withProfile } from './colour-profile.ts';
import type { Job, Outcome } from './job.ts';
import { encodeJpeg } from './jpeg.ts';
import { FrameMemory } from './memory.ts';
import type { CodecOptions } from './options.ts';

interface Waiting {
  job: Job;
  resolve(bytes: Uint8Array): void;
  reject(error: Error): void;
}

/** Images that are encoded at one time. */
const MAX_ENCODING = 8;
/** Bytes of their samples. */
const MAX_ENCODING_BYTES = 64 * 1024 * 1024;

/** The codecs on a few threads that start when there is work. A thread that crashes or takes too long is replaced. */
export function openCodecs(options: CodecOptions, modules: { log: Log }): Codecs {
  const queue: Waiting[] = [];
  const threads = new Set<Thread>();
  /** Images that are being encoded: each is held whole, so that threads wait where there are too many. */
  let encoding = 0;
  let encodingBytes = 0;
  let closed = false;

  function next(): void {
    const idle = [...threads].find((thread) => thread.idle);
    const full = encoding >= MAX_ENCODING || encodingBytes >= MAX_ENCODING_BYTES;
    if (queue.length === 0 || full || (!idle && threads.size >= options.threads)) return;
    const thread = idle ?? start();
    thread.take(queue.shift() as Waiting);
    next();
  }

  function start(): Thread {
    const thread = new Thread(options, modules.log, next, () => {
      threads.delete(thread);
      next();
    });
    threads.add(thread);
    return thread;
  }

  function run(job: Job): Promise<Uint8Array> {
    if (closed || queue.length >= options.maxQueue)
      return Promise.reject(new DagpacsError('pushback', 'More images wait for a codec than a setting allows'));
    return new Promise((resolve, reject) => {
      queue.push({ job, resolve, reject });
      next();
    });
  }

  const { maxFrameBytes: maxBytes } = options;
  const memory = new FrameMemory(options.maxIdleBytes);

  /** Images with a profile, which few ask for: what has its own colours already is not converted. */
  async function renderWithProfile(
    frames: CodedFrame[],
    rendering: Rendering,
    profile: ColourProfile,
  ): Promise<Uint8Array> {
    const { icc, convertTo } = await planProfile(profile);
    const made = await run({
      kind: 'render',
      frames: frames.map(owned),
      rendering: convertTo ? { ...rendering, format: 'image/png' } : rendering,
      icc,
      maxBytes,
    });
    if (convertTo) return counted(made.length, () => convertColours(made, convertTo, rendering));
    if (rendering.format !== 'image/jpeg' || !icc) return made;
    return withProfile(await jpeg(made, rendering), icc);
  }

  async function counted<T>(bytes: number, encode: () => Promise<T>): Promise<T> {
    encoding++;
    encodingBytes += bytes;
    try {
      return await encode();
    } finally {
      encoding--;
      encodingBytes -= bytes;
      next();
    }
  }

  async function jpeg(samples: Uint8Array, { width, height, quality }: Rendering): Promise<Uint8Array> {
    try {
      return await counted(samples.length, () => encodeJpeg(samples, width, height, quality));
    } finally {
      memory.giveBack(samples);
    }
  }

  return {
    memory: (size) => memory.take(size),
    decode: (frame) => run({ kind: 'decode', frame: owned(frame), maxBytes }),
    transcode: (frame, transferSyntaxUID) =>
      run({ kind: 'transcode', frame: owned(frame), transferSyntaxUID, maxBytes }),
    async render(frames, rendering) {
      if (rendering.profile) return renderWithProfile(frames, rendering, rendering.profile);
      const made = await run({ kind: 'render', frames: frames.map(owned), rendering, maxBytes });
      return rendering.format === 'image/jpeg' ? jpeg(made, rendering) : made;
    },
    async close() {
      closed = true;
      for (const { reject } of queue.splice(0)) reject(new DagpacsError('pushback', 'The bridge is stopping'));
      await Promise.all([...threads].map((thread) => thread.end()));
    },
  };
}

/** Bytes that can be handed to a thread: a view of a shared buffer would take the others' bytes along. */
function owned(frame: CodedFrame): CodedFrame {
  const { bytes } = frame;
  // Copied, not sliced: a Buffer's slice is another view.
  const whole = bytes.length === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
  return { ...frame, bytes: whole ? new Uint8Array(bytes.buffer) : new Uint8Array(bytes) };
}

class Thread {
  readonly #worker: Worker;
  readonly #options: CodecOptions;
  readonly #log: Log;
  readonly #done: () => void;
  readonly #exited: Promise<void>;
  #current: Waiting | undefined;
  #timer: NodeJS.Timeout | undefined;
  #late = false;
  #ending = false;

  constructor(options: CodecOptions, log: Log, done: () => void, gone: () => void) {
    this.#options = options;
    this.#log = log;
    this.#done = done;
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), { execArgv: [], stdout: true, stderr: true });
    this.#worker.unref();
    this.#worker.on('message', (outcome: Outcome) => this.#answer(outcome));
    // The exit that follows is what counts.
    this.#worker.on('error', (error) => this.#log.warn('codec-thread-failed', { reason: error.name }));
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        clearTimeout(this.#timer);
        const rule = this.#late ? 'A frame that its codec reads in time' : 'A frame that its codec can read';
        this.#current?.reject(undecodable(rule));
        this.#current = undefined;
        resolve();
        gone();
      });
    });
  }

  get idle(): boolean {
    return this.#current === undefined && !this.#ending;
  }

  take(waiting: Waiting): void {
    clearTimeout(this.#timer);
    this.#current = waiting;
    this.#worker.ref();
    this.#timer = setTimeout(() => {
      this.#late = true;
      void this.end();
    }, this.#options.timeoutMs);
    const { job } = waiting;
    const frames = job.kind === 'render' ? job.frames : [job.frame];
    this.#worker.postMessage(job, [...new Set(frames.map(({ bytes }) => bytes.buffer as ArrayBuffer))]);
  }

  async end(): Promise<void> {
    this.#ending = true;
    await this.#worker.terminate();
    await this.#exited;
  }

  #answer(outcome: Outcome): void {
    clearTimeout(this.#timer);
    const waiting = this.#current;
    this.#current = undefined;
    this.#worker.unref();
    this.#timer = setTimeout(() => void this.end(), this.#options.idleMs).unref();
    if (outcome.ok) waiting?.resolve(outcome.bytes);
    else waiting?.reject(new DagpacsError(outcome.code, outcome.message, outcome.subject));
    this.#done();
  }
}
