import type { Position } from '../../ports/blocks.ts';
import type { Connection } from './database.ts';

/** The cursor and the counters that are kept, so that nothing is counted when it is asked for. */
export interface State extends Position {
  studies: number;
  series: number;
  instances: number;
  versions: number;
  /** Versions in no batch. */
  pending: number;
  /** Versions by furthest stage; what is left of `versions` is stored only. */
  replicated: number;
  anchored: number;
  final: number;
}

/** The state row as the open transaction sees it: changed in memory, written once before the commit. */
export class StateRow {
  readonly #writer: Connection;
  #row: State | undefined;
  #dirty = false;

  constructor(writer: Connection) {
    this.#writer = writer;
  }

  /** For reading only. */
  get current(): Readonly<State> {
    this.#row ??= readState(this.#writer);
    return this.#row;
  }

  change(counter: Exclude<keyof State, 'pack' | 'offset'>, by: number): void {
    this.#row ??= readState(this.#writer);
    this.#row[counter] += by;
    this.#dirty = true;
  }

  /** Moves the cursor; never back, since what lies before it is held. */
  moveTo(next: Position): void {
    this.#row ??= readState(this.#writer);
    const row = this.#row;
    if (next.pack < row.pack || (next.pack === row.pack && next.offset <= row.offset)) return;
    row.pack = next.pack;
    row.offset = next.offset;
    this.#dirty = true;
  }

  flush(): void {
    if (!this.#dirty || !this.#row) return;
    const s = this.#row;
    this.#writer.run(
      `UPDATE state SET pack = ?, offset = ?, studies = ?, series = ?, instances = ?, versions = ?, pending = ?,
        replicated = ?, anchored = ?, final = ? WHERE id = 1`,
      s.pack,
      s.offset,
      s.studies,
      s.series,
      s.instances,
      s.versions,
      s.pending,
      s.replicated,
      s.anchored,
      s.final,
    );
    this.#dirty = false;
  }

  forget(): void {
    this.#row = undefined;
    this.#dirty = false;
  }
}

/** The state row as the connection sees it. */
export function readState(connection: Connection): State {
  return connection.get('SELECT * FROM state WHERE id = 1') as unknown as State;
}
