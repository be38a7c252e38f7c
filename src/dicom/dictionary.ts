import { dictionary } from 'dcmjs/dictionary';
import { UN, type ValueRepresentation, vrNamed } from './vr.ts';

/**
 * The data dictionary of PS3.6. The table is dcmjs's, imported from its data-only entry point (25 ms, where the whole
 * library takes 40 ms and brings polyfills along); this is the only file that imports it.
 */

export interface DictionaryEntry {
  /** Eight upper-case hexadecimal digits. */
  readonly key: string;
  /** Empty where the dictionary has none. */
  readonly keyword: string;
  /** The VR; UN where it is not known. Of several the one that an implicit VR data set is read with by default. */
  readonly vr: ValueRepresentation;
  /** US or SS, as Pixel Representation says (PS3.5 §A.1). */
  readonly signedByPixels: boolean;
}

// What dcmjs writes for attributes that have a choice of VRs.
const CHOICES: Record<string, string> = { ox: 'OW', xs: 'US', lt: 'OW', up: 'UL' };

function entryOf(key: string, name: string | undefined, vr: string | undefined): DictionaryEntry {
  const known = CHOICES[vr ?? ''] ?? vr ?? 'UN';
  const keyword = (name ?? '').replace(/^RETIRED_/, '').replace(/^undefined$/, '');
  return { key, keyword, vr: known === 'na' ? UN : vrNamed(known), signedByPixels: vr === 'xs' };
}

/** Tag as one number in the order of tags. */
export function tagNumber(group: number, element: number): number {
  return group * 0x10000 + element;
}

/** A tag as eight upper-case hexadecimal digits. */
export function tagKey(tag: number): string {
  return tag.toString(16).toUpperCase().padStart(8, '0');
}

const byTag = new Map<number, DictionaryEntry>();
const byKeyword = new Map<string, DictionaryEntry>();
/** Repeating groups (PS3.5 §7.6): `gg00eeee` of the first group. */
const repeating = new Map<number, DictionaryEntry>();

for (const [id, { vr, name }] of Object.entries(dictionary)) {
  if (id.includes('"')) continue;
  const plain = /^\(([\dA-F]{4}),([\dA-F]{4})\)$/i.exec(id);
  if (plain) {
    const key = `${plain[1]}${plain[2]}`.toUpperCase();
    const entry = entryOf(key, name, vr);
    byTag.set(Number.parseInt(key, 16), entry);
    if (entry.keyword && !byKeyword.has(entry.keyword)) byKeyword.set(entry.keyword, entry);
    continue;
  }
  const group = /^\((50|60|7F)00-\1FF,([\dA-F]{4})\)$/i.exec(id);
  if (group) {
    const key = `${group[1]}00${group[2]}`.toUpperCase();
    const entry = entryOf(key, name, vr);
    repeating.set(Number.parseInt(key, 16), entry);
    if (!byKeyword.has(entry.keyword)) byKeyword.set(entry.keyword, entry);
  }
}

/** Creator → group * 256 + last element byte → VR; made when a private element of an implicit VR data set first asks. */
let privateVRs: Map<string, Map<number, ValueRepresentation>> | undefined;

function readPrivateVRs(): Map<string, Map<number, ValueRepresentation>> {
  const creators = new Map<string, Map<number, ValueRepresentation>>();
  for (const [id, { vr }] of Object.entries(dictionary)) {
    const own = /^\(([\dA-F]{4}),"(.+)",([\dA-F]{2})\)$/i.exec(id);
    if (!own || !vr) continue;
    const creator = own[2] as string;
    const elements = creators.get(creator) ?? new Map<number, ValueRepresentation>();
    elements.set(Number.parseInt(`${own[1]}${own[3]}`, 16), entryOf('', '', vr).vr);
    creators.set(creator, elements);
  }
  return creators;
}

/** The entry of a tag; one with VR UN and no keyword where the standard has none. Private tags are not looked up. */
export function lookup(tag: number): DictionaryEntry {
  const known = byTag.get(tag);
  if (known) return known;
  const element = tag % 0x10000;
  const group = (tag - element) / 0x10000;
  let vr = UN;
  let keyword = '';
  if (group % 2 === 0) {
    const high = group >> 8;
    const found =
      high === 0x50 || high === 0x60 || high === 0x7f ? repeating.get(tagNumber(high << 8, element)) : undefined;
    // A group length is allowed in every group (PS3.5 §7.2).
    if (found) ({ vr, keyword } = found);
    else if (element === 0) vr = vrNamed('UL');
    else if (group === 0x20 && element >= 0x3100 && element <= 0x31ff) vr = vrNamed('CS');
  } else if (element === 0) vr = vrNamed('UL');
  else if (element >= 0x10 && element <= 0xff) vr = vrNamed('LO');
  return { key: tagKey(tag), keyword, vr, signedByPixels: false };
}

/** The VR of a private element by its creator (PS3.5 §7.8), or undefined. */
export function privateVR(creator: string, tag: number): ValueRepresentation | undefined {
  privateVRs ??= readPrivateVRs();
  const group = Math.floor(tag / 0x10000);
  return privateVRs.get(creator)?.get(group * 0x100 + (tag & 0xff));
}

/** Keyword of a tag given as eight hexadecimal digits, or undefined. */
export function keywordOf(tag: string): string | undefined {
  return lookup(Number.parseInt(tag, 16)).keyword || undefined;
}

/** Tag as eight upper-case hexadecimal digits of a keyword such as `PatientID`, or undefined. */
export function tagOf(keyword: string): string | undefined {
  return byKeyword.get(keyword)?.key;
}

/** Name of the VR of a tag given as eight hexadecimal digits; `UN` where it is not known. */
export function vrOf(tag: string): string {
  return lookup(Number.parseInt(tag, 16)).vr.name;
}
