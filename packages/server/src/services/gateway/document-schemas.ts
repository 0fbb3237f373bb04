/**
 * Finds one's way in the schemas of an OpenAPI document as they are written: references are followed into
 * `components.schemas` and nowhere else. Pure.
 */
export type Members = Readonly<Record<string, unknown>>
export type Schemas = Readonly<Record<string, unknown>>

const referencesDepthMax = 16
const componentPattern = /^#\/components\/schemas\/([A-Za-z0-9._-]+)$/

/** A schema, and where it stands: a JSON pointer into a document of `components` and `operations`. */
export interface Standing {
  readonly pointer: string
  readonly schema: Members
}

/** What a schema stands for once its references are followed; undefined where they lead nowhere, or in a circle. */
export function resolve(schemas: Schemas, schema: unknown): Members | undefined {
  return resolveStanding(schemas, { pointer: "", schema: membersOf(schema) })?.schema
}

export function resolveStanding(schemas: Schemas, standing: Standing): Standing | undefined {
  let found = standing
  for (let depth = 0; depth < referencesDepthMax; depth++) {
    const reference = found.schema["$ref"]
    if (reference === undefined) return found
    const name = componentPattern.exec(typeof reference === "string" ? reference : "")?.[1]
    if (name === undefined || !Object.hasOwn(schemas, name)) return undefined
    found = { pointer: `/components/schemas/${pointerStep(name)}`, schema: membersOf(schemas[name]) }
  }
  return undefined
}

export function pointerStep(name: string): string {
  return encodeURIComponent(name.replaceAll("~", "~0").replaceAll("/", "~1"))
}

export function membersOf(value: unknown): Members {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : {}
}

export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

/** Its own schema and those that it is made of by `allOf`, their references followed. */
export function layersOf(schemas: Schemas, standing: Standing, depth = 0): Standing[] {
  const found = resolveStanding(schemas, standing)
  if (!found || depth >= referencesDepthMax) return []
  const parts = listOf(found.schema["allOf"]).map((schema, index) => ({
    pointer: `${found.pointer}/allOf/${index}`,
    schema: membersOf(schema),
  }))
  return [found, ...parts.flatMap((part) => layersOf(schemas, part, depth + 1))]
}
