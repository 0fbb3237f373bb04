/**
 * One agent's session over a channel of frames (a WebSocket, or exchanges). Owns the channel, its limits and its state:
 * hello -> opening -> open -> closed. Every frame is checked against the protocol's schema; the first that doesn't fit
 * ends the session with a `refused` frame. Whom the session belongs to is decided by the token that opened it and by
 * nothing that the agent says later.
 */
import type { AgentFrame, ServerFrame } from "@signalbox/contracts/fleet/agent-protocol"
import { type AppError, isAppError } from "@signalbox/kernel/app-error"
import type { FrameChannel } from "./frame-channel.ts"
import { readFrame, violation } from "./frame-reader.ts"

export const sessionLimits = {
  helloTimeoutMilliseconds: 10_000,
  /** Sustained; a session that sends more is read more slowly, never cut. */
  framesPerSecondMax: 200,
  bytesPerSecondMax: 8 * 1024 * 1024,
  /** What a session may send at once after being quiet. */
  burstSeconds: 8,
  pauseMillisecondsMax: 5_000,
  /** Frames that may follow the hello before the session is open. */
  earlyFramesMax: 256,
  /** What may wait in the server for a slow agent; then the session is cut, and the agent comes back. */
  unsentBytesMax: 16 * 1024 * 1024,
} as const

export type HelloFrame = Extract<AgentFrame, { type: "hello" }>
export type WorkFrame = Exclude<AgentFrame, { type: "hello" }>

export interface SessionOwner {
  /** Decides on the session; an AppError refuses it. What it resolves to is sent first. */
  open(session: AgentSession, hello: HelloFrame): Promise<ServerFrame>
  /** The session is open and its welcome is sent. */
  opened(session: AgentSession, hello: HelloFrame): void
  work(session: AgentSession, frame: WorkFrame): void
  /** The server, not the agent, is at fault; the session ends. */
  failed(session: AgentSession, error: unknown): void
  /** Called once, whatever state the session was in. */
  closed(session: AgentSession, reason: string): void
}

export interface SessionIdentity {
  readonly id: string
  readonly account: string
  readonly nodeId: string
  /** The request that opened the session: the cause of what follows from it. */
  readonly cause: string
}

/** WebSocket close codes (RFC 6455, 7.4.1). */
const closeCodes = { normal: 1000, goingAway: 1001, policy: 1008, tryAgain: 1013 } as const

/** Ends that are not the agent's fault, with their close codes. */
const sessionEnds = {
  "replaced by a newer session": closeCodes.normal,
  "silent for too long": closeCodes.normal,
  "the server is stopping": closeCodes.goingAway,
  "the server is full": closeCodes.tryAgain,
  "the server failed; try again": closeCodes.tryAgain,
} as const

export type SessionEnd = keyof typeof sessionEnds

export class AgentSession {
  readonly identity: SessionIdentity
  readonly #channel: FrameChannel
  readonly #owner: SessionOwner
  readonly #now: () => number
  #state: "hello" | "opening" | "open" | "closed" = "hello"
  #early: WorkFrame[] = []
  #heardAt: number
  #pingedAt = 0
  /** What may still be read at once, as of then; changed in place, with each frame. */
  readonly #allowance: { frames: number; bytes: number; at: number }
  #timer: NodeJS.Timeout | undefined
  /** When the node's last sign of life was written; kept here, used by presence. */
  seenWrittenAt: number

  constructor(channel: FrameChannel, options: { identity: SessionIdentity; owner: SessionOwner; now: () => number }) {
    this.identity = options.identity
    this.#channel = channel
    this.#owner = options.owner
    this.#now = options.now
    this.#heardAt = this.#now()
    this.seenWrittenAt = this.#heardAt
    this.#allowance = { ...fullAllowance, at: this.#heardAt }
    channel.listen({
      frame: (data, isBinary) => this.#receive(data, isBinary),
      alive: () => (this.#heardAt = this.#now()),
      closed: (reason) => this.#end(reason),
    })
    this.#timer = setTimeout(
      () => this.refuse(violation(`no hello within ${sessionLimits.helloTimeoutMilliseconds} ms`)),
      sessionLimits.helloTimeoutMilliseconds,
    )
  }

  get isOpen(): boolean {
    return this.#state === "open"
  }

  get heardAt(): number {
    return this.#heardAt
  }

  /** As if the agent had been heard now: for time in which this server itself stood still. */
  forgiveSilence(): void {
    this.#heardAt = this.#now()
  }

  /** Asks for a sign of life where there was none for so long; asked once in that time. */
  pingIfQuiet(quietMilliseconds: number): void {
    const now = this.#now()
    if (this.#state !== "open" || now - Math.max(this.#heardAt, this.#pingedAt) < quietMilliseconds) return
    this.#pingedAt = now
    this.#channel.ping()
  }

  /** False where the session is not open; then the frame is not sent. */
  send(frame: ServerFrame): boolean {
    if (this.#state !== "open") return false
    if (this.#channel.unsentBytes > sessionLimits.unsentBytesMax) {
      this.#end("the agent reads too slowly")
      this.#channel.terminate()
      return false
    }
    this.#channel.send(JSON.stringify(frame))
    return true
  }

  /** Ends the session and tells the agent why; it may not come back before something was changed. */
  refuse(error: AppError): void {
    if (this.#state === "closed") return
    const frame: ServerFrame = { type: "refused", code: error.code, message: error.message.slice(0, 500) }
    this.#channel.send(JSON.stringify(frame))
    this.#close(closeCodes.policy, error.code, error.message)
  }

  /** Ends the session for a reason that is not the agent's; it may come back at once. */
  close(reason: SessionEnd): void {
    this.#close(sessionEnds[reason], reason, reason)
  }

  #close(code: number, wireReason: string, reason: string): void {
    if (this.#state === "closed") return
    this.#end(reason)
    this.#channel.close(code, wireReason.slice(0, 120))
  }

  #end(reason: string): void {
    if (this.#state === "closed") return
    this.#state = "closed"
    this.#early = []
    clearTimeout(this.#timer)
    // A paused channel would never see the other side's close.
    this.#channel.resume()
    this.#owner.closed(this, reason)
  }

  #receive(buffer: Buffer, isBinary: boolean): void {
    if (this.#state === "closed") return
    this.#heardAt = this.#now()
    try {
      this.#spend(buffer.length)
      const frame = readFrame(buffer, isBinary)
      if (this.#state === "hello") this.#open(frame)
      else if (frame.type === "hello") throw violation("a second hello")
      else if (this.#state === "open") this.#owner.work(this, frame)
      else if (this.#early.length < sessionLimits.earlyFramesMax) this.#early.push(frame)
      else throw violation("too many frames before the welcome")
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Refuses what the agent can do something about; what is ours to mend only ends the session. */
  #fail(error: unknown): void {
    if (isAppError(error) && !error.entry.retryable) return this.refuse(error)
    this.#owner.failed(this, error)
    this.close("the server failed; try again")
  }

  #open(frame: AgentFrame): void {
    if (frame.type !== "hello") throw violation(`the first frame is a hello, not ${frame.type}`)
    clearTimeout(this.#timer)
    this.#state = "opening"
    this.#owner.open(this, frame).then(
      (welcome) => this.#welcome(welcome, frame),
      (error: unknown) => this.#fail(error),
    )
  }

  #welcome(welcome: ServerFrame, hello: HelloFrame): void {
    if (this.#state === "closed") return
    this.#state = "open"
    this.send(welcome)
    this.#owner.opened(this, hello)
    for (const frame of this.#early.splice(0)) if (this.isOpen) this.#owner.work(this, frame)
  }

  /** A token bucket of frames and of bytes; what is over the limit is paid by reading later. */
  #spend(bytes: number): void {
    const now = this.#heardAt
    const allowance = this.#allowance
    const seconds = Math.max(0, now - allowance.at) / 1000
    const frames = refill(allowance.frames, seconds * sessionLimits.framesPerSecondMax, fullAllowance.frames) - 1
    const left = refill(allowance.bytes, seconds * sessionLimits.bytesPerSecondMax, fullAllowance.bytes) - bytes
    allowance.frames = frames
    allowance.bytes = left
    allowance.at = now
    const debtSeconds = Math.max(-frames / sessionLimits.framesPerSecondMax, -left / sessionLimits.bytesPerSecondMax)
    if (debtSeconds <= 0) return
    // Frames that were read already still come while the channel is paused; each makes the pause longer.
    this.#channel.pause()
    clearTimeout(this.#timer)
    this.#timer = setTimeout(
      () => {
        this.#heardAt = this.#now()
        this.#channel.resume()
      },
      Math.min(debtSeconds * 1000, sessionLimits.pauseMillisecondsMax),
    )
  }
}

const fullAllowance = {
  frames: sessionLimits.framesPerSecondMax * sessionLimits.burstSeconds,
  bytes: sessionLimits.bytesPerSecondMax * sessionLimits.burstSeconds,
}

const refill = (left: number, gained: number, full: number) => Math.min(full, left + gained)
