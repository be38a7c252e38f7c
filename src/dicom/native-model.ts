import { keywordOf } from './dictionary.ts';
import type { DicomElement, DicomJson, DicomValue, PersonName } from './model.ts';
import { escapeXml } from './xml.ts';

/** The Native DICOM Model (PS3.19 Annex A.1), which `application/dicom+xml` is. */
export const NATIVE_NAMESPACE = 'http://dicom.nema.org/PS3.19/models/NativeDICOM';
export const NAME_GROUPS = ['Alphabetic', 'Ideographic', 'Phonetic'] as const;
export const NAME_COMPONENTS = ['FamilyName', 'GivenName', 'MiddleName', 'NamePrefix', 'NameSuffix'] as const;

/**
 * A data set of the DICOM JSON model as an XML document in UTF-8. Attributes stand in the order of their tags; a private
 * one keeps its tag and names its creator.
 */
export function nativeModelOf(dataset: DicomJson): string {
  const head = `<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="${NATIVE_NAMESPACE}" xml:space="preserve">`;
  return `${head}${attributesOf(dataset)}</NativeDicomModel>`;
}

function attributesOf(dataset: DicomJson): string {
  let out = '';
  for (const tag of Object.keys(dataset).sort()) out += attributeOf(tag, dataset[tag] as DicomElement, dataset);
  return out;
}

function attributeOf(tag: string, element: DicomElement, dataset: DicomJson): string {
  const keyword = keywordOf(tag);
  const creator = creatorOf(tag, dataset);
  const names =
    (keyword === undefined ? '' : ` keyword="${keyword}"`) +
    (creator === undefined ? '' : ` privateCreator="${escapeXml(creator)}"`);
  const content = contentOf(element);
  const start = `<DicomAttribute tag="${tag}" vr="${element.vr}"${names}`;
  return content === '' ? `${start}/>` : `${start}>${content}</DicomAttribute>`;
}

/** The text of (gggg,00xx) for a private attribute (gggg,xxee) (PS3.5 §7.8). */
function creatorOf(tag: string, dataset: DicomJson): string | undefined {
  if (Number.parseInt(tag.slice(3, 4), 16) % 2 === 0 || tag.slice(4, 6) === '00') return undefined;
  const creator = dataset[`${tag.slice(0, 4)}00${tag.slice(4, 6)}`]?.Value?.[0];
  return typeof creator === 'string' ? creator : undefined;
}

function contentOf({ vr, Value = [], InlineBinary, BulkDataURI }: DicomElement): string {
  if (BulkDataURI !== undefined) return `<BulkData uri="${escapeXml(BulkDataURI)}"/>`;
  if (InlineBinary !== undefined) return `<InlineBinary>${InlineBinary}</InlineBinary>`;
  let out = '';
  for (const [i, value] of Value.entries()) out += valueText(vr, i + 1, value);
  return out;
}

function valueText(vr: string, number: number, value: DicomValue): string {
  if (vr === 'SQ') return `<Item number="${number}">${attributesOf((value ?? {}) as DicomJson)}</Item>`;
  if (vr === 'PN') return personName(number, value as PersonName | string | null);
  return value === null
    ? `<Value number="${number}"/>`
    : `<Value number="${number}">${escapeXml(String(value))}</Value>`;
}

function personName(number: number, value: PersonName | string | null): string {
  const name = typeof value === 'string' ? { Alphabetic: value } : (value ?? {});
  let out = '';
  for (const group of NAME_GROUPS) {
    const text = name[group];
    if (text === undefined) continue;
    const components = text.split('^');
    // What is more than five components has no name of its own: it stays behind its delimiter in the last.
    const last = NAME_COMPONENTS.length - 1;
    if (components.length > last + 1) components.splice(last, components.length, components.slice(last).join('^'));
    const parts = components.map((each, i) => {
      const element = NAME_COMPONENTS[i];
      // An empty one at the end says how many there are.
      if (each === '') return i > 0 && i === components.length - 1 ? `<${element}/>` : '';
      return `<${element}>${escapeXml(each)}</${element}>`;
    });
    out += `<${group}>${parts.join('')}</${group}>`;
  }
  return `<PersonName number="${number}">${out}</PersonName>`;
}
