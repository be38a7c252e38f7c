/** 32 random bytes, the root of all that is derived for a study (`crypto/study-key.ts`). */
export type StudyKey = Uint8Array;

/** The erasable store of study keys. */
export interface Vault {
  /** The study's key; made, and durable, before the promise resolves. @throws DagpacsError `storage-failed` */
  ensure(studyInstanceUID: string): Promise<StudyKey>;
  /** The study's key, or undefined where there is none (any more). */
  find(studyInstanceUID: string): Promise<StudyKey | undefined>;
  /** Destroys the study's key; it is gone for good when the promise resolves. None is no failure. @throws DagpacsError `storage-failed` */
  erase(studyInstanceUID: string): Promise<void>;
  /** Every key held, in no order: for a rebuild, which knows studies by reference only. */
  all(): AsyncIterable<StudyKey>;
  /** The key of this installation named `name`, made at first use: for what belongs to no study. */
  installationKey(name: string): Promise<Uint8Array>;
}
