import type { Answer, Operation } from './schemas/operation.ts';

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const quote = (text: string): string => text.replace(/[&<>"]/g, (sign) => ESCAPES[sign] as string);

/**
 * Operations as a WADL document (W3C member submission of 2009), the representation that PS3.18 §8.9 names first.
 * @param base of the resources' paths
 */
export function wadlOf(operations: readonly Operation[], base: string): string {
  const byPath = new Map<string, Operation[]>();
  for (const operation of operations) byPath.set(operation.path, [...(byPath.get(operation.path) ?? []), operation]);
  const resources = [...byPath].map(([path, methods]) => resource(path, methods));
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<application xmlns="http://wadl.dev.java.net/2009/02" xmlns:xsd="http://www.w3.org/2001/XMLSchema">',
    `<resources base="${quote(base)}/">`,
    ...resources,
    '</resources></application>',
    '',
  ].join('\n');
}

function resource(path: string, methods: readonly Operation[]): string {
  const [first] = methods as [Operation];
  const inPath = Object.keys(first.params.shape).map((name) => param(name, 'template', true));
  const relative = quote(path.slice(1).replace('...}', '}'));
  return `<resource path="${relative}">${inPath.join('')}\n${methods.map(method).join('\n')}\n</resource>`;
}

function method({ id, method: name, summary, query, headers = {}, body = [], answers }: Operation): string {
  const request = [
    ...Object.keys(query.shape).map((each) => param(each, 'query', !query.shape[each]?.safeParse(undefined).success)),
    ...Object.keys(headers).map((each) => param(each, 'header', false)),
    ...body.map(representation),
  ];
  const responses = Object.entries(answers).map(([status, { content }]: [string, Answer]) => {
    return `<response status="${status}">${Object.keys(content ?? {})
      .map(representation)
      .join('')}</response>`;
  });
  const doc = `<doc title="${quote(summary)}"/>`;
  return `<method name="${name}" id="${id}">${doc}<request>${request.join('')}</request>${responses.join('')}</method>`;
}

function param(name: string, style: string, required: boolean): string {
  return `<param name="${quote(name)}" style="${style}" type="xsd:string"${required ? ' required="true"' : ''}/>`;
}

function representation(mediaType: string): string {
  return `<representation mediaType="${quote(mediaType)}"/>`;
}
