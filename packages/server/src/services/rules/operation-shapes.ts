/**
 * What expressions may assume of the inputs and outputs of operations, from their schemas. Pure, but for what it keeps:
 * a schema is read once.
 */
import type { AnyOperation } from "@signalbox/contracts/operation"
import type { VariableType } from "@signalbox/expressions/variable-type"
import { z } from "zod"

/** A schema as far as expressions are concerned. */
export type Shape =
  | { readonly kind: "plain"; readonly type: VariableType }
  | { readonly kind: "list" | "map"; readonly item: Shape }
  | {
      readonly kind: "fields"
      readonly fields: Readonly<Record<string, { readonly shape: Shape; readonly optional: boolean }>>
    }

type JsonSchema = Readonly<Record<string, unknown>>

const dyn: Shape = { kind: "plain", type: "dyn" }
const plainTypes: Readonly<Record<string, VariableType>> = {
  string: "string",
  integer: "int",
  number: "double",
  boolean: "bool",
  null: "null",
}

const shapes = new WeakMap<z.ZodType, Shape>()

/** Of what has passed the schema: with its defaults. */
export function shapeOf(schema: z.ZodType): Shape {
  const known = shapes.get(schema)
  if (known) return known
  const shape = read(z.toJSONSchema(schema, { io: "output", unrepresentable: "any" }) as JsonSchema)
  shapes.set(schema, shape)
  return shape
}

/** Of a JSON Schema without references. */
export function shapeOfSchema(schema: JsonSchema): Shape {
  return read(schema)
}

function read(schema: JsonSchema): Shape {
  const { type, properties, items, additionalProperties, anyOf, required } = schema
  if (Array.isArray(anyOf)) return (anyOf as JsonSchema[]).map(read).reduce(merged)
  if (type === "array") return { kind: "list", item: isSchema(items) ? read(items) : dyn }
  if (type === "object") {
    if (isSchema(properties)) return readFields(properties, Array.isArray(required) ? (required as string[]) : [])
    return { kind: "map", item: isSchema(additionalProperties) ? read(additionalProperties) : dyn }
  }
  const plain = typeof type === "string" ? plainTypes[type] : undefined
  return plain === undefined ? dyn : { kind: "plain", type: plain }
}

function readFields(properties: JsonSchema, required: readonly string[]): Shape {
  const fields = Object.entries(properties).map(([name, schema]) => [
    name,
    { shape: isSchema(schema) ? read(schema) : dyn, optional: !required.includes(name) || isAnything(schema) },
  ])
  return { kind: "fields", fields: Object.fromEntries(fields) as Extract<Shape, { kind: "fields" }>["fields"] }
}

/** What may be anything may also be left out, whatever the schema calls it. */
function isAnything(schema: unknown): boolean {
  return isSchema(schema) && Object.keys(schema).every((key) => key === "description")
}

const isSchema = (value: unknown): value is JsonSchema => typeof value === "object" && value !== null

/** What holds of a value that has either shape: a field that one of them lacks may be absent. */
export function merged(a: Shape, b: Shape): Shape {
  if (a.kind === "fields" && b.kind === "fields") {
    const names = [...new Set([...Object.keys(a.fields), ...Object.keys(b.fields)])]
    const fields = names.map((name) => {
      const [one, other] = [a.fields[name], b.fields[name]]
      if (!one || !other) return [name, { shape: (one ?? other)?.shape ?? dyn, optional: true }]
      return [name, { shape: merged(one.shape, other.shape), optional: one.optional || other.optional }]
    })
    return { kind: "fields", fields: Object.fromEntries(fields) as typeof a.fields }
  }
  if ((a.kind === "list" || a.kind === "map") && b.kind === a.kind)
    return { kind: a.kind, item: merged(a.item, b.item) }
  return JSON.stringify(a) === JSON.stringify(b) ? a : dyn
}

export function typeOf(shape: Shape): VariableType {
  switch (shape.kind) {
    case "plain":
      return shape.type
    case "list":
      return { list: typeOf(shape.item) }
    case "map":
      return { map: typeOf(shape.item) }
    case "fields": {
      const fields = Object.entries(shape.fields).map(([name, field]) => [name, typeOf(field.shape)])
      return { fields: Object.fromEntries(fields) as Readonly<Record<string, VariableType>> }
    }
  }
}

/** Whether the field at the end of a path may be absent; of what isn't known it is not said. */
export function isOptionalAt(shape: Shape, path: readonly string[]): boolean {
  const [first, ...rest] = path
  if (first === undefined || shape.kind !== "fields") return false
  const field = shape.fields[first]
  if (!field) return false
  return rest.length === 0 ? field.optional : isOptionalAt(field.shape, rest)
}

/** The input or the output of any of these operations; nothing is known of one that no declaration describes. */
export function shapeOfAny(operations: readonly (AnyOperation | undefined)[], of: "input" | "output"): Shape {
  return shapeOfEach(operations.map((operation) => (operation ? shapeOf(operation[of]) : dyn)))
}

/** What holds of a value that has any of the shapes. */
export function shapeOfEach(all: readonly Shape[]): Shape {
  return all.length === 0 ? dyn : all.reduce(merged)
}
