import { randomBytes } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import { encodeDataset } from '../../dicom/encode.ts';
import { writeFileMeta } from '../../dicom/meta.ts';
import type { DicomJson } from '../../dicom/model.ts';
import { NOTE_ORIGIN, type RejectionReason, rejectionNote } from '../../dicom/rejection-note.ts';
import { EXPLICIT_VR_LITTLE_ENDIAN } from '../../dicom/transfer-syntax.ts';
import { DagpacsError } from '../../kernel/errors.ts';
import type { Index, Version } from '../../ports/index.ts';

/** What is to be hidden: a study, a series or an instance. */
export interface RejectScope {
  studyInstanceUID: string;
  seriesInstanceUID?: string;
  sopInstanceUID?: string;
}

export interface RejectModules {
  index: Pick<Index, 'version' | 'instances' | 'details'>;
  /** The way in of every instance. */
  store(received: {
    bytes: AsyncIterable<Uint8Array>;
    from: string;
  }): Promise<{ outcome: string; error?: DagpacsError }>;
}

/**
 * Hides the current instances in scope from query and retrieval. When it resolves that is durable, and it is on its way to the
 * chain and the swarm. @returns how many there were
 * @throws DagpacsError `not-found`, `pushback`, `storage-failed`
 */
export type Reject = (scope: RejectScope, reason: RejectionReason, by: string) => Promise<number>;

/** References of one note: far below what a header may have. */
const PER_NOTE = 1000;

/**
 * A deletion is an instance too: a rejection note, which goes the way of all instances into the log. So it outlives what they
 * outlive: a crash, a new index, a rebuild from the chain; and it is proved as they are.
 */
export function createReject({ index, store }: RejectModules): Reject {
  return async (scope, reason, by) => {
    const versions = inScope(scope, index);
    const [first] = versions;
    if (!first) throw new DagpacsError('not-found', 'no such study, series or instance is held');
    const of = JSON.parse(zstdDecompressSync(index.details(first).header).toString()) as DicomJson;
    for (let at = 0; at < versions.length; at += PER_NOTE) {
      const instances = versions.slice(at, at + PER_NOTE);
      const note = noteOf({ instances, of, reason, studyInstanceUID: first.studyInstanceUID });
      const { outcome, error } = await store({ bytes: once(note), from: `${NOTE_ORIGIN}${by}` });
      if (outcome === 'refused') throw error ?? new DagpacsError('storage-failed', 'the deletion was not stored');
    }
    return versions.length;
  };
}

function inScope(scope: RejectScope, index: RejectModules['index']): Version[] {
  const { studyInstanceUID, seriesInstanceUID, sopInstanceUID } = scope;
  if (sopInstanceUID === undefined) return index.instances(studyInstanceUID, seriesInstanceUID);
  const version = index.version(sopInstanceUID);
  const same = version?.studyInstanceUID === studyInstanceUID && version.seriesInstanceUID === seriesInstanceUID;
  return version && same ? [version] : [];
}

function noteOf(about: {
  instances: Version[];
  of: DicomJson;
  reason: RejectionReason;
  studyInstanceUID: string;
}): Buffer {
  const note = rejectionNote({
    ...about,
    sopInstanceUID: newUID(),
    seriesInstanceUID: newUID(),
    at: new Date().toISOString(),
  });
  const [sopClassUID, sopInstanceUID] = ['00080016', '00080018'].map((tag) => String(note[tag]?.Value?.[0]));
  const meta = { sopClassUID: String(sopClassUID), sopInstanceUID: String(sopInstanceUID) };
  return Buffer.concat([
    writeFileMeta({ ...meta, transferSyntaxUID: EXPLICIT_VR_LITTLE_ENDIAN }),
    encodeDataset(note, { implicit: false, bigEndian: false }, 'ISO_IR 192'),
  ]);
}

/** A UID from a random number (PS3.5 B.2). */
function newUID(): string {
  return `2.25.${BigInt(`0x${randomBytes(16).toString('hex')}`)}`;
}

async function* once(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
