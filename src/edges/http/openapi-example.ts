/** What of a JSON Schema (draft 2020-12, as zod writes it) an example is made from. */
export interface JsonSchema {
  description?: string;
  examples?: unknown[];
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  allOf?: JsonSchema[];
  type?: string;
  minimum?: number;
  items?: JsonSchema;
  prefixItems?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  propertyNames?: JsonSchema;
  required?: string[];
  additionalProperties?: JsonSchema | boolean;
}

/** A value that follows a schema: the examples in it, put together; what has none is filled in by its type. */
export function exampleOf(schema: JsonSchema): unknown {
  const said = [schema.examples?.[0], schema.default, schema.const, schema.enum?.[0]];
  const found = said.find((value) => value !== undefined);
  if (found !== undefined) return found;
  const inner = schema.anyOf?.[0] ?? schema.allOf?.[0];
  if (inner) return exampleOf(inner);
  if (schema.type === 'array') return schema.items ? [exampleOf(schema.items)] : [];
  if (schema.type === 'object') return exampleObject(schema);
  if (schema.type === 'integer' || schema.type === 'number') return Math.max(1, schema.minimum ?? 1);
  if (schema.type === 'boolean') return true;
  return schema.type === 'null' ? null : 'text';
}

function exampleObject({ properties = {}, propertyNames, additionalProperties }: JsonSchema): Record<string, unknown> {
  const named = Object.entries(properties).map(([name, schema]) => [name, exampleOf(schema)]);
  // A record of known names has them all.
  const names = propertyNames?.enum ?? [];
  const others = typeof additionalProperties === 'object' ? additionalProperties : {};
  return Object.fromEntries([...named, ...names.map((name) => [name, exampleOf(others)])]);
}
