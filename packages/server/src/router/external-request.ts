import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import type { ExternalInput, ExternalOperation, ExternalRequest, SentBody } from "./external-ports.ts"
import { hopByHop, ownPrefix, saidHere } from "./external-headers.ts"

/** What a server behind may read as another path than the one that was looked up here. */
const ambiguousPath = /\/\/|\/\.{1,2}(?:[/;]|$)|[\\#]|%(?:2e|2f|5c|00)|[^\x21-\x7e]/i

/** @throws gateway.invalid-path */
export function refuseAmbiguous(path: string): void {
  if (ambiguousPath.test(path))
    throw new AppError("gateway.invalid-path", "the path can be read in more than one way, so it is not passed on")
}

type Called = Pick<ExternalOperation, "name" | "method" | "path" | "bodyBytesMax" | "findIssues">

/**
 * Writes the request of a call by name. Pure.
 *
 * @throws request.invalid-input, gateway.invalid-path, request.body-too-large
 */
export function requestOf(operation: Called, input: ExternalInput): ExternalRequest {
  const { name, method, bodyBytesMax, findIssues } = operation
  const issues = [...fieldIssues(operation, input), ...headerIssues(input)]
  if (issues.length > 0) throw unfit(name, issues)
  const path = pathOf(operation, input)
  refuseAmbiguous(path)
  const { body, type } = bodyOf(name, input)
  if (body && bodyBytesMax !== undefined && body.length > bodyBytesMax)
    throw new AppError("request.body-too-large", `the body is over ${bodyBytesMax} bytes`, {
      details: { bodyBytesMax },
    })
  const found = findIssues?.(input, { isPresent: body !== null, type: mediaTypeOf(type) })
  if (found && found.length > 0) throw unfit(name, found)
  const own = Object.entries(input.headers).map(([header, value]) => [header.toLowerCase(), value] as const)
  const headers = own.filter(([header]) => header !== "content-type")
  return {
    method,
    path: pathAndQueryOf(operation, input),
    headers: body ? [...headers, ["content-type", type]] : headers,
    body,
  }
}

export function unfit(name: string, issues: readonly Issue[]): AppError {
  const [first] = issues
  return new AppError("request.invalid-input", `${name}: ${first?.path} ${first?.message}`, { issues })
}

export const fieldPattern = /\{([^{}]*)\}/g

/** The names of a path's fields, in their order. */
export function fieldsOf(path: string): string[] {
  return [...path.matchAll(fieldPattern)].map(([, field = ""]) => field)
}

function fieldIssues({ path }: Called, input: ExternalInput): Issue[] {
  const fields = fieldsOf(path)
  const missing = fields.filter((field) => !Object.hasOwn(input.path, field) || input.path[field] === "")
  const unknown = Object.keys(input.path).filter((field) => !fields.includes(field))
  return [
    ...missing.map((field) => ({ path: `path.${field}`, message: "is required" })),
    ...unknown.map((field) => ({ path: `path.${field}`, message: "is no field of the path" })),
  ]
}

function pathOf({ path }: Pick<Called, "path">, input: ExternalInput): string {
  return path.replaceAll(fieldPattern, (_match, field: string) => encodeURIComponent(input.path[field] ?? ""))
}

/** As the request of a call by name has them. */
export function pathAndQueryOf(operation: Pick<Called, "path">, input: ExternalInput): string {
  return pathOf(operation, input) + queryOf(input.query)
}

function queryOf(query: ExternalInput["query"]): string {
  const sorted = Object.entries(query).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const pairs = sorted.flatMap(([name, value]) =>
    (Array.isArray(value) ? (value as readonly string[]) : [value as string]).map((each): [string, string] => [
      name,
      each,
    ]),
  )
  return pairs.length === 0 ? "" : `?${new URLSearchParams(pairs).toString()}`
}

const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/
const headerValue = /^[\t\x20-\x7e\x80-\xff]{0,8192}$/
/** What belongs to the caller alone, or is made of the call itself. */
const notGiven: ReadonlySet<string> = new Set(["content-length", "cookie", "idempotency-key"])

/** Whether a call by name may have a header of its own by that name, in small letters. */
export function canBeGiven(name: string): boolean {
  return !(hopByHop.has(name) || saidHere.has(name) || notGiven.has(name) || name.startsWith(ownPrefix))
}

/** Why a call by name may not have a header by that name. */
export function findHeaderFault(name: string): string | undefined {
  if (!headerName.test(name)) return "is no name of a header"
  return canBeGiven(name.toLowerCase()) ? undefined : "is said by Signalbox"
}

export function headerIssues({ headers }: Pick<ExternalInput, "headers">): Issue[] {
  return Object.entries(headers).flatMap(([given, value]) => {
    const message =
      findHeaderFault(given) ?? (headerValue.test(value) ? undefined : "has characters that a header can't carry")
    return message === undefined ? [] : [{ path: `headers.${given.slice(0, 64)}`, message }]
  })
}

function bodyOf(name: string, { headers, body, bodyBase64 }: ExternalInput): { body: Buffer | null; type: string } {
  const given = Object.entries(headers).find(([header]) => header.toLowerCase() === "content-type")?.[1]
  if (bodyBase64 !== undefined) {
    if (body !== undefined) throw unfit(name, [{ path: "body", message: "is given twice: leave bodyBase64 out" }])
    return { body: Buffer.from(bodyBase64, "base64"), type: given ?? "application/octet-stream" }
  }
  if (body === undefined) return { body: null, type: "" }
  const type = given ?? "application/json"
  // In the same words each time: what was kept meanwhile has lost the order of its members.
  if (jsonType.test(type)) return { body: Buffer.from(canonicalJson(body)), type }
  if (typeof body === "string") return { body: Buffer.from(body), type }
  throw unfit(name, [{ path: "body", message: `is a text, or bodyBase64, where it is sent as ${type}` }])
}

/** What the body of a call by name will be sent as. */
export function sentBodyOfInput(input: ExternalInput): SentBody {
  const given = Object.entries(input.headers).find(([header]) => header.toLowerCase() === "content-type")?.[1]
  const isPresent = input.body !== undefined || input.bodyBase64 !== undefined
  const usual = input.bodyBase64 === undefined ? "application/json" : "application/octet-stream"
  return { isPresent, type: isPresent ? mediaTypeOf(given ?? usual) : "" }
}

/** Without its parameters, in small letters. */
export const mediaTypeOf = (type: string): string => type.replace(/;.*$/s, "").trim().toLowerCase()

export const jsonType = /^application\/(?:[a-z0-9.+-]*\+)?json\b/i
