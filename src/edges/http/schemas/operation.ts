import { z } from 'zod';

/** What an answer's body may be: media types, each with its schema where it has one. */
export interface Answer {
  description: string;
  content?: Record<string, z.ZodType | null>;
  /** Header name → what it says. */
  headers?: Record<string, string>;
}

/**
 * One operation of the API: the source of its route, of the check of its parameters, and of its part of the OpenAPI
 * document.
 */
export interface Operation<Params extends z.ZodObject = z.ZodObject, Query extends z.ZodObject = z.ZodObject> {
  id: string;
  tag: 'DICOMweb' | 'DIMSE' | 'Custody' | 'IPFS' | 'Health' | 'About';
  /** A GET answers HEAD too. */
  method: 'GET' | 'POST' | 'DELETE';
  /** With the parameters in braces; `{name...}` is the rest of the path. */
  path: string;
  summary: string;
  description?: string;
  params: Params;
  query: Query;
  /** True where parameters beside `query`'s are attributes to match (QIDO-RS). */
  attributes?: boolean;
  /** Request headers that matter, with what they say. */
  headers?: Record<string, string>;
  /** Media types of the request's body. */
  body?: string[];
  answers: Record<number, Answer>;
}

/** Keeps the types of an operation's parameters. */
export function defineOperation<Params extends z.ZodObject, Query extends z.ZodObject>(
  operation: Operation<Params, Query>,
): Operation<Params, Query> {
  return operation;
}

/** Where an operation has no parameters of a kind. */
export const none = z.object({});

export const problemSchema = z
  .object({
    type: z.string().describe('`urn:dagpacs:error:<code>`, or `about:blank`'),
    title: z.string(),
    status: z.int(),
    detail: z.string().optional(),
    attribute: z.string().optional().describe('DICOM keyword, query parameter or header at fault'),
    tag: z.string().optional().describe('its tag as eight hexadecimal digits'),
    rule: z.string().optional().describe('the rule that was broken, with the section of the standard'),
    available: z.array(z.string()).optional().describe('with 406: what Accept may ask for'),
  })
  .describe('A problem (RFC 9457)');
