import { AppError } from "@signalbox/kernel/app-error"
import { Agent as HttpAgent, type IncomingMessage, request as requestPlain } from "node:http"
import { Agent as HttpsAgent, request as requestTls } from "node:https"
import { isIP } from "node:net"
import type { Failure } from "./retry.ts"

export const transportLimits = {
  connectTimeoutMilliseconds: 10_000,
  /** Until the reply begins; a change waits for its transaction. */
  replyTimeoutMilliseconds: 60_000,
  /** An event stream sends at least a comment more often than this. */
  streamSilenceMilliseconds: 90_000,
  replyBytesMax: 256 * 1024 * 1024,
} as const

export interface TransportRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal?: AbortSignal | undefined
}

/** Connections to one server, kept for the next call. */
export interface Transport {
  /** Resolves when the reply begins. Rejects as `transportFailure` takes it. */
  send(request: TransportRequest): Promise<IncomingMessage>
  /** Cuts what runs. Afterwards nothing can be sent. */
  close(): void
}

export interface TransportOptions {
  /** The only CA that is trusted; absent, the system's are. */
  readonly caPem?: string | undefined
  /** True: whoever answers is believed. */
  readonly isUnverified?: boolean
}

/**
 * Node's own HTTP: a command line is started often, and loading another client takes longer than most calls. The
 * environment's proxy is used unless the server is this machine.
 */
export function createTransport(url: URL, { caPem, isUnverified }: TransportOptions): Transport {
  const proxy = isLoopback(url.hostname) ? {} : { proxyEnv: process.env }
  const tls = { ...(caPem === undefined ? {} : { ca: caPem }), rejectUnauthorized: isUnverified !== true }
  const isTls = url.protocol === "https:"
  const agent = isTls
    ? new HttpsAgent({ keepAlive: true, ...proxy, ...tls })
    : new HttpAgent({ keepAlive: true, ...proxy })
  let isClosed = false
  return {
    send(request) {
      if (isClosed) throw new AppError("cli.no-server", `the client of ${url.origin} is closed`)
      return sendRequest(url, agent, request)
    },
    close() {
      isClosed = true
      agent.destroy()
    },
  }
}

function sendRequest(url: URL, agent: HttpAgent | HttpsAgent, sent: TransportRequest): Promise<IncomingMessage> {
  const { method, path, headers, body, signal } = sent
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const isTls = url.protocol === "https:"
  const options = { agent, method, path, headers, ...(signal ? { signal } : {}) }
  const request = (isTls ? requestTls : requestPlain)(url, options)
  const giveUp = (code: string) => request.destroy(Object.assign(new Error(code), { code }))
  const connecting = setTimeout(() => giveUp("ETIMEDOUT"), transportLimits.connectTimeoutMilliseconds)
  const connected = () => clearTimeout(connecting)
  request.once("socket", (socket) => {
    if (request.reusedSocket) connected()
    else socket.once(isTls ? "secureConnect" : "connect", connected)
  })
  request.once("finish", connected)
  request.once("close", connected)
  request.setTimeout(transportLimits.replyTimeoutMilliseconds, () => giveUp(silenceCode))
  request.on("error", reject)
  request.once("response", (response) => {
    request.setTimeout(transportLimits.streamSilenceMilliseconds)
    resolve(response)
  })
  request.end(body)
  return promise
}

const silenceCode = "ESILENT"

function isLoopback(hostname: string): boolean {
  if (hostname === "localhost" || hostname === "[::1]") return true
  return isIP(hostname) === 4 && hostname.startsWith("127.")
}

const refusedCodes = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT"])
const untrustedCodes =
  /^(?:CERT_|ERR_TLS_CERT|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO_SELF_SIGNED|INVALID_CA|HOSTNAME_MISMATCH|INVALID_PURPOSE)/

/** What went wrong below HTTP, as an error for people and a hint for the retry. Everything else is thrown again. */
export function transportFailure(error: unknown, url: URL): Failure {
  const code = codeOf(error)
  const where = url.origin
  if (code !== undefined && refusedCodes.has(code)) {
    return { error: new AppError("cli.no-server", `no server answers at ${where} (${code})`, { cause: error }) }
  }
  if (code !== undefined && untrustedCodes.test(code)) {
    const message = `the certificate of ${where} is not trusted: ${error instanceof Error ? error.message : code}`
    return { error: new AppError("cli.certificate-untrusted", message, { cause: error }) }
  }
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG") {
    const message = `${where} doesn't speak TLS; is it http:// instead of https://?`
    return { error: new AppError("cli.no-server", message, { cause: error }) }
  }
  if (code === undefined) throw error
  const message = `the connection to ${where} was lost (${code})`
  return { error: new AppError("cli.no-server", message, { cause: error }), lost: true }
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  if ("code" in error && typeof error.code === "string") return error.code
  if (error instanceof AggregateError) return error.errors.map(codeOf).find((code) => code !== undefined)
  return codeOf(error.cause)
}

/** The body as text. @throws request.internal where it is over the limit */
export async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > transportLimits.replyBytesMax) {
      throw new AppError("request.internal", `the server's reply has more than ${transportLimits.replyBytesMax} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}
