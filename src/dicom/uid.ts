/**
 * True where `uid` has digits and dots only and at most 64 of them: what an identifier must be to be stored and addressed. Dots
 * alone would name a folder.
 */
export function isUsableUID(uid: string): boolean {
  return uid.length <= 64 && /^[\d.]*\d[\d.]*$/.test(uid);
}

/** True where `uid` follows PS3.5 §9.1 in full: components without leading zeros, none of them empty. */
export function isStrictUID(uid: string): boolean {
  return uid.length <= 64 && /^(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+$/.test(uid);
}
