/**
 * Which parts of an operation's calls are secret by its document: what has `format: password`, `writeOnly: true` or
 * `x-signalbox-secret: true`, and the keys that its security schemes name. Pure.
 */
import type { AnyOperation } from "@signalbox/contracts/operation"
import type { ExternalInput } from "../../router/external-ports.ts"
import type { ApiDocument, ApiOperation } from "./api-document.ts"
import { listOf, membersOf, resolve, type Members, type Schemas } from "./document-schemas.ts"

type ReplaceSecrets = NonNullable<AnyOperation["replaceSecrets"]>
type Replace = Parameters<ReplaceSecrets>[1]

/** Undefined where none of its calls has any. */
export function secretsOf({ schemas, keyNames }: ApiDocument, operation: ApiOperation): ReplaceSecrets | undefined {
  const { parameters, body } = operation
  const named = parameters.filter((each) => each.isSecret || isSecret(resolve(schemas, each.schema) ?? {}))
  const secret = new Set([...named.map(({ in: where, name }) => `${places[where]} ${name}`), ...keyNames])
  const all = body ? [body.schema, ...body.otherSchemas] : []
  const hasBody = all.some((schema) => holdsSecret(schemas, schema))
  if (secret.size === 0 && !hasBody) return undefined
  return (given, replace) => {
    const input = given as ExternalInput
    const changed = {
      ...withReplaced(input, secret, replace),
      ...(hasBody && bodyReplaced(new BodyWalk(schemas, replace), { schema: body?.schema, input, replace })),
    }
    return Object.keys(changed).length === 0 ? given : { ...input, ...changed }
  }
}

const places = { path: "path", query: "query", header: "headers" } as const

function withReplaced(input: ExternalInput, secret: ReadonlySet<string>, replace: Replace): Partial<ExternalInput> {
  const parts = (["path", "query", "headers"] as const).flatMap((part) => {
    const members = Object.entries(membersOf(input[part]))
    const isNamed = ([name]: readonly [string, unknown]): boolean =>
      secret.has(`${part} ${part === "headers" ? name.toLowerCase() : name}`)
    if (!members.some(isNamed)) return []
    const replaced = members.map((member) =>
      isNamed(member) ? [member[0], replace(member[1], [part, member[0]])] : member,
    )
    return [[part, Object.fromEntries(replaced) as unknown] as const]
  })
  return Object.fromEntries(parts)
}

/** Of a body that is no JSON it isn't known where its secrets are: all of it is one. */
function bodyReplaced(
  walk: BodyWalk,
  { schema, input, replace }: { readonly schema: unknown; readonly input: ExternalInput; readonly replace: Replace },
): Partial<ExternalInput> {
  const { body, bodyBase64 } = input
  if (bodyBase64 !== undefined) return { bodyBase64: replace(bodyBase64, ["bodyBase64"]) as string }
  if (body === undefined) return {}
  if (typeof body !== "object" || body === null || schema === undefined) return { body: replace(body, ["body"]) }
  const replaced = walk.read(body, [schema], ["body"])
  return replaced === body ? {} : { body: replaced }
}

class BodyWalk {
  readonly #schemas: Schemas
  readonly #replace: Replace

  constructor(schemas: Schemas, replace: Replace) {
    this.#schemas = schemas
    this.#replace = replace
  }

  /** The value itself where nothing in it is secret. */
  read(value: unknown, schemas: readonly unknown[], place: readonly string[]): unknown {
    const layers = expand(this.#schemas, schemas)
    if (layers.some(isSecret)) return this.#replace(value, place)
    if (layers.length === 0 || typeof value !== "object" || value === null) return value
    const isList = Array.isArray(value)
    const members = Object.entries(value)
    const replaced = members.map(([name, member]) => {
      const inner = layers.flatMap((layer) => (isList ? itemSchemas(layer, Number(name)) : memberSchemas(layer, name)))
      return [name, this.read(member, inner, [...place, name])] as const
    })
    if (replaced.every(([, member], index) => member === members[index]?.[1])) return value
    return isList ? replaced.map(([, member]) => member) : Object.fromEntries(replaced)
  }
}

export function isSecret(schema: Members): boolean {
  return schema["format"] === "password" || schema["writeOnly"] === true || schema["x-signalbox-secret"] === true
}

const combining = ["allOf", "anyOf", "oneOf"] as const
const conditional = ["if", "then", "else"] as const

/** Everything that may be said of a value by these schemas: of choices it isn't asked which is meant. */
function expand(schemas: Schemas, start: readonly unknown[]): Members[] {
  const found = new Set<Members>()
  const waiting: unknown[] = start.filter((schema) => schema !== undefined)
  for (let schema = waiting.pop(); schema !== undefined; schema = waiting.pop()) {
    // Beside a reference, OpenAPI 3.1 lets others stand.
    const own = membersOf(schema)
    const resolved = own["$ref"] === undefined ? own : resolve(schemas, own)
    for (const each of [own, resolved]) {
      if (!each || found.has(each)) continue
      found.add(each)
      waiting.push(...combining.flatMap((keyword) => listOf(each[keyword])))
      waiting.push(...conditional.flatMap((keyword) => each[keyword] ?? []))
    }
  }
  return [...found]
}

function itemSchemas(layer: Members, index: number): unknown[] {
  const prefix = listOf(layer["prefixItems"])[index]
  return [prefix ?? layer["items"]]
}

function memberSchemas(layer: Members, name: string): unknown[] {
  const properties = membersOf(layer["properties"])
  if (Object.hasOwn(properties, name)) return [properties[name]]
  const others = Object.values(membersOf(layer["patternProperties"]))
  return [...others, layer["additionalProperties"]]
}

/** Whether anything that a schema leads to is secret. */
function holdsSecret(schemas: Schemas, start: unknown): boolean {
  const seen = new Set<Members>()
  const waiting: unknown[] = [start]
  while (waiting.length > 0) {
    for (const layer of expand(schemas, [waiting.pop()])) {
      if (seen.has(layer)) continue
      seen.add(layer)
      if (isSecret(layer)) return true
      for (const keyword of ["properties", "patternProperties"])
        waiting.push(...Object.values(membersOf(layer[keyword])))
      waiting.push(...listOf(layer["prefixItems"]), layer["items"], layer["additionalProperties"])
    }
  }
  return false
}
