import { DagpacsError } from '../kernel/errors.ts';
import type { DicomJson } from './model.ts';
import { DatasetParser } from './parser.ts';
import { transferSyntax } from './transfer-syntax.ts';
import { Warnings } from './warnings.ts';
import { Window } from './window.ts';

const LIMITS = {
  maxInlineBinary: 1 << 16,
  maxInlineText: 1 << 20,
  maxHeaderBytes: 4 << 20,
  maxElements: 100_000,
  maxDepth: 32,
};

export interface ReadDataset {
  /** Text is in UTF-8. */
  dataset: DicomJson;
  /** Specific Character Set as it came, backslash-separated; empty where there was none. */
  charset: string;
}

/**
 * Reads a data set that is in memory, such as a query's identifier, in a transfer syntax that is not deflated.
 * @throws DagpacsError `malformed-dataset`, `truncated`
 */
export function readDataset(bytes: Buffer, transferSyntaxUID: string): ReadDataset {
  const { implicit, bigEndian } = transferSyntax(transferSyntaxUID) ?? { implicit: false, bigEndian: false };
  const parser = new DatasetParser(implicit, bigEndian, LIMITS, new Warnings());
  const window = new Window();
  window.feed(bytes, () => parser);
  const whole = window.held === 0 && (window.skip === 0 || window.skip === Number.POSITIVE_INFINITY);
  if (!parser.finish(window.position) || !whole) {
    const rule = 'The data set ends inside an element (PS3.5 §7.1)';
    throw new DagpacsError('truncated', 'The data set is cut short', { attribute: 'DataSet', rule });
  }
  return { dataset: parser.root.dataset, charset: parser.root.charset.value };
}
