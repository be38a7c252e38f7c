/** How the value of a VR is read. */
export type ValueKind =
  /** Backslash-separated, in the default repertoire. */
  | 'ascii'
  /** Backslash-separated, in the Specific Character Set. */
  | 'text'
  /** One value, in the Specific Character Set; leading spaces count. */
  | 'long-text'
  /** One value in the default repertoire. */
  | 'uri'
  | 'person'
  | 'decimal'
  | 'integer'
  | 'binary-number'
  | 'tag'
  | 'bytes'
  | 'sequence';

export interface ValueRepresentation {
  readonly name: string;
  readonly kind: ValueKind;
  /** Explicit VR: two reserved bytes and a 32-bit length (PS3.5 §7.1.2). */
  readonly long: boolean;
  /** Bytes of one number, for binary values; 1 where byte order does not matter. */
  readonly unit: number;
}

function define(kind: ValueKind, names: string, long = false, unit = 1): ValueRepresentation[] {
  return names.split(' ').map((name) => ({ name, kind, long, unit }));
}

const ALL: ValueRepresentation[] = [
  ...define('ascii', 'AE AS CS DA DT TM UI'),
  ...define('text', 'LO SH'),
  ...define('text', 'UC', true),
  ...define('long-text', 'LT ST'),
  ...define('long-text', 'UT', true),
  ...define('uri', 'UR', true),
  ...define('person', 'PN'),
  ...define('decimal', 'DS'),
  ...define('integer', 'IS'),
  ...define('binary-number', 'US SS', false, 2),
  ...define('binary-number', 'UL SL FL', false, 4),
  ...define('binary-number', 'FD', false, 8),
  ...define('binary-number', 'UV SV', true, 8),
  ...define('tag', 'AT', false, 4),
  ...define('bytes', 'OB UN', true),
  ...define('bytes', 'OW', true, 2),
  ...define('bytes', 'OF OL', true, 4),
  ...define('bytes', 'OD OV', true, 8),
  ...define('sequence', 'SQ', true),
];

const byName = new Map(ALL.map((vr) => [vr.name, vr]));
// Indexed by the two letters, so that a VR in a stream is found without making a string.
const byLetters: (ValueRepresentation | undefined)[] = new Array(26 * 26).fill(undefined);
for (const vr of ALL) byLetters[(vr.name.charCodeAt(0) - 65) * 26 + vr.name.charCodeAt(1) - 65] = vr;

/** The VR (PS3.5 §6.2) named by two ASCII codes, or undefined. */
export function vrFromCodes(first: number, second: number): ValueRepresentation | undefined {
  if (first < 65 || first > 90 || second < 65 || second > 90) return undefined;
  return byLetters[(first - 65) * 26 + second - 65];
}

/** The VR of that name. @throws RangeError where the standard has none. */
export function vrNamed(name: string): ValueRepresentation {
  const vr = byName.get(name);
  if (!vr) throw new RangeError('no such value representation');
  return vr;
}

export const UN = vrNamed('UN');
