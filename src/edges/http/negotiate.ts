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

/** True where the client takes gzip (RFC 9110 §12.5.3). */
export function acceptsGzip(header: string | string[] | undefined): boolean {
  return String(header ?? '')
    .split(',')
    .some((coding) => {
      const [name = '', ...parameters] = coding.split(';').map((text) => text.trim().toLowerCase());
      const refused = parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
      return (name === 'gzip' || name === 'x-gzip' || name === '*') && !refused;
    });
}
