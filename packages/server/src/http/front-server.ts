import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { ExternalFront } from "./external-front.ts"

/**
 * The HTTP server below the web framework. Node's own bound on the time that a request may take would end long uploads to
 * services outside, so it is kept here for all others.
 */
export function createFrontServer(
  handler: RequestListener,
  options: {
    readonly requestTimeoutMilliseconds: number
    readonly tls?: { readonly certPem: string; readonly keyPem: string }
    readonly external?: ExternalFront
  },
): Server {
  const { requestTimeoutMilliseconds, tls, external } = options
  const listener: RequestListener = (request, response) => {
    if (external?.takes(request) === true) {
      external.handle(request, response)
      return
    }
    boundTime(request, requestTimeoutMilliseconds)
    handler(request, response)
  }
  const limits = { requestTimeout: 0, headersTimeout: requestTimeoutMilliseconds }
  return tls
    ? createTlsServer({ ...limits, cert: tls.certPem, key: tls.keyPem }, listener)
    : createServer(limits, listener)
}

function boundTime(request: IncomingMessage, milliseconds: number): void {
  const { headers } = request
  if (headers["transfer-encoding"] === undefined && (headers["content-length"] ?? "0") === "0") return
  const timer = setTimeout(() => {
    if (request.complete) return
    request.socket.end("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
    request.socket.destroySoon()
  }, milliseconds)
  request.once("close", () => clearTimeout(timer))
}
