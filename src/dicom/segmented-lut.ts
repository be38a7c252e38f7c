import { undecodable } from './pixels.ts';

const DISCRETE = 0;
const LINEAR = 1;
const INDIRECT = 2;

function broken(): Error {
  return undecodable('A segmented palette of discrete, linear and indirect segments (PS3.3 C.7.9.2)');
}

/**
 * Expands a segmented palette colour lookup table (PS3.3 C.7.9.2) of `count` entries.
 * @throws DagpacsError `undecodable`
 */
export function expandSegments(words: Uint16Array, count: number): Uint16Array {
  const out = new Uint16Array(count);
  let length = 0;
  const put = (value: number) => {
    if (length < count) out[length++] = value;
  };
  /** Expands the segment at `at`. @returns the place after it */
  const expand = (at: number, inside: boolean): number => {
    const kind = words[at];
    const size = words[at + 1];
    if (kind === undefined || size === undefined) throw broken();
    if (kind === DISCRETE) {
      if (at + 2 + size > words.length) throw broken();
      for (let i = 0; i < size; i++) put(words[at + 2 + i] as number);
      return at + 2 + size;
    }
    if (kind === LINEAR) {
      const end = words[at + 2];
      const start = out[length - 1];
      if (end === undefined || start === undefined || size === 0) throw broken();
      for (let i = 1; i <= size; i++) put(Math.round(start + ((end - start) * i) / size));
      return at + 3;
    }
    // Segments that are used again are no indirect ones themselves, so that nothing goes round.
    if (kind !== INDIRECT || inside) throw broken();
    let from = (words[at + 2] ?? 0) + (words[at + 3] ?? 0) * 0x10000;
    for (let i = 0; i < size && length < count; i++) from = expand(from, true);
    return at + 4;
  };
  for (let at = 0; at < words.length && length < count; ) at = expand(at, false);
  if (length < count) throw broken();
  return out;
}
