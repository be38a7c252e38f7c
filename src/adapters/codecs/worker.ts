import { parentPort } from 'node:worker_threads';
import { isDagpacsError } from '../../kernel/errors.ts';
import { decodeFrame } from './decode.ts';
import { transcodeFrame } from './encode.ts';
import type { Job, Outcome } from './job.ts';
import { NativeCodecs } from './native.ts';
import { renderFrames } from './render.ts';

const native = new NativeCodecs();

function perform(job: Job): Uint8Array {
  if (job.kind === 'decode') return decodeFrame(native, job.frame, job.maxBytes);
  if (job.kind === 'transcode') return transcodeFrame(native, job.frame, job.transferSyntaxUID, job.maxBytes);
  return renderFrames(native, job.frames, job.rendering, job.maxBytes);
}

// Every message is one job, answered before the next is sent. What is no DagpacsError ends the thread, which is replaced.
parentPort?.on('message', (job: Job) => {
  let outcome: Outcome;
  try {
    const bytes = perform(job);
    // A part of a larger buffer would take all of it along; a Buffer's own slice would be one.
    outcome = { ok: true, bytes: bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes) };
  } catch (error) {
    if (!isDagpacsError(error)) throw error;
    outcome = { ok: false, code: error.code, message: error.message, subject: error.subject };
  }
  parentPort?.postMessage(outcome, outcome.ok ? [outcome.bytes.buffer as ArrayBuffer] : []);
});
