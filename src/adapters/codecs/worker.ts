import { parentPort } from 'node:worker_threads';
import { compressionOf, JPEG_LS_LOSSLESS } from '../../dicom/compression.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import { makeCoders } from './coders.ts';
import { decodeFrame } from './decode.ts';
import { transcodeFrame } from './encode.ts';
import type { Job, Outcome } from './job.ts';
import { discard } from './memory.ts';
import { renderFrames } from './render.ts';

const coders = makeCoders();

async function perform(job: Job): Promise<Uint8Array> {
  const frames = job.kind === 'render' ? job.frames : [job.frame];
  const jpegLs =
    (job.kind === 'transcode' && job.transferSyntaxUID === JPEG_LS_LOSSLESS) ||
    frames.some(({ transferSyntaxUID }) => compressionOf(transferSyntaxUID) === 'jpeg-ls');
  // Loaded when it is first needed.
  if (jpegLs) await coders.jpegLs.ready();
  if (job.kind === 'decode') {
    const { bytes } = job.frame;
    const pixels = decodeFrame(coders, job.frame, job.maxBytes);
    if (pixels.buffer !== bytes.buffer) discard(bytes);
    return pixels;
  }
  if (job.kind === 'transcode') return transcodeFrame(coders, job.frame, job.transferSyntaxUID, job.maxBytes);
  return renderFrames(coders, job);
}

function isFrameMemory(job: Job, { buffer }: Uint8Array): boolean {
  return job.kind === 'render' && job.frames[0]?.bytes.buffer === buffer;
}

// Every message is one job, answered before the next is sent. What is no DagpacsError ends the thread, which is replaced.
parentPort?.on('message', async (job: Job) => {
  let outcome: Outcome;
  try {
    const bytes = await perform(job);
    // A part of a larger buffer would take all of it along; a Buffer's own slice would be one. Samples that lie in the
    // frame's memory go back in it, for the next frame.
    const whole = bytes.length === bytes.buffer.byteLength || isFrameMemory(job, bytes);
    outcome = { ok: true, bytes: whole ? bytes : new Uint8Array(bytes) };
  } catch (error) {
    if (!isDagpacsError(error)) throw error;
    outcome = { ok: false, code: error.code, message: error.message, subject: error.subject };
  }
  parentPort?.postMessage(outcome, outcome.ok ? [outcome.bytes.buffer as ArrayBuffer] : []);
});
