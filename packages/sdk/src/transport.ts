import { AppError } from "@signalbox/kernel/app-error"
import { isIP } from "node:net"
import { Agent, type Dispatcher, EnvHttpProxyAgent } from "undici"
import type { Failure } from "./retry.ts"

export const transportLimits = {
  connectTimeoutMilliseconds: 10_000,
  /** Until the reply begins; a change waits for its transaction. */
  replyTimeoutMilliseconds: 60_000,
  /** An event stream sends at least a comment more often than this. */
  streamSilenceMilliseconds: 90_000,
  replyBytesMax: 256 * 1024 * 1024,
} as const

/** Connections to one server: its pinned CA where there is one, the environment's proxy unless it is this machine. */
export function createDispatcher(url: URL, caPem: string | undefined): Dispatcher {
  const tls = caPem === undefined ? {} : { ca: caPem }
  const options: Agent.Options = {
    connect: { ...tls, timeout: transportLimits.connectTimeoutMilliseconds },
    headersTimeout: transportLimits.replyTimeoutMilliseconds,
    bodyTimeout: transportLimits.streamSilenceMilliseconds,
  }
  return isLoopback(url.hostname) ? new Agent(options) : new EnvHttpProxyAgent({ ...options, requestTls: tls })
}

function isLoopback(hostname: string): boolean {
  if (hostname === "localhost" || hostname === "[::1]") return true
  return isIP(hostname) === 4 && hostname.startsWith("127.")
}

const refusedCodes = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
])
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
