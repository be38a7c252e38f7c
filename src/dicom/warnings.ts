import { lookup } from './dictionary.ts';
import type { ScanWarning } from './model.ts';

const MAX_WARNINGS = 100;

/** What is wrong with an instance that is stored all the same: each rule once per attribute, and bounded. */
export class Warnings {
  readonly list: ScanWarning[] = [];
  #seen: Set<string> | undefined;

  /** About the data set as a whole. */
  dataset(rule: string): void {
    this.#add(rule, { attribute: 'DataSet', rule });
  }

  /** About the attribute with that tag. */
  attribute(tag: number, rule: string): void {
    const { key, keyword } = lookup(tag);
    this.#add(`${key} ${rule}`, { attribute: keyword || 'DataSet', tag: key, rule });
  }

  #add(id: string, warning: ScanWarning): void {
    this.#seen ??= new Set();
    if (this.list.length >= MAX_WARNINGS || this.#seen.has(id)) return;
    this.#seen.add(id);
    this.list.push(warning);
  }
}
