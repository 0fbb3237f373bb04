import { AppError } from "@signalbox/kernel/app-error"
import type { IncomingMessage } from "node:http"
import type { RequestTarget } from "./request-target.ts"
import { createTransport, type Transport } from "./transport.ts"

export interface ClientOptions {
  /** As in `https://signalbox.example:7443`; a path before `/v1` is kept. */
  readonly url: string
  /** An API key, `sbx_…`; left out, only what needs no key can be called. */
  readonly key?: string
  /** The only CA that is trusted, in PEM; left out, the system's are. */
  readonly caPem?: string
  /** Shown in the server's log. */
  readonly userAgent?: string
}

/** One server as the client reaches it. */
export interface Connection {
  readonly url: URL
  readonly options: ClientOptions
  readonly transport: Transport
}

/** @throws cli.usage where the URL is none */
export function connect(options: ClientOptions): Connection {
  const url = baseUrl(options.url)
  return { url, options, transport: createTransport(url, { caPem: options.caPem }) }
}

function baseUrl(text: string): URL {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:") || url.username !== "") {
    throw new AppError("cli.usage", `"${text}" is no server URL; write https://HOST:PORT`)
  }
  url.search = ""
  url.hash = ""
  return url
}

export function send(
  connection: Connection,
  target: RequestTarget,
  options: { headers: Record<string, string>; accept: string; signal: AbortSignal | undefined },
): Promise<IncomingMessage> {
  const { url, options: client, transport } = connection
  return transport.send({
    path: url.pathname.replace(/\/$/, "") + target.path,
    method: target.method,
    headers: {
      accept: options.accept,
      "user-agent": client.userAgent ?? "signalbox-sdk",
      ...(client.key === undefined ? {} : { authorization: `Bearer ${client.key}` }),
      ...(target.body === undefined ? {} : { "content-type": "application/json" }),
      ...options.headers,
    },
    ...(target.body === undefined ? {} : { body: target.body }),
    signal: options.signal,
  })
}

export function header(response: IncomingMessage, name: string): string | undefined {
  const value = response.headers[name]
  return Array.isArray(value) ? value[0] : value
}
