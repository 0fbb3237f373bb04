import type { IncomingHttpHeaders } from "node:http"
import { AppError } from "@signalbox/kernel/app-error"
import type { ExternalInput, ExternalOperation, SentBody } from "./external-ports.ts"
import { fieldsOf, jsonType, mediaTypeOf } from "./external-request.ts"

export function isJson(headers: IncomingHttpHeaders): boolean {
  return jsonType.test(headers["content-type"] ?? "")
}

/** What a request's headers say of its body. */
export function sentBodyOf(headers: IncomingHttpHeaders): SentBody {
  const length = headers["content-length"]
  return {
    isPresent: headers["transfer-encoding"] !== undefined || (length !== undefined && Number(length) > 0),
    type: mediaTypeOf(headers["content-type"] ?? ""),
  }
}

/** Pure. @throws request.invalid-json, gateway.invalid-path */
export function inputOf(made: {
  readonly operation: Pick<ExternalOperation, "path" | "headerNames">
  readonly values: readonly string[]
  readonly call: { readonly query: string; readonly headers: IncomingHttpHeaders }
  readonly body: Buffer | undefined
}): ExternalInput {
  const { operation, values, call, body } = made
  const names = operation.path.includes("{") ? fieldsOf(operation.path) : []
  const query: Record<string, string | string[]> = {}
  for (const [name, value] of call.query === "" ? [] : new URLSearchParams(call.query)) {
    const before = Object.hasOwn(query, name) ? query[name] : undefined
    const after = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value]
    Object.defineProperty(query, name, { value: after, enumerable: true, configurable: true, writable: true })
  }
  return {
    path: Object.fromEntries(names.map((name, index) => [name, decode(values[index] ?? "")])),
    query,
    headers: headersOf(call.headers, operation.headerNames),
    ...(body && body.length > 0 ? { body: parse(body) } : {}),
  }
}

const shownHeaders = ["accept", "content-type", "idempotency-key", "user-agent"] as const

/** Those, and what the document names. */
function headersOf(headers: IncomingHttpHeaders, named: readonly string[]): Record<string, string> {
  const shown: Record<string, string> = {}
  for (const name of shownHeaders) {
    const value = headers[name]
    if (typeof value === "string") shown[name] = value
  }
  if (named.length === 0) return shown
  const more = named.flatMap((name) => {
    const value = headers[name]
    return typeof value === "string" ? [[name, value] as const] : []
  })
  return { ...shown, ...Object.fromEntries(more) }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw new AppError("gateway.invalid-path", "the path has a % that begins no encoded character", { cause })
  }
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8")) as unknown
  } catch (cause) {
    throw new AppError("request.invalid-json", "the body is not valid JSON", { cause })
  }
}
