import { setTimeout as delay } from "node:timers/promises"
import {
  agentLimits,
  type AgentFrame,
  type ExchangeCall,
  exchangeReply,
  type ExchangeReply,
} from "@signalbox/contracts/fleet/agent-protocol"
import type { Random } from "@signalbox/kernel/random"
import type { AgentRunLimits } from "./agent-limits.ts"
import { type AgentLogger, errorText } from "./agent-logger.ts"
import { backoffMilliseconds, drawFraction } from "./backoff.ts"
import { exchangedBytes, fitFrame } from "./fit-frame.ts"
import type { RequestPace } from "./request-pace.ts"
import { type Ending, parseServerFrame, type ServerChannel, type ServerReceiver } from "./server-channel.ts"
import { callServer, type connectionAgent, isRefusal, problemCode, type Reply } from "./server-transport.ts"

export interface ExchangeOptions {
  readonly url: URL
  /** Keeps connections open between calls; belongs to this channel. */
  readonly agent: ReturnType<typeof connectionAgent>
  /** A new token for each call. */
  readonly token: () => Promise<string>
  readonly pace: RequestPace
  readonly random: Random
  readonly limits: AgentRunLimits
  readonly logger: AgentLogger
  readonly onServerDate: (date: string | undefined) => void
}

type Part = Pick<ExchangeCall, "frames" | "waitMilliseconds"> & { readonly end?: true }

/** A reply holds at least one frame, however large, and each is text in text. */
const replyBytesMax = 2 * agentLimits.frameBytesMax + agentLimits.exchangeBytesMax

/**
 * The session over HTTP calls (`sessions.exchange`). Owns the frames that the server has not confirmed, and the numbers:
 * whatever was not confirmed is sent again, and a frame of the server that comes again is passed over. One call waits
 * for the server's frames; beside it at most one carries the agent's, so that neither holds the other up.
 */
export class ExchangeChannel implements ServerChannel {
  readonly #options: ExchangeOptions
  readonly #stop = new AbortController()
  /** Not confirmed by the server; the first has the number `#first`. */
  readonly #queue: Array<{ readonly text: string; readonly bytes: number }> = []
  #bufferedBytes = 0
  #first = 1
  #received = 0
  #session: string | undefined
  #receiver: ServerReceiver | undefined
  #lastHeard = performance.now()
  #reporting = false
  #state: "open" | "closing" | "ended" = "open"
  #paused: PromiseWithResolvers<void> | undefined
  #flushes: Array<{ readonly number: number; readonly resolve: (flushed: boolean) => void }> = []

  constructor(options: ExchangeOptions) {
    this.#options = options
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes
  }

  get hasEnded(): boolean {
    return this.#state === "ended"
  }

  open(hello: AgentFrame, receiver: ServerReceiver): void {
    this.#receiver = receiver
    this.#lastHeard = performance.now()
    this.#enqueue(hello)
    void this.#poll()
  }

  send(frame: AgentFrame): boolean {
    if (this.#state !== "open" || !this.#enqueue(frame)) return false
    this.#startReport()
    return true
  }

  keepAlive(): void {
    // Each call is a sign of life, and one is always under way.
  }

  async flush(): Promise<boolean> {
    const number = this.#first + this.#queue.length - 1
    if (this.#state !== "open") return false
    if (number < this.#first) return true
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#flushes.push({ number, resolve })
    return await promise
  }

  pause(): void {
    this.#paused ??= Promise.withResolvers<void>()
  }

  resume(): void {
    this.#paused?.resolve()
    this.#paused = undefined
  }

  close(): void {
    if (this.#state !== "open") return
    this.#state = "closing"
    const farewell = this.#session === undefined ? Promise.resolve() : this.#post({ ...this.#batch(), end: true })
    void farewell.catch(() => undefined).then(() => this.#end("lost"))
  }

  terminate(): void {
    this.#end("lost")
  }

  #enqueue(frame: AgentFrame): boolean {
    const { limits, logger } = this.#options
    const text = fitFrame(frame, agentLimits.exchangeBytesMax)
    if (text === undefined) {
      logger.error("a frame is too large for an exchange and is not sent", { type: frame.type })
      return false
    }
    const bytes = exchangedBytes(text)
    if (this.#bufferedBytes + bytes > limits.exchangeQueuedBytesMax) return false
    this.#queue.push({ text, bytes })
    this.#bufferedBytes += bytes
    return true
  }

  /** As many of the frames as one call may carry, at least one where there is any. */
  #batch(): Part {
    let bytes = 0
    const frames: string[] = []
    for (const frame of this.#queue.slice(0, agentLimits.exchangeFramesMax)) {
      bytes += frame.bytes
      if (bytes > agentLimits.exchangeBytesMax) break
      frames.push(frame.text)
    }
    return { frames, waitMilliseconds: 0 }
  }

  /** The first call opens the session: it carries the hello and waits for the welcome. */
  async #poll(): Promise<void> {
    const { exchangeWaitMilliseconds: waitMilliseconds } = this.#options.limits
    await this.#call(() => ({ ...this.#batch(), waitMilliseconds }))
    this.#startReport()
    while (this.#state === "open") {
      await this.#paused?.promise
      await this.#call(() => ({ frames: [], waitMilliseconds }))
    }
  }

  #startReport(): void {
    if (this.#reporting || this.#session === undefined) return
    this.#reporting = true
    void this.#report()
  }

  async #report(): Promise<void> {
    while (this.#state === "open" && this.#queue.length > 0) await this.#call(() => this.#batch())
    this.#reporting = false
  }

  /** Makes a call until it is answered, the server refuses, or it has been silent for too long. Never throws. */
  async #call(part: () => Part): Promise<void> {
    const { limits, logger, pace, random } = this.#options
    const { signal } = this.#stop
    const bounds = { least: limits.backoffMillisecondsMin, longest: limits.exchangeRetryMillisecondsMax }
    for (let failures = 1; this.#state === "open"; failures++) {
      try {
        await pace.take(signal)
        // Made anew for each try: what was confirmed meanwhile is not sent again.
        const reply = await this.#post(part())
        if (this.#judge(reply)) return
      } catch (error) {
        if (signal.aborted) return
        logger.warn("an exchange failed", { error: errorText(error) })
      }
      const silenceMilliseconds = performance.now() - this.#lastHeard
      // Before there is a session, a lost reply means another one: that is for the next try of the whole.
      if (this.#session === undefined || silenceMilliseconds > agentLimits.sessionSilenceSeconds * 1000)
        return this.#end("lost")
      const pause = backoffMilliseconds(failures, bounds, drawFraction(random))
      await delay(pause, undefined, { signal }).catch(() => undefined)
    }
  }

  async #post(part: Part): Promise<Reply> {
    const { url, agent, token, limits } = this.#options
    const call: ExchangeCall = {
      ...(this.#session !== undefined && { session: this.#session }),
      sequence: this.#first,
      received: this.#received,
      ...part,
    }
    const margin =
      part.waitMilliseconds > 0 ? limits.exchangeMarginMilliseconds : limits.exchangeReportTimeoutMilliseconds
    return await callServer(url, {
      method: "POST",
      agent,
      headers: { authorization: `Bearer ${await token()}`, "content-type": "application/json" },
      body: JSON.stringify(call),
      timeoutMilliseconds: part.waitMilliseconds + margin,
      replyBytesMax,
      signal: this.#stop.signal,
    })
  }

  /** True where the call is done with, one way or the other. */
  #judge(reply: Reply): boolean {
    const { logger, onServerDate } = this.#options
    const taken = reply.status === 200 ? parseReply(reply.body) : undefined
    if (taken) {
      this.#take(taken)
      return true
    }
    const code = problemCode(reply.body)
    logger.warn("an exchange was not answered", { status: reply.status, code })
    if (code === undefined) return false
    if (code === "fleet.session-not-found") this.#end("lost")
    else if (isRefusal(code)) {
      onServerDate(reply.date)
      this.#end("refused")
    } else return false
    return true
  }

  #take(reply: ExchangeReply): void {
    this.#lastHeard = performance.now()
    this.#session ??= reply.session
    this.#confirm(reply.received)
    for (const [index, text] of reply.frames.entries()) {
      // Frames that are not taken now are not confirmed and come again.
      if (this.#paused || this.#state !== "open") return
      if (reply.sequence + index !== this.#received + 1) continue
      this.#received += 1
      const frame = parseServerFrame(text)
      if (frame) this.#receiver?.frame(frame)
      else this.#receiver?.strange(text.length)
    }
    if (reply.ended === undefined) return
    this.#options.logger.info("session closed", { reason: reply.ended })
    this.#end("lost")
  }

  #confirm(received: number): void {
    const confirmed = this.#queue.splice(0, Math.max(0, received + 1 - this.#first))
    this.#first += confirmed.length
    for (const { bytes } of confirmed) this.#bufferedBytes -= bytes
    this.#flushes = this.#flushes.filter(({ number, resolve }) => {
      if (number < this.#first) resolve(true)
      return number >= this.#first
    })
  }

  #end(ending: Ending): void {
    if (this.#state === "ended") return
    this.#state = "ended"
    this.#stop.abort()
    this.resume()
    for (const { resolve } of this.#flushes.splice(0)) resolve(false)
    this.#options.agent.destroy()
    this.#receiver?.ended(ending)
  }
}

function parseReply(body: string): ExchangeReply | undefined {
  try {
    const result = exchangeReply.safeParse(JSON.parse(body))
    return result.success ? result.data : undefined
  } catch {
    return undefined
  }
}
