import { DagpacsError } from '../kernel/errors.ts';

/** An element of a document; names are without their namespace prefix. */
export interface XmlElement {
  name: string;
  attributes: Map<string, string>;
  children: XmlElement[];
  /** Its own text, that of its children left out. */
  text: string;
}

const MAX_DEPTH = 256;
const NAME = '[A-Za-z_][\\w.-]*(?::[A-Za-z_][\\w.-]*)?';
const START = new RegExp(`<(${NAME})((?:\\s+${NAME}\\s*=\\s*(?:"[^"<]*"|'[^'<]*'))*)\\s*(/?)>`, 'y');
const END = new RegExp(`</(${NAME})\\s*>`, 'y');
const ATTRIBUTE = new RegExp(`(${NAME})\\s*=\\s*(?:"([^"]*)"|'([^']*)')`, 'g');
const REFERENCE = /&(?:#(\d{1,7})|#x([\dA-Fa-f]{1,6})|(\w+));?|&/g;
const NAMED: Record<string, string> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };
/** What XML 1.0 has no place for (§2.2). */
const ILLEGAL = /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu;

/**
 * Reads an XML 1.0 document of elements, attributes and text. Document types are refused, so that there are no entities but
 * the five of XML itself. @throws DagpacsError `malformed-dataset`
 */
export function parseXml(text: string): XmlElement {
  const document: XmlElement = { name: '', attributes: new Map(), children: [], text: '' };
  const open = [document];
  let at = text.startsWith('\ufeff') ? 1 : 0;
  while (at < text.length) {
    const top = open.at(-1) as XmlElement;
    const next = text.indexOf('<', at);
    const end = next < 0 ? text.length : next;
    if (end > at) top.text += decode(text.slice(at, end));
    at = end;
    if (next < 0) break;
    if (text.startsWith('<!--', at)) at = after(text, '-->', at + 4);
    else if (text.startsWith('<?', at)) at = after(text, '?>', at + 2);
    else if (text.startsWith('<![CDATA[', at)) {
      const stop = after(text, ']]>', at + 9);
      top.text += text.slice(at + 9, stop - 3);
      at = stop;
    } else if (text.startsWith('<!', at)) throw malformed('it has no document type');
    else if (text.startsWith('</', at)) at = close(text, at, open);
    else at = begin(text, at, open);
  }
  const [root, ...others] = document.children;
  if (open.length > 1) throw malformed('every element is closed');
  if (!root || others.length > 0 || document.text.trim() !== '') throw malformed('it has one root element');
  return root;
}

function begin(text: string, at: number, open: XmlElement[]): number {
  START.lastIndex = at;
  const [whole, name = '', list = '', empty] = START.exec(text) ?? fail('tags follow its grammar');
  const attributes = new Map<string, string>();
  for (const [, key = '', quoted, single] of list.matchAll(ATTRIBUTE)) {
    if (attributes.has(key)) throw malformed('an attribute stands once in a tag');
    attributes.set(key, decode(quoted ?? single ?? ''));
  }
  const element: XmlElement = { name: local(name), attributes, children: [], text: '' };
  open.at(-1)?.children.push(element);
  if (empty !== '/') {
    if (open.length > MAX_DEPTH) throw malformed(`at most ${MAX_DEPTH} elements are nested`);
    open.push(element);
  }
  return at + whole.length;
}

function close(text: string, at: number, open: XmlElement[]): number {
  END.lastIndex = at;
  const [whole, name = ''] = END.exec(text) ?? fail('tags follow its grammar');
  if (open.length === 1 || open.pop()?.name !== local(name)) throw malformed('elements are closed in their order');
  return at + whole.length;
}

function local(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}

function after(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  if (at < 0) throw malformed(`"${mark}" closes what was opened`);
  return at + mark.length;
}

function decode(text: string): string {
  const lines = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
  if (!lines.includes('&')) return lines;
  return lines.replace(REFERENCE, (whole, decimal?: string, hexadecimal?: string, name?: string) => {
    const known = name === undefined ? undefined : NAMED[name];
    const code = decimal !== undefined ? Number(decimal) : Number.parseInt(hexadecimal ?? '', 16);
    const value = known ?? (code <= 0x10ffff ? String.fromCodePoint(code) : undefined);
    if (value === undefined || !whole.endsWith(';')) throw malformed('references are those of XML itself (§4.1)');
    return value;
  });
}

/** Text as it stands in an element or in a quoted attribute. What XML cannot hold becomes U+FFFD. */
export function escapeXml(text: string): string {
  if (!/[^ !#-%'-;=?-\ud7ff]/.test(text)) return text;
  return text.replace(ILLEGAL, '\ufffd').replace(/[&<>"\r\n\t]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function malformed(rule: string): DagpacsError {
  return new DagpacsError('malformed-dataset', `The XML document breaks a rule: ${rule}`, {
    attribute: 'DataSet',
    rule,
  });
}

function fail(rule: string): never {
  throw malformed(rule);
}
