/**
 * What a schema of an OpenAPI document asks of a request, as JSON Schema 2020-12: the keywords that decide, and nothing of
 * what only describes. Pure.
 */
type Members = Readonly<Record<string, unknown>>
type Dialect = "3.0" | "3.1"

const literal = new Set([
  ...["type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"],
  ...["maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains"],
  ...["maxProperties", "minProperties", "required", "dependentRequired", "$ref", "nullable"],
])
const single = new Set([
  ...["items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"],
  ...["unevaluatedItems", "unevaluatedProperties"],
])
const list = new Set(["allOf", "anyOf", "oneOf", "prefixItems"])
const named = new Set(["properties", "patternProperties", "$defs", "dependentSchemas"])

export function requestSchema(schema: unknown, dialect: Dialect): unknown {
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) return schema
  const members = schema as Members
  if (dialect === "3.0" && members["$ref"] !== undefined) return { $ref: members["$ref"] }
  const kept = Object.entries(members).flatMap(([name, value]) => {
    const read = readKeyword(name, value, dialect)
    return read === undefined ? [] : [[name, read] as const]
  })
  return withoutQuirks(Object.fromEntries(kept), members, dialect)
}

export function requestSchemas(schemas: unknown, dialect: Dialect): unknown {
  if (typeof schemas !== "object" || schemas === null || Array.isArray(schemas)) return schemas
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, requestSchema(schema, dialect)]))
}

function readKeyword(name: string, value: unknown, dialect: Dialect): unknown {
  if (literal.has(name)) return value
  if (single.has(name)) return requestSchema(value, dialect)
  if (list.has(name)) return Array.isArray(value) ? value.map((each) => requestSchema(each, dialect)) : value
  return named.has(name) ? requestSchemas(value, dialect) : undefined
}

function withoutQuirks(kept: Record<string, unknown>, members: Members, dialect: Dialect): Record<string, unknown> {
  if (dialect === "3.1" || kept["type"] === undefined) delete kept["nullable"]
  for (const [exclusive, plain] of [
    ["exclusiveMaximum", "maximum"],
    ["exclusiveMinimum", "minimum"],
  ] as const) {
    if (typeof kept[exclusive] !== "boolean") continue
    if (kept[exclusive] && kept[plain] !== undefined) {
      kept[exclusive] = kept[plain]
      delete kept[plain]
    } else delete kept[exclusive]
  }
  // What only the service writes is required of its replies.
  const { required } = kept
  if (Array.isArray(required)) kept["required"] = required.filter((name) => !isReadOnly(members["properties"], name))
  return kept
}

function isReadOnly(properties: unknown, name: unknown): boolean {
  if (typeof properties !== "object" || properties === null || typeof name !== "string") return false
  const property = Object.hasOwn(properties, name) ? (properties as Members)[name] : undefined
  return typeof property === "object" && property !== null && (property as Members)["readOnly"] === true
}
