import type { IncomingHttpHeaders } from "node:http"
import { hopByHop, ownPrefix, saidHere } from "../router/external-headers.ts"
import type { HeaderPair } from "../router/external-ports.ts"
import type { Passage } from "../router/external-stage.ts"

/**
 * Which headers go to a service outside, and which come back. Pure. What belongs to one connection stays there (RFC 9110,
 * 7.6.1); what tells who calls is ours to say, so a caller's own is dropped.
 */

export interface CameBy {
  /** As Node gives them: name, value, name, value. */
  readonly rawHeaders: readonly string[]
  readonly headers: IncomingHttpHeaders
  readonly address: string | undefined
  readonly protocol: "http" | "https"
}

/** Name, value, name, value. */
export function requestHeadersOf(
  came: CameBy,
  passage: Pick<Passage, "service" | "caller" | "requestId" | "cause">,
  credentials: HeaderPair | undefined,
): string[] {
  const { rawHeaders, headers, address = "unknown", protocol } = came
  const { service, caller, requestId, cause } = passage
  const named = connectionNames(headers.connection)
  const replaced = credentials?.[0]
  const result: string[] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? "").toLowerCase()
    if (hopByHop.has(name) || name.startsWith(ownPrefix) || named?.has(name) === true || name === replaced) continue
    if (saidHere.has(name) && !(name === "authorization" && service.forwardAuthorization)) continue
    result.push(name, rawHeaders[index + 1] ?? "")
  }
  if (credentials) result.push(...credentials)
  const host = headers.host ?? ""
  const forwardedFor = address.includes(":") ? `"[${address}]"` : address
  result.push("forwarded", `for=${forwardedFor};host=${quoted(host)};proto=${protocol}`)
  result.push("x-forwarded-for", address, "x-forwarded-host", host, "x-forwarded-proto", protocol)
  result.push("x-forwarded-prefix", `/x/${service.name}`, "x-request-id", requestId)
  result.push("signalbox-cause", cause, "signalbox-account", caller.account, "signalbox-principal", caller.principal)
  return result
}

/** Name, value, name, value: what a service replied with, for the caller. */
export function responseHeadersOf(headers: IncomingHttpHeaders, requestId: string): string[] {
  const named = connectionNames(headers.connection)
  const result = ["x-request-id", requestId]
  for (const name in headers) {
    if (hopByHop.has(name) || name === "x-request-id" || name.startsWith(ownPrefix) || named?.has(name) === true)
      continue
    const value = headers[name]
    if (Array.isArray(value)) for (const each of value) result.push(name, each)
    else result.push(name, value ?? "")
  }
  if (mayBePage(headers["content-type"])) result.push(...asForeign)
  return result
}

/**
 * A page of a service is shown under the address of Signalbox: a browser is to treat it as one of nowhere, which reads and
 * sends nothing in the name of who looks at it. Added to a policy of the service's own, which holds too.
 */
const asForeign = ["content-security-policy", "sandbox", "x-content-type-options", "nosniff"] as const

/** Everything that a browser shows as a page, or may take for one. */
export function mayBePage(type: string | undefined): boolean {
  return type === undefined || !/^(?:application\/(?:json|octet-stream|problem\+json)|text\/event-stream)\b/i.test(type)
}

function connectionNames(connection: string | string[] | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === "keep-alive" || connection === "close") return undefined
  const text = Array.isArray(connection) ? connection.join(",") : connection
  return new Set(
    text
      .toLowerCase()
      .split(",")
      .map((name) => name.trim()),
  )
}

function quoted(text: string): string {
  return /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(text) ? text : `"${text.replaceAll(/["\\]/g, "")}"`
}
