/** Inputs of calls by name that are stored to be called later, compared with the service's document. Pure. */
import type { Issue } from "@signalbox/kernel/app-error"
import type { ExternalOperation } from "./external-ports.ts"
import { findHeaderFault, jsonType } from "./external-request.ts"
import { placeOf } from "./external-rewrite.ts"

const inputParts: ReadonlySet<string> = new Set(["path", "query", "headers", "body", "bodyBase64"])

/**
 * Of an input as `ext.billing.voidInvoice` takes it by its name: names that the document doesn't have, values that it doesn't
 * take, and what is missing. Texts may hold `${{ expressions }}`. Where its schemas can't be understood nothing is said.
 */
export function findTemplateIssues(
  operation: ExternalOperation,
  input: Readonly<Record<string, unknown>>,
  path: string,
): Issue[] {
  const secrets = secretIssues(operation, input, path)
  if (secrets.length > 0 || operation.document().findFault() !== undefined) return secrets
  const issues = Object.entries(input).flatMap(([part, value]): Issue[] => {
    const at = `${path}.${part}`
    if (!inputParts.has(part)) return [{ path: at, message: `"${operation.name}" has no field "${part}"` }]
    if (part === "bodyBase64") return []
    if (part !== "body") return partIssues(operation, { part, value, path: at })
    return isSentAsJson(input) ? findValueIssues(operation, { place: ["body"], value, path: at }) : []
  })
  const missing = operation
    .document()
    .required.filter((field) => !isGiven(input, field))
    .map((field) => ({ path: `${path}.${field}`, message: `"${operation.name}" needs it` }))
  return [...issues, ...missing]
}

/** What is stored is there for everybody to read. */
function secretIssues({ name, declaration }: ExternalOperation, input: unknown, path: string): Issue[] {
  const issues: Issue[] = []
  declaration.replaceSecrets?.(input, (value, place) => {
    issues.push({
      path: [path, ...place].join("."),
      message: `"${name}" takes a secret there, which can't be kept here`,
    })
    return value
  })
  return issues
}

function isGiven(input: Readonly<Record<string, unknown>>, field: string): boolean {
  const [part = "", name] = placeOf(field)
  if (name === undefined) return part in input || "bodyBase64" in input
  const given = input[part]
  return isText(given) || (isObject(given) && name in given)
}

function isSentAsJson({ headers }: Readonly<Record<string, unknown>>): boolean {
  if (!isObject(headers)) return true
  const type = Object.entries(headers).find(([name]) => name.toLowerCase() === "content-type")?.[1]
  return typeof type !== "string" || jsonType.test(type)
}

interface Placed {
  readonly place: readonly string[]
  readonly value: unknown
  /** Where it stands in the rule. */
  readonly path: string
}

/** Of path, query or headers: an object of texts. */
function partIssues(
  operation: ExternalOperation,
  { part, value, path }: { readonly part: string; readonly value: unknown; readonly path: string },
): Issue[] {
  if (isText(value) && hasExpression(value)) return []
  if (!isObject(value)) return [{ path, message: "is an object of names and texts" }]
  return Object.entries(value).flatMap(([name, each]) => {
    const fault = part === "headers" ? findHeaderFault(name) : undefined
    if (fault !== undefined) return [{ path: `${path}.${name}`, message: fault }]
    const place = part === "headers" ? [part] : [part, name]
    return findValueIssues(operation, { place, value: each, path: `${path}.${name}` })
  })
}

/** What an expression gives is seen when it is filled; what stands around it is seen now. */
export function findValueIssues(operation: ExternalOperation, { place, value, path }: Placed): Issue[] {
  const [part = ""] = place
  const isParameter = part !== "body"
  const isFixed = !hasExpression(value)
  if (isParameter && isFixed && !isSendable(part, value)) return [{ path, message: "is a text, a number or a boolean" }]
  if (part === "headers") return []
  const found = operation.document().findPlace(place)
  if (found.kind === "absent") return [{ path, message: `"${operation.name}" has no such field in its document` }]
  if (found.kind === "anything") return []
  const issues = isFixed ? found.findIssues(isParameter ? sent(value) : value) : []
  if (issues.length > 0)
    return issues.map((issue) => ({
      path: [path, ...(issue.path === "" ? [] : [issue.path])].join("."),
      message: `"${operation.name}" doesn't take this: ${issue.message}`,
    }))
  if (!isObject(value)) return []
  return [
    ...Object.entries(value).flatMap(([name, each]) =>
      findValueIssues(operation, { place: [...place, name], value: each, path: `${path}.${name}` }),
    ),
    ...found.required
      .filter((name) => !(name in value))
      .map((name) => ({ path: `${path}.${name}`, message: `"${operation.name}" needs it` })),
  ]
}

const isPlain = (value: unknown): boolean => ["string", "number", "boolean"].includes(typeof value)

const isSendable = (part: string, value: unknown): boolean =>
  isPlain(value) || (part === "query" && Array.isArray(value) && value.every(isPlain))

const sent = (value: unknown): unknown => (Array.isArray(value) ? value.map(String) : String(value))
const isText = (value: unknown): value is string => typeof value === "string"
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const hasExpression = (value: unknown): boolean => JSON.stringify(value)?.includes("${{") === true
