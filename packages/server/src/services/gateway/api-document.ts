import { gatewayLimits } from "@signalbox/contracts/gateway/operations"
import type { Issue } from "@signalbox/kernel/app-error"
import { fieldsOf } from "./path-tree.ts"

/**
 * Reads what Signalbox needs of an OpenAPI document: its operations with their parameters and bodies. Pure. References
 * lead into the document; what they lead to is found here, so that nothing is ever fetched.
 */
export interface ApiDocument {
  readonly title: string
  readonly apiVersion: string
  readonly dialect: "3.0" | "3.1"
  readonly operations: readonly ApiOperation[]
  /** `components.schemas`, as they are written. */
  readonly schemas: Readonly<Record<string, unknown>>
  /** Where callers show keys of their own: `query api_key`, `headers x-api-key`. */
  readonly keyNames: readonly string[]
}

export interface ApiOperation {
  readonly id: string
  /** In capitals. */
  readonly method: string
  readonly path: string
  readonly summary: string
  readonly parameters: readonly ApiParameter[]
  readonly body: ApiBody | undefined
  /** Whether the document says `x-signalbox-retry-safe: true`. */
  readonly retrySafe: boolean
}

export interface ApiParameter {
  readonly name: string
  readonly in: "path" | "query" | "header"
  readonly required: boolean
  /** Whether several values are sent as one text, joined by commas. */
  readonly isJoined: boolean
  /** Whether it is written as parameters of its place are by default: of others it isn't known what they mean. */
  readonly isPlain: boolean
  /** Whether the document says `x-signalbox-secret: true`. */
  readonly isSecret: boolean
  readonly schema: unknown
}

export interface ApiBody {
  readonly required: boolean
  /** The media types, in small letters. */
  readonly types: readonly string[]
  /** Of the JSON among its media types; undefined where it has none. */
  readonly schema: unknown
  /** Of its other media types. */
  readonly otherSchemas: readonly unknown[]
}

type Members = Readonly<Record<string, unknown>>

const methods = ["get", "put", "post", "delete", "options", "head", "patch"] as const
const operationIdPattern = /^[A-Za-z_][A-Za-z0-9._-]{0,63}$/
const referencesDepthMax = 16
const issuesMax = 50

/** Gives what is wrong with it in place of what it says. */
export function readApiDocument(document: Members): ApiDocument | { readonly issues: readonly Issue[] } {
  const issues: Issue[] = []
  const dialect = /^3\.([01])\./.exec(String(document["openapi"]))?.[1]
  if (dialect === undefined)
    return { issues: [{ path: "document.openapi", message: "give a document of OpenAPI 3.0 or 3.1" }] }
  const info = membersOf(document["info"])
  const operations: ApiOperation[] = []
  for (const [path, item] of Object.entries(membersOf(document["paths"]))) {
    const place = { document, path, item: membersOf(item), issues }
    issues.push(...findPathIssues(path, place.item))
    for (const method of methods) {
      if (place.item[method] !== undefined) operations.push(readOperation(place, method))
    }
  }
  issues.push(...findOperationIssues(operations))
  if (issues.length > 0) return { issues: issues.slice(0, issuesMax) }
  return {
    title: textOf(info["title"]),
    apiVersion: textOf(info["version"]),
    dialect: dialect === "0" ? "3.0" : "3.1",
    operations,
    schemas: membersOf(membersOf(document["components"])["schemas"]),
    keyNames: keyNamesOf(membersOf(document["components"])["securitySchemes"]),
  }
}

function keyNamesOf(schemes: unknown): string[] {
  return Object.values(membersOf(schemes)).flatMap((scheme) => {
    const { type, in: where, name } = membersOf(scheme)
    if (type !== "apiKey" || typeof name !== "string") return []
    return where === "query" ? [`query ${name}`] : where === "header" ? [`headers ${name.toLowerCase()}`] : []
  })
}

interface Place {
  readonly document: Members
  readonly path: string
  readonly item: Members
  readonly issues: Issue[]
}

function findPathIssues(path: string, item: Members): Issue[] {
  const at = `document.paths.${path}`
  const issues: Issue[] = []
  if (!/^\/[\x21-\x7e]*$/.test(path) || /[?#\\]|\/\/|\/\.{1,2}(?:\/|$)/.test(path))
    issues.push({
      path: at,
      message: "a path begins with / and has no empty segments, dot segments, query or fragment",
    })
  const rest = path.replaceAll(/\{[^{}/]+\}/g, "")
  if (/[{}]/.test(rest) || /\}\{/.test(path))
    issues.push({ path: at, message: "a field is written {name}, with something between two of them" })
  if (item["$ref"] !== undefined) issues.push({ path: at, message: "write the path's operations here, not a $ref" })
  return issues
}

function readOperation(place: Place, method: (typeof methods)[number]): ApiOperation {
  const { document, path, item, issues } = place
  const operation = membersOf(item[method])
  const at = `document.paths.${path}.${method}`
  const parameters = new Map<string, ApiParameter>()
  const given = [...listOf(item["parameters"]), ...listOf(operation["parameters"])]
  for (const each of given) {
    const parameter = follow(document, each, { at: `${at}.parameters`, issues })
    const read = parameter && readParameter(parameter)
    if (read) parameters.set(`${read.in} ${read.name}`, read)
  }
  for (const field of fieldsOf(path)) {
    if (!parameters.has(`path ${field}`))
      parameters.set(`path ${field}`, {
        name: field,
        in: "path",
        required: true,
        isJoined: false,
        isPlain: true,
        isSecret: false,
        schema: {},
      })
  }
  const body = operation["requestBody"]
  const found = body === undefined ? undefined : follow(document, body, { at: `${at}.requestBody`, issues })
  return {
    id: textOf(operation["operationId"]),
    method: method.toUpperCase(),
    path,
    summary: textOf(operation["summary"]) || `${method.toUpperCase()} ${path}`,
    parameters: [...parameters.values()],
    body: found && readBody(found),
    retrySafe: operation["x-signalbox-retry-safe"] === true,
  }
}

function readParameter(parameter: Members): ApiParameter | undefined {
  const { name, in: where } = parameter
  if (typeof name !== "string" || (where !== "path" && where !== "query" && where !== "header")) return undefined
  const usual = where === "query" ? "form" : "simple"
  const style = parameter["style"] ?? usual
  const explode = parameter["explode"] ?? style === "form"
  return {
    name: where === "header" ? name.toLowerCase() : name,
    in: where,
    required: where === "path" || parameter["required"] === true,
    isJoined: explode !== true,
    isPlain: style === usual,
    isSecret: parameter["x-signalbox-secret"] === true,
    schema: parameter["schema"] ?? {},
  }
}

function readBody(body: Members): ApiBody {
  const content = Object.entries(membersOf(body["content"]))
  const json = content.find(([type]) => /^application\/(?:[a-z.+-]*\+)?json\b/i.test(type))
  const types = content.map(([type]) => type.replace(/;.*$/s, "").trim().toLowerCase())
  const otherSchemas = content.filter((each) => each !== json).map(([, other]) => membersOf(other)["schema"] ?? {})
  const schema = json && (membersOf(json[1])["schema"] ?? {})
  return { required: body["required"] === true, types, schema, otherSchemas }
}

/** What a reference leads to, inside the document; anything else as it is. */
function follow(
  document: Members,
  start: unknown,
  { at, issues }: { readonly at: string; readonly issues: Issue[] },
): Members | undefined {
  let value = start
  for (let depth = 0; depth < referencesDepthMax; depth++) {
    const reference = membersOf(value)["$ref"]
    if (reference === undefined) return membersOf(value)
    const found = typeof reference === "string" ? findAt(document, reference) : undefined
    if (found === undefined) {
      issues.push({ path: at, message: `${JSON.stringify(reference).slice(0, 200)} leads to nothing in this document` })
      return undefined
    }
    value = found
  }
  issues.push({ path: at, message: "references lead in a circle" })
  return undefined
}

function findAt(document: Members, reference: string): unknown {
  if (!reference.startsWith("#/")) return undefined
  let value: unknown = document
  for (const step of reference.slice(2).split("/")) {
    const name = decodeStep(step)
    if (typeof value !== "object" || value === null || name === undefined || !Object.hasOwn(value, name))
      return undefined
    value = (value as Members)[name]
  }
  return value
}

function decodeStep(step: string): string | undefined {
  try {
    return decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~")
  } catch {
    return undefined
  }
}

function findOperationIssues(operations: readonly ApiOperation[]): Issue[] {
  const issues: Issue[] = []
  const seen = new Map<string, string>()
  const shapes = new Map<string, string>()
  for (const { id, method, path } of operations) {
    const at = `document.paths.${path}.${method.toLowerCase()}`
    if (!operationIdPattern.test(id))
      issues.push({
        path: at,
        message: "give it an operationId: a letter, then letters, digits, dot, dash, underscore",
      })
    const before = seen.get(id)
    if (before !== undefined) issues.push({ path: at, message: `the operationId ${id} is that of ${before} too` })
    seen.set(id, `${method} ${path}`)
    const shape = `${method} ${path.replaceAll(/\{[^{}]*\}/g, "{}")}`
    const same = shapes.get(shape)
    if (same !== undefined) issues.push({ path: at, message: `nothing tells this path from ${same}` })
    shapes.set(shape, path)
  }
  if (operations.length === 0) issues.push({ path: "document.paths", message: "the document has no operations" })
  if (operations.length > gatewayLimits.operationsMax)
    issues.push({ path: "document.paths", message: `at most ${gatewayLimits.operationsMax} operations` })
  return issues
}

function membersOf(value: unknown): Members {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : {}
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const textOf = (value: unknown): string => (typeof value === "string" ? value.slice(0, 500) : "")
