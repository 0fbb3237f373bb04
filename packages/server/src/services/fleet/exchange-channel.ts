/**
 * A session's frames over a row of HTTP exchanges. Owns the numbers: both sides count frames from 1, each says how many
 * it has, and the other sends the rest again. So a lost reply loses no frame, and a call that comes again is not taken
 * twice. At most one call waits for frames and one for a paused session; a newer one of its kind lets the older go.
 */
import { agentLimits, type ExchangeCall, type ExchangeReply } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import type { FrameChannel, FrameReceiver } from "./frame-channel.ts"

type ChannelReply = Omit<ExchangeReply, "session">

type Wait = "for frames" | "for the session"

export class ExchangeChannel implements FrameChannel {
  readonly #onEnd: () => void
  #receiver: FrameReceiver | undefined
  /** Frames that the agent has not confirmed; the first has the number `#firstUnsent`. */
  readonly #unsent: string[] = []
  #unsentBytes = 0
  #firstUnsent = 1
  #received = 0
  #paused = false
  #ended: string | undefined
  readonly #waiting = new Map<Wait, () => void>()

  /** `onEnd` is called once, when the session has ended and only its last frames may still be fetched. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd
  }

  get unsentBytes(): number {
    return this.#unsentBytes
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined
  }

  listen(receiver: FrameReceiver): void {
    this.#receiver = receiver
  }

  send(text: string): void {
    this.#unsent.push(text)
    this.#unsentBytes += Buffer.byteLength(text)
    this.#wake("for frames")
  }

  ping(): void {
    // The agent calls by itself, more often than it would be given up.
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#wake("for the session")
  }

  close(_code: number, reason: string): void {
    this.#end(reason)
  }

  terminate(): void {
    this.#end("the session was cut")
  }

  /**
   * Takes the frames of one call and gives those that wait for the agent.
   *
   * @throws fleet.protocol-violation for frames after a gap: the agent sends what was not confirmed
   */
  async exchange(input: ExchangeCall, signal: AbortSignal): Promise<ChannelReply> {
    const { pauseMillisecondsMax } = exchangeLimits
    this.#receiver?.alive()
    this.#confirm(input.received)
    if (input.sequence > this.#received + 1)
      throw new AppError("fleet.protocol-violation", `the frames after ${this.#received} are missing`)
    if (this.#paused && input.frames.length > 0) {
      await this.#wait("for the session", pauseMillisecondsMax, signal)
      // What still may not be read is not confirmed either, so it comes again.
      if (this.#paused) return this.#reply()
    }
    this.#take(input)
    if (input.end === true && this.#ended === undefined) this.#leave()
    if (this.#paused) await this.#wait("for the session", pauseMillisecondsMax, signal)
    if (this.#unsent.length === 0 && this.#ended === undefined && input.waitMilliseconds > 0)
      await this.#wait("for frames", input.waitMilliseconds, signal)
    return this.#reply()
  }

  #confirm(received: number): void {
    if (received >= this.#firstUnsent + this.#unsent.length)
      throw new AppError("fleet.protocol-violation", `${received} frames were received, and fewer were sent`)
    const confirmed = this.#unsent.splice(0, Math.max(0, received + 1 - this.#firstUnsent))
    this.#firstUnsent += confirmed.length
    for (const text of confirmed) this.#unsentBytes -= Buffer.byteLength(text)
  }

  #take({ frames, sequence }: ExchangeCall): void {
    assert(this.#receiver !== undefined, "a channel is listened to before it takes frames")
    for (const [index, text] of frames.entries()) {
      if (this.#ended !== undefined) return
      if (sequence + index <= this.#received) continue
      this.#received += 1
      this.#receiver.frame(Buffer.from(text), false)
    }
  }

  #leave(): void {
    this.#receiver?.closed("the agent ended it")
    this.#end("the agent ended it")
  }

  #end(reason: string): void {
    if (this.#ended !== undefined) return
    this.#ended = reason
    this.#paused = false
    for (const what of [...this.#waiting.keys()]) this.#wake(what)
    this.#onEnd()
  }

  #reply(): ChannelReply {
    let bytes = 0
    const frames: string[] = []
    for (const text of this.#unsent.slice(0, agentLimits.exchangeFramesMax)) {
      bytes += Buffer.byteLength(JSON.stringify(text))
      if (frames.length > 0 && bytes > agentLimits.exchangeBytesMax) break
      frames.push(text)
    }
    const all = frames.length === this.#unsent.length
    return {
      sequence: this.#firstUnsent,
      frames,
      received: this.#received,
      ...(this.#ended !== undefined && all ? { ended: this.#ended } : {}),
    }
  }

  #wake(what: Wait): void {
    this.#waiting.get(what)?.()
  }

  async #wait(what: Wait, milliseconds: number, signal: AbortSignal): Promise<void> {
    this.#wake(what)
    if (signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, milliseconds)
    signal.addEventListener("abort", () => resolve(), { once: true })
    this.#waiting.set(what, resolve)
    await promise
    clearTimeout(timer)
    if (this.#waiting.get(what) === resolve) this.#waiting.delete(what)
  }
}

export const exchangeLimits = {
  /** How long a call waits for a session that is read more slowly; then it is answered, and its frames come again. */
  pauseMillisecondsMax: 6_000,
  /** How long the last frames of an ended session, and why it ended, can be fetched. */
  endedMilliseconds: 10_000,
} as const
