/** One matching rule (PS3.4 C.2.2.2); the query model is shared by QIDO-RS and C-FIND. */
export type Match =
  | { tag: string; kind: 'single'; value: string }
  | { tag: string; kind: 'wildcard'; pattern: string }
  | { tag: string; kind: 'uid-list'; values: string[] }
  /** Inclusive; either end may be open. */
  | { tag: string; kind: 'range'; from?: string; to?: string }
  /**
   * A date (`tag`) and a time as one moment (combined date-time matching, PS3.4 C.2.2.2.5). Inclusive; the ends are
   * `YYYYMMDDHHMMSSFFFFFF`, and either may be open.
   */
  | { tag: string; timeTag: string; kind: 'moment'; from?: string; to?: string };

/** `patient` is one of C-FIND only (PS3.4 C.6.1.1). */
export type QueryLevel = 'patient' | 'study' | 'series' | 'instance';

export interface Query {
  level: QueryLevel;
  studyInstanceUID?: string;
  seriesInstanceUID?: string;
  matches: Match[];
  /** Tags asked back beside the level's own; `all`: every attribute of the stored header that belongs to the level. */
  include: string[] | 'all';
  limit: number;
  offset: number;
  fuzzy: boolean;
}
