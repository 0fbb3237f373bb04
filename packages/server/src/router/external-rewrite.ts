/**
 * What rules rewrite of calls to services outside: fields of the path, parameters of the query, headers, and members of a
 * JSON body, each named by its place. Pure.
 */
import type { AppError, Issue } from "@signalbox/kernel/app-error"
import type { ExternalInput, ExternalOperation, SentBody } from "./external-ports.ts"
import { fieldPattern, fieldsOf, findHeaderFault, headerIssues, refuseAmbiguous, unfit } from "./external-request.ts"

/** Places such as `query.limit`, `headers.x-tenant`, `path.id` and `body.customer.note`, and their new values. */
export type RewrittenFields = ReadonlyMap<string, unknown>

/** What is sent in the place of what came. */
export interface RewrittenRequest {
  /** Below `/x/<service>`. */
  readonly path: string
  /** With its question mark; empty where there is none. */
  readonly query: string
  /** Names in small letters. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** Left out, it is sent as it comes. */
  readonly body?: Buffer
}

const parts: ReadonlySet<string> = new Set(["path", "query", "headers", "body"])
/** What says how a body is to be read, or belongs to a connection that becomes another. */
const neverRewritten = /^(?:content-(?:type|encoding|length|md5|digest)|digest|repr-digest|sec-websocket-.*)$/

/** `body.customer.note` is `["body", "customer", "note"]`; other parts have names that may hold dots. */
export function placeOf(field: string): readonly string[] {
  const [part = "", ...rest] = field.split(".")
  if (part === "body" || rest.length === 0) return [part, ...rest]
  const name = rest.join(".")
  return [part, part === "headers" ? name.toLowerCase() : name]
}

export const isOfBody = (field: string): boolean => placeOf(field)[0] === "body"

/** Whether setting one is setting the other too. */
export function overlap(one: string, other: string): boolean {
  const [a, b] = [placeOf(one), placeOf(other)]
  const length = Math.min(a.length, b.length)
  return a.slice(0, length).join("\0") === b.slice(0, length).join("\0")
}

type Rewritable = Pick<ExternalOperation, "name" | "path" | "document">

/** Why a field of an operation's calls can't be rewritten. */
export function findRewriteFault({ path, document }: Rewritable, field: string): string | undefined {
  const place = placeOf(field)
  const [part = "", name = ""] = place
  if (!parts.has(part)) return "a call to a service outside has path.NAME, query.NAME, headers.NAME and body.NAME"
  if (place.length < 2 || place.includes(""))
    return `can't be rewritten as a whole: name a field of it, as in ${part}.NAME`
  switch (part) {
    case "path":
      return fieldsOf(path).includes(name) ? undefined : "is no field of the path"
    case "headers":
      return findHeaderFault(name) ?? (neverRewritten.test(name) ? "is a header that can't be rewritten" : undefined)
    default:
      return document().findPlace(place).kind === "absent" ? "is nowhere in the service's document" : undefined
  }
}

/**
 * The input of a call, by whichever door, with fields rewritten; checked against the document.
 *
 * @throws request.invalid-input, gateway.invalid-path, gateway.invalid-document
 */
export function rewriteInput(
  operation: Rewritable,
  { input, sent }: { readonly input: ExternalInput; readonly sent: SentBody },
  fields: RewrittenFields,
): ExternalInput {
  const { name, path, document } = operation
  const changed = setFields(operation, input, fields)
  const headers = Object.fromEntries(
    Object.entries(changed.headers).filter(([header]) => fields.has(`headers.${header}`)),
  )
  const empty = fieldsOf(path).filter((field) => changed.path[field] === "")
  const issues = [
    ...headerIssues({ headers }),
    ...empty.map((field): Issue => ({ path: `path.${field}`, message: "is empty" })),
  ]
  if (issues.length === 0) issues.push(...document().findIssues(changed, sent))
  if (issues.length > 0) throw unfit(name, issues)
  const template = Object.fromEntries(
    fieldsOf(path).map((field) => [field, encodeURIComponent(changed.path[field] ?? "")]),
  )
  refuseAmbiguous(path.replaceAll(fieldPattern, (_match, field: string) => template[field] ?? ""))
  return changed
}

/** The same, unchecked: of what is kept of a call whose rewriting was checked. @throws request.invalid-input */
export function setFields(operation: Rewritable, input: ExternalInput, fields: RewrittenFields): ExternalInput {
  return [...fields].reduce((so, [field, value]) => {
    const refuse = (message: string): AppError => unfit(operation.name, [{ path: field, message }])
    const fault = findRewriteFault(operation, field)
    if (fault !== undefined) throw refuse(fault)
    const [part = "", ...steps] = placeOf(field)
    const [name = ""] = steps
    switch (part) {
      case "path":
        return { ...so, path: withMember(so.path, name, textOf(value, refuse)) }
      case "query":
        return {
          ...so,
          query: withMember(
            so.query,
            name,
            Array.isArray(value) ? value.map((each) => textOf(each, refuse)) : textOf(value, refuse),
          ),
        }
      case "headers": {
        const others = Object.entries(so.headers).filter(([header]) => header.toLowerCase() !== name)
        return { ...so, headers: withMember(Object.fromEntries(others), name, textOf(value, refuse)) }
      }
      default:
        return { ...so, body: withPlace(so.body, steps, { value, refuse }) }
    }
  }, input)
}

/** Whether a place, or what is put there, is secret by the document. */
export function isSecretPlace(operation: ExternalOperation, field: string, value: unknown): boolean {
  const { replaceSecrets } = operation.declaration
  if (!replaceSecrets || findRewriteFault(operation, field) !== undefined) return false
  const nothing: ExternalInput = { path: {}, query: {}, headers: {}, body: {} }
  let isSecret = false
  replaceSecrets(setFields(operation, nothing, new Map([[field, value]])), (found) => {
    isSecret = true
    return found
  })
  return isSecret
}

type Refuse = (message: string) => AppError

function textOf(value: unknown, refuse: Refuse): string {
  if (typeof value === "string") return value
  if (typeof value === "number" || typeof value === "boolean") return String(value)
  throw refuse("becomes a text, a number or a boolean")
}

function withPlace(
  whole: unknown,
  [step = "", ...deeper]: readonly string[],
  { value, refuse }: { readonly value: unknown; readonly refuse: Refuse },
): unknown {
  if (typeof whole !== "object" || whole === null || Array.isArray(whole))
    throw refuse("is in a JSON object, and the call has none there")
  const members = whole as Readonly<Record<string, unknown>>
  if (deeper.length === 0) return withMember(members, step, value)
  const inner = Object.hasOwn(members, step) ? members[step] : {}
  return withMember(members, step, withPlace(inner, deeper, { value, refuse }))
}

/** Each member where it was; a new one at the end. Any name is just a name. */
function withMember<Value>(
  members: Readonly<Record<string, Value>>,
  name: string,
  value: Value,
): Record<string, Value> {
  return Object.fromEntries(new Map([...Object.entries(members), [name, value]]))
}

/** What is sent for a call that is passed through: everything that no rule names as it came. */
export function rewriteRequest(
  operation: Rewritable,
  came: {
    readonly path: string
    readonly query: string
    readonly values: readonly string[]
  },
  { fields, input }: { readonly fields: RewrittenFields; readonly input: ExternalInput },
): RewrittenRequest {
  const names = (wanted: string): string[] =>
    [...fields.keys()].flatMap((field) => {
      const [part, name] = placeOf(field)
      return part === wanted && name !== undefined ? [name] : []
    })
  const [path, query, headers, body] = [names("path"), names("query"), names("headers"), names("body")]
  return {
    path: path.length > 0 ? pathSent(operation, came.values, { names: new Set(path), input }) : came.path,
    query: query.length > 0 ? querySent(came.query, new Set(query), input) : came.query,
    headers: headers.map((name) => [name, input.headers[name] ?? ""] as const),
    ...(body.length > 0 && { body: Buffer.from(JSON.stringify(input.body)) }),
  }
}

function pathSent(
  { path }: Rewritable,
  values: readonly string[],
  { names, input }: { readonly names: ReadonlySet<string>; readonly input: ExternalInput },
): string {
  let index = 0
  return path.replaceAll(fieldPattern, (_match, field: string) => {
    const came = values[index++] ?? ""
    return names.has(field) ? encodeURIComponent(input.path[field] ?? "") : came
  })
}

function querySent(came: string, names: ReadonlySet<string>, { query }: ExternalInput): string {
  const nameOf = (pair: string): string => new URLSearchParams(pair).keys().next().value ?? ""
  const kept = came
    .slice(1)
    .split("&")
    .filter((pair) => pair !== "" && !names.has(nameOf(pair)))
  const added = [...names].flatMap((name) =>
    [query[name] ?? []].flat().map((value) => new URLSearchParams([[name, value]]).toString()),
  )
  const all = [...kept, ...added]
  return all.length === 0 ? "" : `?${all.join("&")}`
}
