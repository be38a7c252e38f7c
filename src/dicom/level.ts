import { DEFAULT_CHARACTER_SET, type SpecificCharacterSet } from './charset.ts';
import type { DicomElement, DicomJson, DicomValue } from './model.ts';

/** One open sequence or data set (the root or an item) while a stream is parsed: the parser's own stack, never recursion. */
export interface Level {
  parent: Level | undefined;
  depth: number;
  sequence: boolean;
  /** Offset at which it ends at the latest; Infinity where nothing says so. */
  end: number;
  /** Ends with a delimiter rather than by length. */
  delimited: boolean;
  implicit: boolean;
  bigEndian: boolean;
  /** Its first element has been looked at for the encoding that it really has. */
  checked: boolean;
  /** Nothing of it is kept in the header. */
  dropped: boolean;
  charset: SpecificCharacterSet;
  /** Attributes of a data set. */
  dataset: DicomJson;
  /** Tag of the last attribute, as a number. */
  last: number;
  /** Attributes came out of order. */
  unordered: boolean;
  /** Private creators by group * 256 + block (PS3.5 §7.8.1). */
  creators: Map<number, string> | undefined;
  /** Of a sequence: its attribute, where it lies, and its items as far as they came. */
  element: DicomElement | undefined;
  key: string;
  start: number;
  items: DicomValue[];
}

export function rootLevel(implicit: boolean, bigEndian: boolean): Level {
  return {
    parent: undefined,
    depth: 0,
    sequence: false,
    end: Number.POSITIVE_INFINITY,
    delimited: false,
    implicit,
    bigEndian,
    checked: false,
    dropped: false,
    charset: DEFAULT_CHARACTER_SET,
    dataset: {},
    last: -1,
    unordered: false,
    creators: undefined,
    element: undefined,
    key: '',
    start: 0,
    items: [],
  };
}

/** A level inside `parent`, from `start` on; `length` undefined where a delimiter ends it. */
export function childLevel(parent: Level, sequence: boolean, start: number, length: number | undefined): Level {
  return {
    parent,
    depth: parent.depth + (sequence ? 1 : 0),
    sequence,
    end: length === undefined ? parent.end : Math.min(parent.end, start + length),
    delimited: length === undefined,
    implicit: parent.implicit,
    bigEndian: parent.bigEndian,
    checked: sequence,
    dropped: parent.dropped,
    charset: parent.charset,
    dataset: {},
    last: -1,
    unordered: false,
    creators: undefined,
    element: undefined,
    key: '',
    start,
    items: [],
  };
}

/** `TAG/item/TAG…` of an attribute of `level`, items counted from 1. */
export function pathOf(level: Level, key: string): string {
  const parts = [key];
  for (let at: Level | undefined = level; at?.parent; at = at.parent) {
    parts.unshift(at.sequence ? `${at.key}/${at.items.length}` : '');
  }
  return parts.filter(Boolean).join('/');
}

/** The data set with its attributes in ascending order, as far as an object can have them (see `stringifyHeader`). */
export function ordered(dataset: DicomJson): DicomJson {
  return Object.fromEntries(Object.entries(dataset).sort(([a], [b]) => (a < b ? -1 : 1)));
}
