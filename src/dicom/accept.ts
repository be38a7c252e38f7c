import { DagpacsError } from '../kernel/errors.ts';

/** A media type with its parameters, as in Content-Type. */
export interface MediaType {
  /** Lower case: `multipart/related`. */
  type: string;
  /** Names in lower case, values without quotes. */
  parameters: Map<string, string>;
}

/** One media range of an Accept header; `q` from 0 (never) to 1. */
export interface MediaRange extends MediaType {
  q: number;
}

/** A form in which the bridge can give a resource. */
export interface Representation {
  /** True: as a part of `multipart/related`. */
  multipart: boolean;
  /** Media type of the part, or of the whole body. */
  type: string;
  /** Transfer syntax UID of the bytes, where the resource has one. */
  transferSyntaxUID?: string;
}

const MAX_LENGTH = 8192;
const TOKEN = "[\\w!#$%&'*+.^`|~-]+";
/** A bare `*` is what Java's HTTP client has always sent for any type. */
const TYPE = new RegExp(`\\s*(?:(${TOKEN}/${TOKEN})|(\\*))\\s*`, 'y');
const SEPARATOR = /\s*,[\s,]*/y;
/** Unquoted values may hold `/`, which RFC 9110 forbids and viewers send: `type=application/octet-stream`. */
const PARAMETER = new RegExp(`;\\s*(?:(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^;,"\\s]*))\\s*)?`, 'y');

/** Reads a list of media types; undefined where the text breaks the grammar. */
function parseMediaTypes(text: string): MediaType[] | undefined {
  const found: MediaType[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const result = pattern.exec(text);
    if (result !== null) at = pattern.lastIndex;
    return result;
  };
  while (at < text.length) {
    const type = match(TYPE);
    if (type === null) return undefined;
    const parameters = new Map<string, string>();
    for (let pair = match(PARAMETER); pair !== null; pair = match(PARAMETER)) {
      const [, name, quoted, bare] = pair;
      if (name !== undefined) parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '');
    }
    found.push({ type: type[1]?.toLowerCase() ?? '*/*', parameters });
    if (match(SEPARATOR) === null && at < text.length) return undefined;
  }
  return found;
}

/** Reads a Content-Type; undefined where it is none. */
export function parseContentType(text: string): MediaType | undefined {
  const types = text.length <= MAX_LENGTH ? parseMediaTypes(text) : undefined;
  return types?.length === 1 ? types[0] : undefined;
}

/**
 * Reads an Accept header or an `accept` query parameter (RFC 9110 §12.5.1, PS3.18 §8.7): several types, quoted or not,
 * with `q`, `type` and `transfer-syntax`. Absent or empty text means anything. `name` is what errors call it.
 * @throws DagpacsError `invalid-parameter`
 */
export function parseAccept(text: string | undefined, name = 'Accept'): MediaRange[] {
  if (text === undefined || text.trim() === '') return [{ type: '*/*', parameters: new Map(), q: 1 }];
  const types = text.length <= MAX_LENGTH ? parseMediaTypes(text) : undefined;
  if (types === undefined || types.length === 0) throw invalidAccept(name, 'a list of media ranges (RFC 9110 §12.5.1)');
  return types.map((media) => {
    nestParameters(media);
    const q = Number(media.parameters.get('q') ?? 1);
    if (!(q >= 0 && q <= 1)) throw invalidAccept(name, 'q is a number from 0 to 1 (RFC 9110 §12.4.2)');
    return { ...media, q };
  });
}

/**
 * Some clients put the parameters of the parts' type into it: `multipart/related; type="application/dicom;
 * transfer-syntax=*"`. They count where the range has none of the name.
 */
function nestParameters({ type, parameters }: MediaType): void {
  const inner = type === 'multipart/related' ? parameters.get('type') : undefined;
  const [nested] = (inner?.includes(';') && parseMediaTypes(inner)) || [];
  if (!nested) return;
  parameters.set('type', nested.type);
  for (const [name, value] of nested.parameters) if (!parameters.has(name)) parameters.set(name, value);
}

function invalidAccept(attribute: string, rule: string): DagpacsError {
  return new DagpacsError('invalid-parameter', `${attribute} breaks a rule: ${rule}`, { attribute, rule });
}

/** How closely a range names an offer; -1: it does not match at all. */
function specificity(range: MediaRange, offer: Representation): number {
  const syntax = range.parameters.get('transfer-syntax') ?? '*';
  if (syntax !== '*' && syntax !== offer.transferSyntaxUID) return -1;
  const bonus = syntax === '*' ? 0 : 8;
  if (range.type === '*/*') return bonus;
  if (range.type === 'multipart/*') return offer.multipart ? bonus + 1 : -1;
  if (range.type === 'multipart/related') {
    const inner = range.parameters.get('type')?.toLowerCase() ?? '*/*';
    const closeness = typeCloseness(inner, offer.type);
    return offer.multipart && closeness >= 0 ? bonus + 2 + closeness : -1;
  }
  const closeness = typeCloseness(range.type, offer.type);
  return !offer.multipart && closeness >= 0 ? bonus + closeness : -1;
}

function typeCloseness(pattern: string, type: string): number {
  if (pattern === type) return 2;
  if (pattern === '*/*') return 0;
  return pattern.endsWith('/*') && type.startsWith(pattern.slice(0, -1)) ? 1 : -1;
}

/**
 * The offer that the ranges like best, or undefined. An offer's `q` is that of the range which names it most closely;
 * among equals the earlier range decides, then the earlier offer.
 */
export function chooseRepresentation<T extends Representation>(
  ranges: readonly MediaRange[],
  offers: readonly T[],
): T | undefined {
  let best: { offer: T; q: number; order: number } | undefined;
  for (const offer of offers) {
    let order = -1;
    let closest = -1;
    ranges.forEach((range, index) => {
      const closeness = specificity(range, offer);
      if (closeness > closest) {
        closest = closeness;
        order = index;
      }
    });
    const q = ranges[order]?.q ?? 0;
    if (q > 0 && (best === undefined || q > best.q || (q === best.q && order < best.order))) best = { offer, q, order };
  }
  return best?.offer;
}

/** The Content-Type of a single-part body or of a part in `form`. */
export function contentTypeOf(form: Representation): string {
  return form.transferSyntaxUID === undefined ? form.type : `${form.type}; transfer-syntax=${form.transferSyntaxUID}`;
}

/** What an Accept header has to say to get `form`, for the body of a 406. */
export function acceptTextOf(form: Representation): string {
  const syntax = form.transferSyntaxUID === undefined ? '' : `; transfer-syntax=${form.transferSyntaxUID}`;
  return form.multipart ? `multipart/related; type="${form.type}"${syntax}` : `${form.type}${syntax}`;
}
