import { tagQuery } from "@signalbox/contracts/fleet/operations"
import { countOrPercent, duration, instant, instantInput, resourceName } from "@signalbox/contracts/schemas"
import { assert } from "@signalbox/kernel/assert"
import { z } from "zod"

/** How a member of an operation's input is given on the command line. */
export type FieldKind = "text" | "number" | "flag" | "list" | "record" | "scalar" | "json"

export interface Field {
  /** Where in the input; a member of a nested object has two parts. */
  readonly path: readonly string[]
  readonly kind: FieldKind
  readonly required: boolean
  readonly description: string
  /** What stands for the value in help, without brackets. */
  readonly placeholder: string
  readonly choices?: readonly string[]
  readonly defaultText?: string
  /** Of a record: a member may be null, which removes it. */
  readonly removable?: true
  /** Of a list or record: its option is not named in the singular, since another field's is. */
  readonly plural?: true
  /** Of a flag: what it sends. */
  readonly flagValue?: true | "true"
}

/** The fields of an input; a nested object gives one field for each of its members. */
export function fieldsOf(input: z.ZodObject): Field[] {
  const fields = Object.entries(input.shape).flatMap(([name, schema]) => fieldsAt([name], schema as z.ZodType))
  const names = new Set(fields.map(({ path }) => path.join(".")))
  return fields.map((field) => {
    const name = field.path.join(".")
    return name.endsWith("s") && names.has(name.slice(0, -1)) ? { ...field, plural: true } : field
  })
}

interface Unwrapped {
  readonly schema: z.ZodType
  readonly optional: boolean
  readonly nullable: boolean
  readonly description: string
  readonly defaultValue?: unknown
}

function unwrap(outer: z.ZodType): Unwrapped {
  let schema = outer
  let found: Omit<Unwrapped, "schema"> = { optional: false, nullable: false, description: "" }
  while (true) {
    if (found.description === "") found = { ...found, description: schema.description ?? "" }
    if (schema instanceof z.ZodOptional) found = { ...found, optional: true }
    else if (schema instanceof z.ZodNullable) found = { ...found, nullable: true }
    else if (schema instanceof z.ZodDefault) found = { ...found, optional: true, defaultValue: schema.def.defaultValue }
    else return { schema, ...found }
    schema = schema.unwrap() as z.ZodType
  }
}

function fieldsAt(path: readonly string[], outer: z.ZodType): Field[] {
  const { schema, optional, description, defaultValue } = unwrap(outer)
  if (schema instanceof z.ZodObject) {
    return Object.entries(schema.shape)
      .flatMap(([name, member]) => fieldsAt([...path, name], member as z.ZodType))
      .map((field) => ({ ...field, required: field.required && !optional }))
  }
  const defaultText = textOfDefault(defaultValue)
  return [
    {
      path,
      required: !optional,
      description,
      placeholder: placeholderOf(schema),
      ...(defaultText === undefined ? {} : { defaultText }),
      ...kindOf(schema, path.join(".")),
    },
  ]
}

type Kind = Pick<Field, "kind" | "choices" | "removable" | "flagValue">

function kindOf(schema: z.ZodType, where: string): Kind {
  if (schema === countOrPercent) return { kind: "scalar" }
  if (isJson(schema)) return { kind: "json" }
  if (schema instanceof z.ZodArray) {
    const { schema: item } = unwrap(schema.element as z.ZodType)
    return item instanceof z.ZodEnum ? { kind: "list", choices: item.options.map(String) } : { kind: "list" }
  }
  if (schema instanceof z.ZodRecord) {
    const value = unwrap(schema.valueType as z.ZodType)
    return value.nullable ? { kind: "record", removable: true } : { kind: "record" }
  }
  if (schema instanceof z.ZodEnum) {
    const choices = schema.options.map(String)
    return choices.join() === "true,false" ? { kind: "flag", flagValue: "true" } : { kind: "text", choices }
  }
  if (schema instanceof z.ZodBoolean || schema instanceof z.ZodLiteral) return { kind: "flag", flagValue: true }
  if (schema instanceof z.ZodNumber) return { kind: "number" }
  assert(
    schema instanceof z.ZodString || schema instanceof z.ZodStringFormat,
    `${where} has a form that no option can take`,
  )
  return { kind: "text" }
}

/** Anything at all, or an object of anything: written as JSON. */
function isJson(schema: z.ZodType): boolean {
  if (schema instanceof z.ZodUnknown) return true
  return schema instanceof z.ZodRecord && unwrap(schema.valueType as z.ZodType).schema instanceof z.ZodUnknown
}

function placeholderOf(schema: z.ZodType): string {
  if (schema === countOrPercent) return "count|percent"
  if (schema === duration) return "duration"
  if (schema === instant || schema === instantInput) return "instant"
  if (schema === resourceName) return "name"
  if (isJson(schema)) return "json"
  if (schema === tagQuery) return "query"
  if (schema instanceof z.ZodNumber) return "number"
  if (schema instanceof z.ZodRecord) return "key=value"
  if (schema instanceof z.ZodArray) return placeholderOf(unwrap(schema.element as z.ZodType).schema)
  return schema instanceof z.ZodEnum ? "choice" : "text"
}

function textOfDefault(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === "object") return undefined
  return value === "false" || value === false ? undefined : `${value as string | number | true}`
}
