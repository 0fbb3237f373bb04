import type { AgentFrame, ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { AgentRunLimits } from "./agent-limits.ts"
import { type AgentLogger, errorText } from "./agent-logger.ts"
import { drawFraction, pauseAfter } from "./backoff.ts"
import type { ChannelFinder } from "./channel-finder.ts"
import type { Ending, ServerChannel } from "./server-channel.ts"

type Welcome = Extract<ServerFrame, { type: "welcome" }>
export type OrderFrame = Exclude<ServerFrame, Welcome | { type: "refused" }>

export interface SessionOptions {
  readonly channels: ChannelFinder
  readonly clock: Clock
  readonly random: Random
  readonly logger: AgentLogger
  readonly limits: AgentRunLimits
  readonly hello: () => AgentFrame
  readonly load: () => number
  readonly onServerTime: (milliseconds: number) => void
  readonly onWelcome: () => void
  readonly onOrder: (frame: OrderFrame) => Promise<void>
}

/** Orders that arrived and are not yet in the journal; above it the channel is not read. */
const inboxMax = 256

/**
 * Keeps one session to the server open for as long as the agent lives, with jittered pauses between tries. Owns the
 * session's channel; the agent alone starts and stops it. Frames go out only in a welcomed session; orders are handled
 * one after the other in their sequence.
 */
export class SessionKeeper {
  readonly #options: SessionOptions
  readonly #stop = new AbortController()
  #channel: ServerChannel | undefined
  #welcomed = false
  /** When the session that ended last had been welcomed. */
  #welcomedAt: number | undefined
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
    this.#stop.abort()
    this.#wake?.()
    this.#channel?.close()
    const terminate = setTimeout(() => this.#channel?.terminate(), 1_000)
    await this.#loop
    clearTimeout(terminate)
    await this.#inbox
  }

  /** False where no session is open: nothing is queued, what must arrive is sent again from the journal. */
  send(frame: AgentFrame): boolean {
    return this.#welcomed && this.#channel?.send(frame) === true
  }

  get bufferedBytes(): number {
    return this.#channel?.bufferedBytes ?? 0
  }

  /** True once the server has what was sent before this call; false where the session ended first. */
  async flush(): Promise<boolean> {
    return this.#welcomed && (await this.#channel?.flush()) === true
  }

  async #run(): Promise<void> {
    const { logger, limits, random, channels } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      this.#welcomedAt = undefined
      let ending: Ending = "lost"
      try {
        const found = await channels.find(signal)
        ending = typeof found === "string" ? found : await this.#runSession(found)
      } catch (error) {
        logger.warn("no session", { error: errorText(error) })
      }
      if (signal.aborted) break
      if (channels.hasBetter) continue
      // The time before the welcome doesn't count: a connection that hangs is no good session.
      const openMilliseconds = this.#welcomedAt === undefined ? 0 : performance.now() - this.#welcomedAt
      const was = openMilliseconds >= limits.sessionStableMilliseconds ? "good" : "short"
      this.#failures = ending !== "refused" && (was === "good" || ending === "leaving") ? 0 : this.#failures + 1
      await this.#sleep(pauseAfter({ ending, failures: this.#failures }, limits, drawFraction(random)))
    }
    channels.stop()
  }

  async #sleep(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, milliseconds)
    this.#wake = resolve
    await promise
    clearTimeout(timer)
    this.#wake = undefined
  }

  async #runSession(channel: ServerChannel): Promise<Ending> {
    const { limits, logger, channels } = this.#options
    const { promise, resolve } = Promise.withResolvers<Ending>()
    this.#channel = channel
    if (this.#stop.signal.aborted) channel.terminate()
    const wait = limits.connectTimeoutMilliseconds + limits.welcomeTimeoutMilliseconds
    const welcomeTimer = setTimeout(() => channel.terminate(), wait)
    channel.open(this.#options.hello(), {
      ended: resolve,
      strange: (bytes) => logger.warn("a frame of the server was not understood and is ignored", { bytes }),
      frame: (frame) => {
        if (frame.type === "welcome") {
          clearTimeout(welcomeTimer)
          return this.#welcome(frame, channel)
        }
        if (frame.type !== "refused") return this.#receive(frame, channel)
        logger.warn("the server ended the session", { code: frame.code, message: frame.message })
        resolve("refused")
        channel.close()
      },
    })
    try {
      return await promise
    } finally {
      clearTimeout(welcomeTimer)
      channels.ended(channel, this.#welcomed)
      this.#welcomed = false
      channel.terminate()
    }
  }

  #welcome(frame: Welcome, channel: ServerChannel): void {
    if (this.#welcomed) return
    const now = Date.parse(frame.now)
    if (Number.isFinite(now)) this.#options.onServerTime(now)
    this.#welcomed = true
    this.#welcomedAt = performance.now()
    channel.keepAlive(frame.heartbeatSeconds, this.#options.load)
    this.#options.logger.info("session open", { session: frame.session })
    this.#options.onWelcome()
  }

  #receive(frame: OrderFrame, channel: ServerChannel): void {
    if (!this.#welcomed) return
    if (++this.#inboxCount >= inboxMax) channel.pause()
    this.#inbox = this.#inbox.then(async () => {
      try {
        await this.#options.onOrder(frame)
      } catch (error) {
        this.#options.logger.error("an order could not be handled", { type: frame.type, error: errorText(error) })
      }
      // The session may be another one by now, and that one be paused.
      if (--this.#inboxCount < inboxMax / 2) this.#channel?.resume()
    })
  }
}
