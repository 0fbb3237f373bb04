import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { agentLimits, type AgentFrame } from "@signalbox/contracts/fleet/agent-protocol"
import type { Random } from "@signalbox/kernel/random"
import { WebSocket } from "ws"
import type { AgentRunLimits } from "./agent-limits.ts"
import { type AgentLogger, errorText } from "./agent-logger.ts"
import { drawFraction } from "./backoff.ts"
import { nextBeat } from "./heartbeat.ts"
import { parseServerFrame, type ServerChannel, type ServerReceiver } from "./server-channel.ts"
import { type connectionAgent, isRefusal, readProblemCode } from "./server-transport.ts"

export interface DialOptions {
  readonly url: URL
  readonly agent: ReturnType<typeof connectionAgent>
  readonly token: string
  readonly limits: AgentRunLimits
  readonly logger: AgentLogger
  readonly random: Random
  readonly onServerDate: (date: string | undefined) => void
  readonly signal: AbortSignal
}

/**
 * What became of a handshake. `cut`: something between this agent and its server doesn't let WebSockets through, as far
 * as can be told from here; the server's own refusal and a server that can't be reached are no cut.
 */
export type Dialled =
  | { readonly kind: "open"; readonly channel: SocketChannel }
  | { readonly kind: "lost" | "refused" | "cut" }

/** No connection, or none that is trusted: nothing was said about WebSockets yet. */
const unreachableCodes =
  /^(?:ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL)/

/** "Going away" and "service restart" (RFC 6455, 7.4.1, and the registry it founded). */
const leavingCodes = new Set([1001, 1012])

/** With these the server says that it won't have this agent, now or at all. */
const refusalStatuses = new Set([401, 403, 429])

/** Tries to open a WebSocket; never throws. */
export async function dialSocket(options: DialOptions): Promise<Dialled> {
  const { limits, logger, signal } = options
  const socket = new WebSocket(options.url, {
    agent: options.agent,
    headers: { authorization: `Bearer ${options.token}` },
    handshakeTimeout: limits.connectTimeoutMilliseconds,
    maxPayload: agentLimits.frameBytesMax,
    perMessageDeflate: false,
    followRedirects: false,
  })
  const { promise, resolve } = Promise.withResolvers<Dialled>()
  const stop = () => {
    resolve({ kind: "lost" })
    socket.terminate()
  }
  let stream: Duplex | undefined
  socket.once("upgrade", (response) => (stream = response.socket))
  socket.once("open", () => resolve({ kind: "open", channel: new SocketChannel(socket, { ...options, stream }) }))
  socket.on("unexpected-response", (_request, response) => {
    void judgeResponse(response, options).then((kind) => {
      resolve({ kind })
      socket.terminate()
    })
  })
  socket.on("error", (error: Error & { code?: string }) => {
    logger.warn("session error", { error: errorText(error) })
    resolve({ kind: unreachableCodes.test(error.code ?? "") ? "lost" : "cut" })
  })
  signal.addEventListener("abort", stop, { once: true })
  if (signal.aborted) stop()
  try {
    return await promise
  } finally {
    signal.removeEventListener("abort", stop)
  }
}

async function judgeResponse(response: IncomingMessage, options: DialOptions): Promise<"lost" | "refused" | "cut"> {
  const status = response.statusCode ?? 0
  options.onServerDate(response.headers.date)
  const code = await readProblemCode(response, options.limits.connectTimeoutMilliseconds)
  options.logger.warn("the server refused the session", { status, code })
  // Any other answer of the server itself means that the call's upgrade didn't reach it.
  if (code === undefined || !refusalStatuses.has(status)) return "cut"
  return isRefusal(code) ? "refused" : "lost"
}

/** The session over a WebSocket, one text message a frame. Owns the socket, its heartbeat and its silence timer. */
export class SocketChannel implements ServerChannel {
  readonly #socket: WebSocket
  /** Below the WebSocket. */
  readonly #stream: Duplex | undefined
  readonly #random: Random
  readonly #logger: AgentLogger
  #heartbeat: NodeJS.Timeout | undefined
  #lastHeard = performance.now()
  #lastSent = performance.now()

  constructor(
    socket: WebSocket,
    { stream, random, logger }: { stream: Duplex | undefined; random: Random; logger: AgentLogger },
  ) {
    this.#socket = socket
    this.#stream = stream
    this.#random = random
    this.#logger = logger
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  open(hello: AgentFrame, receiver: ServerReceiver): void {
    const socket = this.#socket
    for (const sign of ["ping", "pong", "message"]) socket.on(sign, () => (this.#lastHeard = performance.now()))
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      const frame = isBinary ? undefined : parseServerFrame(data.toString("utf8"))
      if (frame) receiver.frame(frame)
      else receiver.strange(data.length)
    })
    socket.once("close", (code) => {
      clearTimeout(this.#heartbeat)
      this.#logger.info("session closed", { code })
      receiver.ended(leavingCodes.has(code) ? "leaving" : "lost")
    })
    if (socket.readyState !== WebSocket.OPEN) receiver.ended("lost")
    else this.send(hello)
  }

  send(frame: AgentFrame): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false
    this.#lastSent = performance.now()
    // As bytes it leaves in one piece; a text and what goes before it would be two.
    this.#socket.send(Buffer.from(JSON.stringify(frame)), { binary: false })
    return true
  }

  /** Ends a socket that has gone silent, and keeps it from going silent. */
  keepAlive(heartbeatSeconds: number, load: () => number): void {
    const beatMilliseconds = Math.max(1, heartbeatSeconds) * 1000
    const silenceMilliseconds = Math.max(agentLimits.sessionSilenceSeconds, heartbeatSeconds * 3) * 1000
    const look = () => {
      const now = performance.now()
      const [lastHeard, lastSent] = [this.#lastHeard, this.#lastSent]
      if (now - lastHeard > silenceMilliseconds) return this.#socket.terminate()
      const { isDue, lookInMilliseconds } = nextBeat({ now, lastHeard, lastSent, beatMilliseconds })
      if (isDue) this.#beat(load())
      this.#heartbeat = setTimeout(look, lookInMilliseconds)
    }
    this.#heartbeat = setTimeout(look, beatMilliseconds)
  }

  #beat(load: number): void {
    // In one piece, as the server answers it.
    this.#stream?.cork()
    if (this.send({ type: "heartbeat", load })) this.#socket.ping()
    this.#stream?.uncork()
  }

  /** The server's socket answers a ping when it has read what was sent before it. */
  async flush(): Promise<boolean> {
    const socket = this.#socket
    if (socket.readyState !== WebSocket.OPEN) return false
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const mark = Buffer.from(drawFraction(this.#random).toString())
    const onPong = (data: Buffer) => {
      if (data.equals(mark)) resolve(true)
    }
    const onClose = () => resolve(false)
    socket.on("pong", onPong)
    socket.once("close", onClose)
    socket.ping(mark)
    const flushed = await promise
    socket.off("pong", onPong)
    socket.off("close", onClose)
    return flushed
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  close(): void {
    this.#socket.close(1001, "agent stopping")
  }

  terminate(): void {
    this.#socket.terminate()
  }
}
