/** Settings of the codecs. */
export interface CodecOptions {
  /** Worker threads at most; they start when there is work. */
  threads: number;
  /** Jobs that may wait for a thread; one more is pushed back. */
  maxQueue: number;
  /** Milliseconds that one job may take; then its thread is ended. */
  timeoutMs: number;
  /** Bytes that one decoded frame may have. */
  maxFrameBytes: number;
  /** Bytes of memory for frames that may be kept for the next ones. */
  maxIdleBytes: number;
  /** Milliseconds without work after which a thread ends. */
  idleMs: number;
}

export const codecDefaults: CodecOptions = {
  threads: 2,
  maxQueue: 256,
  timeoutMs: 30_000,
  maxFrameBytes: 256 * 1024 * 1024,
  maxIdleBytes: 16 * 1024 * 1024,
  idleMs: 60_000,
};
