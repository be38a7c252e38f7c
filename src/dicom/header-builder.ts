import { type Level, pathOf } from './level.ts';
import type { BulkValue, DicomElement } from './model.ts';
import type { ValueRepresentation } from './vr.ts';
import type { Warnings } from './warnings.ts';

/** What the header may take; see `ScanOptions`. */
export interface HeaderLimits {
  maxInlineBinary: number;
  maxInlineText: number;
  maxHeaderBytes: number;
  maxElements: number;
  maxDepth: number;
}

const MORE = 'More elements than the header shows';
const URI = 'bulk:/';

/** Puts attributes into the header, as values or as places of bulk data, within its limits. */
export class HeaderBuilder {
  readonly bulk: Record<string, BulkValue> = {};
  #bytes = 0;
  /** Attributes of the data set itself, and what lies in its sequences: the one never takes the room of the other. */
  #own = 0;
  #nested = 0;
  readonly #limits: HeaderLimits;
  readonly #warnings: Warnings;

  constructor(limits: HeaderLimits, warnings: Warnings) {
    this.#limits = limits;
    this.#warnings = warnings;
  }

  /** True where a value of that length goes into the header. Short ones do even when the header is full: UIDs are among them. */
  fits({ kind }: ValueRepresentation, length: number): boolean {
    const { maxInlineBinary, maxInlineText, maxHeaderBytes } = this.#limits;
    if (length > (kind === 'bytes' ? maxInlineBinary : maxInlineText)) return false;
    return length <= 64 || this.#bytes + length <= maxHeaderBytes;
  }

  /** Adds an attribute to the data set that `level` is. @returns false where it stays out */
  keep(level: Level, tag: number, key: string, element: DicomElement, length = 0): boolean {
    if (level.dropped) return false;
    if (tag <= level.last) {
      if (level.dataset[key]) {
        this.#warnings.attribute(tag, 'More than once in a data set; the first counts (PS3.5 §7.1)');
        return false;
      }
      this.#warnings.dataset('Attributes are not in ascending order (PS3.5 §7.1)');
      level.unordered = true;
    } else level.last = tag;
    if (!this.#room(level)) return false;
    this.#bytes += length;
    level.dataset[key] = element;
    return true;
  }

  /** Adds an attribute whose value stays in the object. @returns its path, where it was added and is not empty */
  keepBulk(level: Level, tag: number, key: string, vr: string, offset: number, length: number): string | undefined {
    if (level.dropped) return undefined;
    const path = pathOf(level, key);
    if (!this.keep(level, tag, key, { vr, BulkDataURI: URI + path })) return undefined;
    this.bulk[path] = { vr, offset, length };
    return path;
  }

  /** A sequence that was added: where it is too deep or too much, it becomes bulk data, and its items are not kept. */
  limitSequence(parent: Level, sequence: Level, tag: number, element: DicomElement): void {
    const { maxDepth, maxElements } = this.#limits;
    if (sequence.depth <= maxDepth && this.#nested < maxElements) return;
    this.#warnings.attribute(tag, sequence.depth > maxDepth ? 'Nested deeper than the header shows' : MORE);
    // Readers of JSON have limits of their own: beyond ours a sequence is there as its bytes only.
    const path = pathOf(parent, sequence.key);
    element.vr = 'UN';
    element.BulkDataURI = URI + path;
    this.bulk[path] = { vr: 'UN', offset: sequence.start, length: 0 };
    sequence.dropped = true;
  }

  /** Adds an item to the sequence that `level` is. */
  keepItem(level: Level, item: Level): void {
    if (level.dropped) return;
    if (this.#room(item)) level.items.push(item.dataset);
    else item.dropped = true;
  }

  /** A sequence has ended at `position`: sets its items, or how long it is as bulk data. */
  endSequence({ element, items, start }: Level, position: number): void {
    if (element?.BulkDataURI) {
      const value = this.bulk[element.BulkDataURI.slice(URI.length)];
      if (value) value.length = position - start;
    } else if (element && items.length > 0) element.Value = items;
  }

  /** Counts an element or item at `level`; past the limit there is no room for any. */
  #room({ parent }: Level): boolean {
    const count = parent ? ++this.#nested : ++this.#own;
    if (count <= this.#limits.maxElements) return true;
    this.#warnings.dataset(MORE);
    return false;
  }
}
