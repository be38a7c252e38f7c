import { dateKey, timeKey } from '../../dicom/matching.ts';
import type { DicomElement, DicomJson, DicomValue } from '../../dicom/model.ts';
import type { RowAttribute } from './attributes.ts';

/**
 * Members of a row's JSON object are joined by this. JSON text has no line feed of its own here, so a text can be cut into
 * members again without being parsed.
 */
export const GLUE = ',\n';

/** Every value in the index is UTF-8, whatever the stored instance declares. */
export const CHARACTER_SET = '"00080005":{"vr":"CS","Value":["ISO_IR 192"]}';
export const ONLINE = '"00080056":{"vr":"CS","Value":["ONLINE"]}';

/** One member of a DICOM JSON object; `undefined` is an attribute that is present but empty. */
export function member(tag: string, vr: string, element?: DicomElement): string {
  const kept = element && withoutBulk(element);
  return kept?.Value?.length || kept?.InlineBinary !== undefined
    ? `"${tag}":${JSON.stringify(kept)}`
    : `"${tag}":{"vr":"${vr}"}`;
}

/** A member with the given values. */
export function valueMember(tag: string, vr: string, values: (string | number)[]): string {
  return values.length > 0 ? `"${tag}":{"vr":"${vr}","Value":${JSON.stringify(values)}}` : `"${tag}":{"vr":"${vr}"}`;
}

/** The header's members for `attributes`, in their order. */
export function headerMembers(elements: (DicomElement | undefined)[], attributes: RowAttribute[]): string[] {
  const members: string[] = [];
  for (const [i, { tag, vr, required }] of attributes.entries()) {
    const element = elements[i];
    if (required || element?.Value) members.push(member(tag, vr, element));
  }
  return members;
}

/** The header's elements for `attributes`, in their order. */
export function pick(dataset: DicomJson, attributes: RowAttribute[]): (DicomElement | undefined)[] {
  return attributes.map(({ tag }) => dataset[tag]);
}

/** Puts members in ascending order of their tags; of two with the same tag the later one stays. */
export function merge(members: string[]): string {
  const byTag = new Map<string, string>();
  for (const text of members) byTag.set(text.slice(1, 9), text);
  return [...byTag.keys()]
    .sort()
    .map((tag) => byTag.get(tag))
    .join(GLUE);
}

/** The element without values that stay in the stored object, at any depth; undefined where it is one itself. */
export function withoutBulk(element: DicomElement): DicomElement | undefined {
  if (element.BulkDataURI !== undefined) return undefined;
  if (element.vr !== 'SQ' || !element.Value) return element;
  return {
    vr: 'SQ',
    Value: element.Value.map((item) => {
      const kept: DicomJson = {};
      for (const [tag, inner] of Object.entries((item ?? {}) as DicomJson)) {
        const value = withoutBulk(inner);
        if (value) kept[tag] = value;
      }
      return kept;
    }),
  };
}

/** True where both lists hold the same elements: most instances of a study say the same about it. */
export function sameElements(a: (DicomElement | undefined)[], b: (DicomElement | undefined)[]): boolean {
  for (let i = 0; i < a.length; i++) if (!sameElement(a[i], b[i])) return false;
  return true;
}

function sameElement(a: DicomElement | undefined, b: DicomElement | undefined): boolean {
  if (a === b) return true;
  if (!a || !b || a.vr !== b.vr || a.Value?.length !== b.Value?.length) return false;
  if (!a.Value || !b.Value) return true;
  for (let i = 0; i < a.Value.length; i++) {
    const x = a.Value[i];
    const y = b.Value[i];
    if (x === y) continue;
    if (typeof x !== 'object' || typeof y !== 'object') return false;
    if (JSON.stringify(x) !== JSON.stringify(y)) return false;
  }
  return true;
}

/** The first value as text, without padding. */
export function textOf(element: DicomElement | undefined): string {
  const value = element?.Value?.[0];
  return typeof value === 'string' ? value.trim() : typeof value === 'number' ? String(value) : '';
}

export function dateOf(element: DicomElement | undefined): string {
  return dateKey(textOf(element));
}

export function timeOf(element: DicomElement | undefined): string {
  return timeKey(textOf(element));
}

/** The first value as a whole number, or `otherwise`. */
export function numberOf(element: DicomElement | undefined, otherwise: number): number {
  const value: DicomValue | undefined = element?.Value?.[0];
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) ? number : otherwise;
}
