import type { FastifyRequest } from 'fastify';
import {
  acceptTextOf,
  chooseRepresentation,
  type MediaRange,
  parseAccept,
  type Representation,
} from '../../dicom/accept.ts';
import { NotAcceptable } from './errors.ts';

/** What the client accepts: the query parameter, else the header. @throws DagpacsError `invalid-parameter` */
export function acceptedBy(request: FastifyRequest, query: { accept?: string | undefined }): MediaRange[] {
  // A plus sign that was not escaped arrives as a space: no media type has one.
  const parameter = query.accept?.replace(/(\/[^\s;,"]+) (json|xml)\b/g, '$1+$2');
  return parameter === undefined ? parseAccept(request.headers.accept) : parseAccept(parameter, 'accept');
}

/** The offer to give; earlier offers are the bridge's own preference. @throws NotAcceptable listing the offers */
export function negotiate<T extends Representation>(
  accepted: readonly MediaRange[],
  offers: readonly T[],
  attribute?: string,
): T {
  const chosen = chooseRepresentation(accepted, offers);
  if (chosen === undefined) throw new NotAcceptable([...new Set(offers.map(acceptTextOf))], attribute);
  return chosen;
}

const MODELS: readonly Representation[] = [
  { multipart: false, type: 'application/dicom+json' },
  { multipart: false, type: 'application/json' },
  { multipart: true, type: 'application/dicom+xml' },
];

/**
 * How data sets are given as text: `application/dicom+json` unless plain JSON, or a part of XML for each (PS3.18 §8.7.3), is
 * what is asked for.
 */
export function negotiateModel(accepted: readonly MediaRange[]): Representation {
  return negotiate(accepted, MODELS);
}

/**
 * The content coding (RFC 9110 §12.5.3) that the client likes best, of `offers` in the order of our own preference;
 * `identity` where it takes none of them.
 */
export function codingFor<Coding extends string>(
  header: string | string[] | undefined,
  offers: readonly Coding[],
): Coding | 'identity' {
  const weights = new Map<string, number>();
  for (const coding of String(header ?? '').split(',')) {
    const [name = '', ...parameters] = coding.split(';').map((text) => text.trim().toLowerCase());
    const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
    weights.set(name === 'x-gzip' ? 'gzip' : name, q === undefined ? 1 : Number(q));
  }
  let best: Coding | 'identity' = 'identity';
  let weight = 0;
  for (const offer of offers) {
    const q = weights.get(offer) ?? weights.get('*') ?? 0;
    if (q > weight) [best, weight] = [offer, q];
  }
  return best;
}
