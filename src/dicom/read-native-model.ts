import { DagpacsError } from '../kernel/errors.ts';
import type { DicomJson } from './model.ts';
import { NAME_COMPONENTS, NAME_GROUPS } from './native-model.ts';
import { checkDataset } from './read-json.ts';
import { parseXml, type XmlElement } from './xml.ts';

/** An item's attributes as they come, to be checked by {@link checkDataset}. */
type Loose = Record<string, Record<string, unknown>>;

const MAX_GAP = 65_536;

/**
 * Reads a Native DICOM Model (PS3.19 A.1). Private attributes are taken with their own block number, or, where it is zero,
 * are given a block by their creator. @throws DagpacsError `malformed-dataset`, naming attribute and rule
 */
export function readNativeModel(text: string): DicomJson {
  const root = parseXml(text);
  if (root.name !== 'NativeDicomModel') throw malformed('the root element is NativeDicomModel');
  return checkDataset(itemOf(root));
}

function itemOf(parent: XmlElement): Loose {
  const item: Loose = {};
  for (const child of parent.children) {
    if (child.name !== 'DicomAttribute') throw malformed('a model and its items hold DicomAttribute elements');
    const given = (child.attributes.get('tag') ?? '').toUpperCase();
    if (!/^[\dA-F]{8}$/.test(given)) throw malformed('tag is eight hexadecimal digits');
    const tag = privateTag(given, child.attributes.get('privateCreator'), item);
    if (item[tag]) throw malformed('an attribute stands once in an item', tag);
    item[tag] = elementOf(child, tag);
  }
  return item;
}

/** Some writers leave the block number out and name the creator only. */
function privateTag(tag: string, creator: string | undefined, item: Loose): string {
  if (creator === undefined || tag.slice(4, 6) !== '00') return tag;
  const group = tag.slice(0, 4);
  for (let block = 0x10; block <= 0xff; block++) {
    const key = `${group}00${block.toString(16).toUpperCase()}`;
    item[key] ??= { vr: 'LO', Value: [creator] };
    if ((item[key].Value as unknown[] | undefined)?.[0] === creator) return `${group}${key.slice(6)}${tag.slice(6)}`;
  }
  throw malformed('a group has room for its private creators (PS3.5 §7.8)', tag);
}

function elementOf({ attributes, children }: XmlElement, tag: string): Record<string, unknown> {
  const vr = attributes.get('vr');
  const head = vr === undefined ? {} : { vr };
  const [first] = children;
  if (!first) return head;
  if (first.name === 'BulkData')
    return { ...head, BulkDataURI: first.attributes.get('uri') ?? first.attributes.get('uuid') };
  if (first.name === 'InlineBinary') return { ...head, InlineBinary: first.text.replace(/\s+/g, '') };
  const values: unknown[] = [];
  for (const child of children) {
    const number = Number(child.attributes.get('number') ?? values.length + 1);
    if (!Number.isInteger(number) || number <= values.length || number > values.length + MAX_GAP)
      throw malformed('values are numbered from 1 in their order', tag);
    while (values.length < number - 1) values.push(null);
    values.push(readValue(child, tag));
  }
  return { ...head, Value: values };
}

function readValue(child: XmlElement, tag: string): unknown {
  if (child.name === 'Item') return itemOf(child);
  if (child.name === 'PersonName') return nameOf(child);
  if (child.name !== 'Value') throw malformed('it holds Value, PersonName, Item, BulkData or InlineBinary', tag);
  return child.text === '' ? null : child.text;
}

function nameOf(element: XmlElement): Record<string, string> | null {
  const name: Record<string, string> = {};
  for (const group of NAME_GROUPS) {
    const found = element.children.find((child) => child.name === group);
    if (!found) continue;
    const parts = NAME_COMPONENTS.map((part) => found.children.find((child) => child.name === part));
    const count = parts.findLastIndex((part) => part !== undefined) + 1;
    const text = parts
      .slice(0, count)
      .map((part) => part?.text ?? '')
      .join('^');
    if (text !== '') name[group] = text;
  }
  return Object.keys(name).length > 0 ? name : null;
}

function malformed(rule: string, tag?: string): DagpacsError {
  const subject = { attribute: tag ?? 'DataSet', ...(tag !== undefined && { tag }), rule: `${rule} (PS3.19 A.1)` };
  return new DagpacsError('malformed-dataset', 'The Native DICOM Model breaks a rule', subject);
}
