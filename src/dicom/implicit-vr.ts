import { type DictionaryEntry, privateVR } from './dictionary.ts';
import type { Level } from './level.ts';
import type { DicomElement } from './model.ts';
import { UN, type ValueRepresentation, vrNamed } from './vr.ts';

const SS = vrNamed('SS');

function groupOf(tag: number): number {
  return Math.floor(tag / 0x10000);
}

/** The VR of an element that comes without one (PS3.5 §A.1); of private ones where the dictionary knows their creator. */
export function implicitVR(level: Level, tag: number, entry: DictionaryEntry, signed: boolean): ValueRepresentation {
  if (entry.signedByPixels && signed) return SS;
  if (entry.vr !== UN || !level.creators || groupOf(tag) % 2 === 0) return entry.vr;
  const creator = level.creators.get(groupOf(tag) * 0x100 + ((tag >> 8) & 0xff));
  return (creator === undefined ? undefined : privateVR(creator, tag)) ?? UN;
}

/** Remembers which creator has reserved a block, where the element says so (PS3.5 §7.8.1). */
export function noteCreator(level: Level, tag: number, { Value }: DicomElement): void {
  const element = tag & 0xffff;
  const creator = Value?.[0];
  if (groupOf(tag) % 2 === 0 || element < 0x10 || element > 0xff || typeof creator !== 'string') return;
  level.creators ??= new Map();
  level.creators.set(groupOf(tag) * 0x100 + element, creator);
}
