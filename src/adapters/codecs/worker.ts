import { parentPort } from 'node:worker_threads';
import { compressionOf, JPEG_LS_LOSSLESS } from '../../dicom/compression.ts';
import { isDagpacsError } from '../../kernel/errors.ts';
import { makeCoders, readyFor } from './coders.ts';
import { decodeFrame } from './decode.ts';
import { transcodeFrame } from './encode.ts';
import type { Job, Outcome } from './job.ts';
import { renderFrames } from './render.ts';

const coders = makeCoders();

async function perform(job: Job): Promise<Uint8Array> {
  const frames = job.kind === 'render' ? job.frames : [job.frame];
  await readyFor(coders, {
    jpegLs:
      (job.kind === 'transcode' && job.transferSyntaxUID === JPEG_LS_LOSSLESS) ||
      frames.some(({ transferSyntaxUID }) => compressionOf(transferSyntaxUID) === 'jpeg-ls'),
    ...(job.kind === 'render' && { format: job.rendering.format }),
  });
  if (job.kind === 'decode') return decodeFrame(coders, job.frame, job.maxBytes);
  if (job.kind === 'transcode') return transcodeFrame(coders, job.frame, job.transferSyntaxUID, job.maxBytes);
  return renderFrames(coders, job.frames, job.rendering, job.maxBytes);
}

// Every message is one job, answered before the next is sent. What is no DagpacsError ends the thread, which is replaced.
parentPort?.on('message', async (job: Job) => {
  let outcome: Outcome;
  try {
    const bytes = await perform(job);
    // A part of a larger buffer would take all of it along; a Buffer's own slice would be one.
    outcome = { ok: true, bytes: bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes) };
  } catch (error) {
    if (!isDagpacsError(error)) throw error;
    outcome = { ok: false, code: error.code, message: error.message, subject: error.subject };
  }
  parentPort?.postMessage(outcome, outcome.ok ? [outcome.bytes.buffer as ArrayBuffer] : []);
});
