import type { Readable } from 'node:stream';
import type {} from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import type { MultipartPart } from '../../dicom/multipart.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import { askForBody, STOW_MAX, tooLarge } from './plugins/request-body.ts';

/**
 * The files of an HTML form (RFC 7578); its other fields are passed over.
 * @throws DagpacsError `malformed-multipart`, `sender-aborted`, `too-large`
 */
export async function* formFiles(request: FastifyRequest, maxBytes: number): AsyncGenerator<MultipartPart> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge('Content-Length', maxBytes, STOW_MAX);
  let left = maxBytes;
  const count = (bytes: number) => {
    left -= bytes;
    if (left < 0) throw fail(tooLarge('body', maxBytes, STOW_MAX));
  };
  // A form that breaks off breaks off once, though its file and its list of parts both say so.
  let failure: DagpacsError | undefined;
  const fail = (cause: unknown) => {
    failure ??= cause instanceof DagpacsError ? cause : formError(cause, request);
    return failure;
  };
  let files = 0;
  try {
    askForBody(request.raw);
    for await (const part of request.parts()) {
      if (part.type !== 'file') continue;
      files++;
      const body = fileBytes(part.file, fail, count);
      yield { headers: new Map([['content-type', part.mimetype]]), body };
      // What the ingest left unread: the next part comes only after it.
      await body.return();
      part.file.resume();
    }
  } catch (cause) {
    throw fail(cause);
  }
  if (files === 0) throw malformed('a form has at least one file');
}

async function* fileBytes(
  file: Readable,
  fail: (cause: unknown) => DagpacsError,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    // To destroy the file would end the whole form.
    for await (const chunk of file.iterator({ destroyOnReturn: false })) {
      count(chunk.length);
      yield chunk;
    }
  } catch (cause) {
    throw fail(cause);
  }
}

function formError(cause: unknown, { raw }: FastifyRequest): DagpacsError {
  if (raw.destroyed && !raw.complete) {
    return new DagpacsError('sender-aborted', 'The sender went away before the last byte', {}, { cause });
  }
  return malformed('a form follows RFC 7578, to its last boundary', cause);
}

function malformed(rule: string, cause?: unknown): DagpacsError {
  return new DagpacsError('malformed-multipart', `The form breaks a rule: ${rule}`, { rule }, { cause });
}
