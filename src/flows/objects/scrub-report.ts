/** A block or pin that was not as it should be, and could not be put right. */
export interface ScrubProblem {
  cid: string;
  /** `local`, or the name of the swarm's node. */
  where: string;
  problem: 'missing' | 'damaged';
}

/** What one pass over everything that is held has found so far. */
export interface ScrubReport {
  /** ISO 8601. */
  startedAt: string;
  /** ISO 8601; null while it goes on. */
  finishedAt: string | null;
  /** Versions whose blocks were looked at, of how many. */
  versions: number;
  ofVersions: number;
  /** Local blocks that were hashed, and their bytes. */
  blocks: number;
  bytes: number;
  /** Blocks that were dropped here because the swarm has them, and are there. */
  evicted: number;
  /** Local blocks that were missing or damaged and are put right. */
  repaired: number;
  /** Local blocks that are missing or damaged, and that nobody could give. */
  missing: number;
  damaged: number;
  /** Of blocks and pins on the swarm's nodes. */
  remote: {
    checked: number;
    /** Blocks that a node lacked or held damaged, and was given again. */
    restored: number;
    /** Blocks that a node lacks. */
    missing: number;
    /** Blocks that a node holds damaged, and that could not be put right there. */
    damaged: number;
    /** Pins that a node had lost; their batches are replicated again. */
    pinsLost: number;
    /** What could not be asked for, since the node did not answer. */
    unreachable: number;
  };
  /** Blocks that nothing refers to: of erased studies, and of uploads that were refused or broken off. Null before they were looked for. */
  orphaned: { blocks: number; bytes: number } | null;
  /** Bytes of them that were deleted at the end of the pass. */
  freed: number;
  /** The first 100. */
  problems: ScrubProblem[];
}

export interface ScrubStatus {
  /** `off`: only when it is asked for. */
  state: 'off' | 'resting' | 'running';
  current: ScrubReport | null;
  /** The last whole pass. */
  last: ScrubReport | null;
}

export interface Scrub {
  status(): ScrubStatus;
  /**
   * A whole pass now, at `rate` bytes a second (0: as fast as it goes), from the start or, with `resume`, from where one was
   * broken off. One that was asked for before is joined.
   * @returns how it stands, twice a second, and its end
   */
  run(rate: number, resume?: 'resume'): AsyncGenerator<ScrubReport, void>;
}

const MAX_PROBLEMS = 100;

export function newReport(ofVersions: number): ScrubReport {
  return {
    startedAt: new Date().toISOString(),
    finishedAt: null,
    versions: 0,
    ofVersions,
    blocks: 0,
    bytes: 0,
    evicted: 0,
    repaired: 0,
    missing: 0,
    damaged: 0,
    remote: { checked: 0, restored: 0, missing: 0, damaged: 0, pinsLost: 0, unreachable: 0 },
    orphaned: null,
    freed: 0,
    problems: [],
  };
}

export function noteProblem(report: ScrubReport, problem: ScrubProblem): void {
  if (report.problems.length < MAX_PROBLEMS) report.problems.push(problem);
}

/** Whether all is as it should be, or was put right. */
export function isSound({ missing, damaged, remote }: ScrubReport): boolean {
  return missing + damaged + remote.missing + remote.damaged === 0;
}
