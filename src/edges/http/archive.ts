import { randomUUID } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { chooseRepresentation, type MediaRange, type Representation } from '../../dicom/accept.ts';
import type { MakeFileSet } from '../../flows/serve/file-set.ts';
import type { Scope } from '../../flows/serve/served.ts';
import type { Log } from '../../kernel/log.ts';
import { sendStream } from './send.ts';
import { zipOf, zipSize } from './zip.ts';

export const ZIP: Representation = { multipart: false, type: 'application/zip' };

/** True where the client would rather have an archive than any of `others`; one that takes anything gets those. */
export function prefersArchive(accepted: readonly MediaRange[], others: readonly Representation[]): boolean {
  return chooseRepresentation(accepted, [...others, ZIP]) === ZIP;
}

/** Sends what is in scope as a ZIP archive with a DICOMDIR (PS3.18 §8.7.3, PS3.10 §8). */
export async function sendArchive(
  reply: FastifyReply,
  log: Log,
  scope: Scope,
  make: MakeFileSet,
): Promise<FastifyReply> {
  const files = (await make(scope, newUID())).map(({ fileID, ...file }) => ({ ...file, name: fileID.join('/') }));
  const name = scope.sopInstanceUID ?? scope.seriesInstanceUID ?? scope.studyInstanceUID;
  reply.header('content-type', ZIP.type).header('content-disposition', `attachment; filename="${name}.zip"`);
  return sendStream(reply, log, zipOf(files), zipSize(files));
}

/** A UID that nobody else has (PS3.5 §B.2). */
function newUID(): string {
  return `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`;
}
