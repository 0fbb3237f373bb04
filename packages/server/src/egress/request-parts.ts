import { validateHeaderName, validateHeaderValue } from "node:http"
import { AppError } from "@signalbox/kernel/app-error"
import type { Dispatcher } from "undici"
import { egressLimits } from "./egress-limits.ts"

const methods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

/** They belong to the connection, not to the call. */
const connectionHeaders: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

/** @throws egress.invalid-request */
export function requestMethod(text: string): Dispatcher.HttpMethod {
  const method = text.toUpperCase()
  if (!methods.has(method)) throw new AppError("egress.invalid-request", "the method is none that may be called")
  return method as Dispatcher.HttpMethod
}

/** The headers to send. Messages name headers, never their values. @throws egress.invalid-request */
export function requestHeaders(request: {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}): Record<string, string> {
  const given = Object.entries(request.headers ?? {})
  if (given.length > egressLimits.headersMax)
    throw new AppError("egress.invalid-request", `the call has more than ${egressLimits.headersMax} headers`)
  const headers: Record<string, string> = { "user-agent": "signalbox", "accept-encoding": "identity" }
  let bytes = 0
  for (const [name, value] of given) {
    const lower = name.toLowerCase()
    if (connectionHeaders.has(lower))
      throw new AppError("egress.invalid-request", `the header ${lower} is set by the connection, not by the call`)
    if (!isHeader(name, value))
      throw new AppError("egress.invalid-request", `the header ${JSON.stringify(name.slice(0, 64))} can't be sent`)
    bytes += name.length + value.length
    headers[lower] = value
  }
  if (bytes > egressLimits.headerBytesMax)
    throw new AppError("egress.invalid-request", `the headers have more than ${egressLimits.headerBytesMax} bytes`)
  if (Buffer.byteLength(request.body ?? "") > egressLimits.requestBytesMax)
    throw new AppError("egress.invalid-request", `the body has more than ${egressLimits.requestBytesMax} bytes`)
  return headers
}

function isHeader(name: string, value: string): boolean {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    return true
  } catch {
    return false
  }
}
