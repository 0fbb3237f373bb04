/** What rules may assume of the calls of an operation: its document as one JSON Schema of `{ path, query, headers, body }`. Pure. */
import type { ApiDocument, ApiOperation, ApiParameter } from "./api-document.ts"
import { layersOf, listOf, membersOf, resolve, type Members, type Schemas } from "./document-schemas.ts"

/** A document may refer to itself, and to a thing in many places: so deep, and so many schemas, and what is beyond may be anything. */
const depthMax = 8
const schemasMax = 2_000

const text = { type: "string" }
/** Of no type that is known, but there where it is required. */
const anything = { type: "any" }

/**
 * Fields that the document doesn't name are not there. Parameters are texts, as they are sent.
 */
export function inputSchema({ schemas }: Pick<ApiDocument, "schemas">, operation: ApiOperation): Members {
  const { parameters, body } = operation
  const of = (where: ApiParameter["in"]): readonly ApiParameter[] => parameters.filter((each) => each.in === where)
  const isAlwaysJson = body?.required === true && body.schema !== undefined && body.types.length === 1
  return {
    type: "object",
    properties: {
      path: fieldsOf(of("path"), () => text),
      query: fieldsOf(of("query"), ({ schema }) => (isText(schemas, schema) ? text : anything)),
      headers: { type: "object", additionalProperties: text },
      ...(body && { body: body.schema === undefined ? anything : new Inlined(schemas).read(body.schema) }),
      bodyBase64: text,
    },
    required: ["path", "query", "headers", ...(isAlwaysJson ? ["body"] : [])],
  }
}

/** What a rule that follows a call sees of the reply: of one that was passed through its status alone. */
export const replySchema: Members = {
  type: "object",
  properties: {
    status: { type: "integer" },
    headers: { type: "object", additionalProperties: text },
    body: anything,
    bodyBase64: text,
    bodyOmitted: text,
  },
  required: ["status"],
}

function fieldsOf(parameters: readonly ApiParameter[], schemaOf: (parameter: ApiParameter) => Members): Members {
  return {
    type: "object",
    properties: Object.fromEntries(parameters.map((parameter) => [parameter.name, schemaOf(parameter)])),
    required: parameters.filter(({ required }) => required).map(({ name }) => name),
  }
}

/** A list comes as a text or as several. */
function isText(schemas: Schemas, schema: unknown): boolean {
  const type = resolve(schemas, schema)?.["type"]
  return type === "string" || type === "integer" || type === "number" || type === "boolean"
}

class Inlined {
  readonly #schemas: Schemas
  #left = schemasMax

  constructor(schemas: Schemas) {
    this.#schemas = schemas
  }

  read(schema: unknown, depth = 0): Members {
    if (depth > depthMax || this.#left-- <= 0) return anything
    const layers = layersOf(this.#schemas, { pointer: "", schema: membersOf(schema) }).map((layer) => layer.schema)
    const choices = layers.flatMap((layer) => [...listOf(layer["anyOf"]), ...listOf(layer["oneOf"])])
    const isNullable = layers.some((layer) => layer["nullable"] === true)
    if (choices.length > 0 || isNullable) return anything
    const types = new Set(layers.flatMap((layer) => layer["type"] ?? []))
    const hasFields = layers.some((layer) => layer["properties"] !== undefined)
    const [type = hasFields ? "object" : undefined] = types
    if (types.size > 1) return anything
    if (type === "object") return this.#readObject(layers, depth)
    if (type === "array")
      return { type, items: this.read(layers.find((layer) => layer["items"])?.["items"], depth + 1) }
    return typeof type === "string" ? { type } : anything
  }

  #readObject(layers: readonly Members[], depth: number): Members {
    const properties = layers.flatMap((layer) => Object.entries(membersOf(layer["properties"])))
    if (properties.length === 0) return { type: "object", additionalProperties: anything }
    return {
      type: "object",
      properties: Object.fromEntries(properties.map(([name, schema]) => [name, this.read(schema, depth + 1)])),
      required: layers.flatMap((layer) => listOf(layer["required"])),
    }
  }
}
