import { agentLimits, type AgentFrame, serverFrame, type ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import { WebSocket } from "ws"
import type { AgentRunLimits } from "./agent-limits.ts"
import { type AgentLogger, errorText } from "./agent-logger.ts"
import { backoffMilliseconds, drawFraction } from "./backoff.ts"
import type { connectionAgent } from "./server-transport.ts"

type Welcome = Extract<ServerFrame, { type: "welcome" }>
export type OrderFrame = Exclude<ServerFrame, Welcome | { type: "refused" }>

export interface SessionOptions {
  readonly url: URL
  readonly agent: ReturnType<typeof connectionAgent>
  readonly clock: Clock
  readonly random: Random
  readonly logger: AgentLogger
  readonly limits: AgentRunLimits
  readonly token: () => Promise<string>
  readonly hello: () => AgentFrame
  readonly load: () => number
  readonly onServerTime: (milliseconds: number) => void
  readonly onWelcome: () => void
  readonly onOrder: (frame: OrderFrame) => Promise<void>
}

/** Orders that arrived and are not yet in the journal; above it the socket is not read. */
const inboxMax = 256

type Ending = "lost" | "refused"

/**
 * Keeps one WebSocket session to the server open for as long as the agent lives, with jittered pauses between tries.
 * Owns the socket, its heartbeat and its silence timer; the agent alone starts and stops it. Frames go out only in a
 * welcomed session; orders are handled one after the other in their sequence.
 */
export class SessionKeeper {
  readonly #options: SessionOptions
  #socket: WebSocket | undefined
  #welcomed = false
  #stopped = false
  #failures = 0
  #inbox: Promise<void> = Promise.resolve()
  #inboxCount = 0
  #wake: (() => void) | undefined
  #loop: Promise<void> | undefined

  constructor(options: SessionOptions) {
    this.#options = options
  }

  start(): void {
    this.#loop ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#wake?.()
    this.#socket?.close(1001, "agent stopping")
    const terminate = setTimeout(() => this.#socket?.terminate(), 1_000)
    await this.#loop
    clearTimeout(terminate)
    await this.#inbox
  }

  /** False where no session is open: nothing is queued, what must arrive is sent again from the journal. */
  send(frame: AgentFrame): boolean {
    const socket = this.#socket
    if (!socket || !this.#welcomed || socket.readyState !== WebSocket.OPEN) return false
    socket.send(JSON.stringify(frame))
    return true
  }

  get bufferedBytes(): number {
    return this.#socket?.bufferedAmount ?? 0
  }

  /** True once the server's socket has answered what was sent before this call; false where the session ended first. */
  async flush(): Promise<boolean> {
    const socket = this.#socket
    if (!socket || !this.#welcomed || socket.readyState !== WebSocket.OPEN) return false
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const mark = Buffer.from(drawFraction(this.#options.random).toString())
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

  async #run(): Promise<void> {
    const { logger, limits, random, clock } = this.#options
    while (!this.#stopped) {
      const began = clock.now()
      let ending: Ending = "lost"
      try {
        ending = await this.#runSession()
      } catch (error) {
        logger.warn("no session", { error: errorText(error) })
      }
      if (this.#stopped) return
      this.#failures = clock.now() - began > limits.sessionStableMilliseconds ? 0 : this.#failures + 1
      const bounds =
        ending === "refused"
          ? { least: limits.refusedBackoffMillisecondsMin, longest: limits.refusedBackoffMillisecondsMax }
          : { least: limits.backoffMillisecondsMin, longest: limits.backoffMillisecondsMax }
      await this.#sleep(backoffMilliseconds(this.#failures, bounds, drawFraction(random)))
    }
  }

  async #sleep(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, milliseconds)
    this.#wake = resolve
    await promise
    clearTimeout(timer)
    this.#wake = undefined
  }

  async #runSession(): Promise<Ending> {
    const { url, agent, limits, token, logger } = this.#options
    const socket = new WebSocket(url, {
      agent,
      headers: { authorization: `Bearer ${await token()}` },
      handshakeTimeout: limits.connectTimeoutMilliseconds,
      maxPayload: agentLimits.frameBytesMax,
      perMessageDeflate: false,
      followRedirects: false,
    })
    this.#socket = socket
    if (this.#stopped) socket.terminate()
    const { promise, resolve } = Promise.withResolvers<Ending>()
    const timers = new SessionTimers(socket, limits)
    socket.on("open", () => socket.send(JSON.stringify(this.#options.hello())))
    socket.on("unexpected-response", (_request, response) => {
      const status = response.statusCode ?? 0
      logger.warn("the server refused the session", { status })
      this.#noteServerDate(response.headers.date)
      resolve(status === 401 || status === 403 ? "refused" : "lost")
      socket.terminate()
    })
    socket.on("error", (error) => logger.warn("session error", { error: errorText(error) }))
    socket.on("close", (code) => {
      logger.info("session closed", { code })
      resolve("lost")
    })
    for (const sign of ["ping", "pong", "message"]) socket.on(sign, () => timers.heard())
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      const frame = isBinary ? undefined : parseFrame(data)
      if (!frame) return logger.warn("a frame of the server was not understood and is ignored", { bytes: data.length })
      if (frame.type === "welcome") return this.#welcome(frame, timers)
      if (frame.type !== "refused") return this.#receive(frame, socket)
      logger.warn("the server ended the session", { code: frame.code, message: frame.message })
      resolve("refused")
      socket.close()
    })
    try {
      return await promise
    } finally {
      this.#welcomed = false
      timers.stop()
      if (socket.readyState !== WebSocket.CLOSED) socket.terminate()
    }
  }

  #welcome(frame: Welcome, timers: SessionTimers): void {
    if (this.#welcomed) return
    const now = Date.parse(frame.now)
    if (Number.isFinite(now)) this.#options.onServerTime(now)
    this.#welcomed = true
    timers.startHeartbeat(frame.heartbeatSeconds, () => this.send({ type: "heartbeat", load: this.#options.load() }))
    this.#options.logger.info("session open", { session: frame.session })
    this.#options.onWelcome()
  }

  #receive(frame: OrderFrame, socket: WebSocket): void {
    if (!this.#welcomed) return
    if (++this.#inboxCount >= inboxMax) socket.pause()
    this.#inbox = this.#inbox.then(async () => {
      try {
        await this.#options.onOrder(frame)
      } catch (error) {
        this.#options.logger.error("an order could not be handled", { type: frame.type, error: errorText(error) })
      }
      if (--this.#inboxCount < inboxMax / 2 && socket.isPaused) socket.resume()
    })
  }

  /** A refusal may come from a wrong clock of ours: the reply's date puts the next token right. */
  #noteServerDate(date: string | undefined): void {
    const milliseconds = Date.parse(date ?? "")
    if (Number.isFinite(milliseconds)) this.#options.onServerTime(milliseconds)
  }
}

/** Ends a socket that has gone silent, and keeps it from going silent. */
class SessionTimers {
  readonly #socket: WebSocket
  readonly #welcomeTimer: NodeJS.Timeout
  #heartbeat: NodeJS.Timeout | undefined
  #lastHeard = performance.now()

  constructor(socket: WebSocket, limits: AgentRunLimits) {
    this.#socket = socket
    const wait = limits.connectTimeoutMilliseconds + limits.welcomeTimeoutMilliseconds
    this.#welcomeTimer = setTimeout(() => socket.terminate(), wait)
  }

  heard(): void {
    this.#lastHeard = performance.now()
  }

  startHeartbeat(seconds: number, beat: () => void): void {
    clearTimeout(this.#welcomeTimer)
    const silenceMilliseconds = Math.max(agentLimits.sessionSilenceSeconds, seconds * 3) * 1000
    this.#heartbeat = setInterval(
      () => {
        if (performance.now() - this.#lastHeard > silenceMilliseconds) return this.#socket.terminate()
        beat()
        if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping()
      },
      Math.max(1, seconds) * 1000,
    )
  }

  stop(): void {
    clearTimeout(this.#welcomeTimer)
    clearInterval(this.#heartbeat)
  }
}

function parseFrame(data: Buffer): ServerFrame | undefined {
  try {
    const result = serverFrame.safeParse(JSON.parse(data.toString("utf8")))
    return result.success ? result.data : undefined
  } catch {
    return undefined
  }
}
