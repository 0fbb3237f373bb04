import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from "node:http"
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from "node:https"
import { AppError, isErrorCode } from "@signalbox/kernel/app-error"

const requestTimeoutMilliseconds = 30_000
const replyBytesMax = 1024 * 1024

/** Loopback by name or number. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(hostname)
}

/**
 * A server's URL as it is kept: scheme, host and path, no slash at the end.
 *
 * @throws settings.invalid, settings.plaintext-refused for plain HTTP away from loopback without `insecure`
 */
export function parseServerUrl(text: string, insecure: boolean): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:") || url.username !== "" || url.search !== "") {
    throw new AppError("settings.invalid", `"${text}" is no server URL; write https://host:port`)
  }
  if (url.protocol === "http:" && !insecure && !isLoopback(url.hostname)) {
    throw new AppError("settings.plaintext-refused", `${url.origin} would carry the session in plain text`)
  }
  url.pathname = url.pathname.replace(/\/+$/, "")
  url.hash = ""
  return url
}

/** A path of the server's API, below the path that the server itself may have. */
export function serverEndpoint(server: URL, path: string): URL {
  const url = new URL(server)
  url.pathname = `${server.pathname.replace(/\/+$/, "")}${path}`
  return url
}

/**
 * The connection settings for a server: its own CA as the only trust where one is pinned; HTTPS_PROXY, HTTP_PROXY and
 * NO_PROXY of the environment are honoured (CONNECT for TLS).
 */
export function connectionAgent(
  url: URL,
  options: { readonly ca?: string; readonly verify?: boolean; readonly keepAlive?: boolean },
): HttpAgent | HttpsAgent {
  const proxyEnv = process.env
  const { ca, verify = true, keepAlive = false } = options
  if (url.protocol === "http:") return new HttpAgent({ proxyEnv, keepAlive })
  return new HttpsAgent({
    proxyEnv,
    keepAlive,
    rejectUnauthorized: verify,
    minVersion: "TLSv1.2",
    ...(ca !== undefined && { ca }),
  })
}

export interface Reply {
  readonly status: number
  readonly body: string
  /** The `date` header. */
  readonly date?: string
}

export interface CallOptions {
  readonly method: "GET" | "POST"
  readonly agent: HttpAgent | HttpsAgent
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly timeoutMilliseconds?: number
  readonly replyBytesMax?: number
  readonly signal?: AbortSignal
}

/** One call. @throws cli.no-server, cli.certificate-untrusted */
export async function callServer(url: URL, options: CallOptions): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const timeout = AbortSignal.timeout(options.timeoutMilliseconds ?? requestTimeoutMilliseconds)
  const bytesMax = options.replyBytesMax ?? replyBytesMax
  const settings: RequestOptions = {
    method: options.method,
    agent: options.agent,
    headers: { accept: "application/json", ...options.headers },
    signal: options.signal ? AbortSignal.any([options.signal, timeout]) : timeout,
  }
  const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, settings, (response) => {
    const chunks: Buffer[] = []
    let bytes = 0
    response.on("data", (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > bytesMax) response.destroy(new Error(`the reply is larger than ${bytesMax} bytes`))
      else chunks.push(chunk)
    })
    response.on("end", () => {
      const { date } = response.headers
      const body = Buffer.concat(chunks).toString("utf8")
      resolve({ status: response.statusCode ?? 0, body, ...(date !== undefined && { date }) })
    })
    response.on("error", (cause) => reject(callFailure(url, cause)))
  })
  request.on("error", (cause) => reject(callFailure(url, cause)))
  request.end(options.body)
  return await promise
}

const certificateCodes = /^(?:CERT_|ERR_TLS_CERT|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/

function callFailure(url: URL, cause: Error & { code?: string }): AppError {
  if (certificateCodes.test(cause.code ?? "")) {
    return new AppError("cli.certificate-untrusted", `${url.origin}: ${cause.message}; give --ca-fingerprint`, {
      cause,
    })
  }
  return new AppError("cli.no-server", `${url.origin} can't be reached: ${cause.message || cause.code}`, { cause })
}

const problemBytesMax = 64 * 1024
const codePattern = /^[a-z]+\.[a-z]+(?:-[a-z]+)*$/

/** The code of a problem that a Signalbox server answered with; undefined for what anybody else says. */
export function problemCode(body: string): string | undefined {
  try {
    const { code } = JSON.parse(body) as { code?: unknown }
    return typeof code === "string" && codePattern.test(code) ? code : undefined
  } catch {
    return undefined
  }
}

/** True where trying again soon would be answered the same way. */
export function isRefusal(code: string): boolean {
  return !isErrorCode(code) || !new AppError(code, code).entry.retryable
}

/** The problem's code of an answer whose body was not read yet; never throws. */
export async function readProblemCode(
  response: IncomingMessage,
  waitMilliseconds: number,
): Promise<string | undefined> {
  const timer = setTimeout(() => response.destroy(), waitMilliseconds)
  let text = ""
  try {
    for await (const chunk of response.setEncoding("utf8")) {
      text += chunk as string
      if (text.length > problemBytesMax) return undefined
    }
    return problemCode(text)
  } catch {
    return undefined
  } finally {
    clearTimeout(timer)
  }
}
