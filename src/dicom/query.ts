/** One matching rule (PS3.4 C.2.2.2); the query model is shared by QIDO-RS and C-FIND. */
export type Match =
  | { tag: string; kind: 'single'; value: string }
  | { tag: string; kind: 'wildcard'; pattern: string }
  | { tag: string; kind: 'uid-list'; values: string[] }
  /** Inclusive; either end may be open. */
  | { tag: string; kind: 'range'; from?: string; to?: string }
  /** Absent, or without a value (PS3.4 C.2.2.2.7). */
  | { tag: string; kind: 'empty' }
  /** One of several rules for the same attribute (PS3.4 C.2.2.2.8). */
  | { tag: string; kind: 'any'; of: Match[] }
  /**
   * A date (`tag`) and a time as one moment (combined date-time matching, PS3.4 C.2.2.2.5). Inclusive; the ends are
   * `YYYYMMDDHHMMSSFFFFFF`, and either may be open.
   */
  | { tag: string; timeTag: string; kind: 'moment'; from?: string; to?: string };

/** `patient` is one of C-FIND (PS3.4 C.6.1.1) and of dcm4chee's `/patients`. */
export type QueryLevel = 'patient' | 'study' | 'series' | 'instance';

/** By what results are put in order. */
export interface SortKey {
  tag: string;
  descending: boolean;
}

export interface Query {
  level: QueryLevel;
  studyInstanceUID?: string;
  seriesInstanceUID?: string;
  matches: Match[];
  /** Tags asked back beside the level's own; `all`: every attribute of the stored header that belongs to the level. */
  include: string[] | 'all';
  /** Who asks picks what {@link include} names: rows may have other attributes of the level, or lack them. */
  only?: boolean;
  /** The first counts most; what they leave equal is in the usual order. */
  order?: SortKey[];
  limit: number;
  offset: number;
  fuzzy: boolean;
}
