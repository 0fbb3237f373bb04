/**
 * Progress and output of running tasks for those who follow an execution on another server than the one that owns it, or
 * than the one that has the node. Best effort, by notices alone: who follows says so every few seconds, and only what is
 * followed travels, from the node's server to the owner, which knows what belongs to its run, and from there to whoever
 * follows. Owns who follows elsewhere, for as long as that was last said.
 */
import { newId } from "@signalbox/kernel/id"
import type { Clock } from "@signalbox/kernel/clock"
import type { Random } from "@signalbox/kernel/random"
import type { ExecutorReport } from "../../router/ports.ts"
import type { Notifier } from "../../storage/notifier.ts"

export const liveRelayLimits = {
  sayAgainMilliseconds: 2_000,
  forgetMilliseconds: 6_000,
  /** Executions that are followed elsewhere. */
  executionsMax: 1_000,
  noticeBytesMax: 1_000,
  /** Notices of one report; a note stands for the rest. */
  piecesMax: 16,
} as const

export type LiveReport = Extract<ExecutorReport, { type: "progress" | "output" }>

export interface LiveRelayOptions {
  readonly notifier: Pick<Notifier, "notify" | "subscribe">
  readonly clock: Clock
  readonly random: Random
  /** The executions that somebody follows here. */
  readonly followed: () => Iterable<string>
  /** A node's report came from the server that has the node; the owner judges it. */
  readonly onReport: (report: LiveReport) => void
  /** The owner says what happened in a run. */
  readonly onLive: (executionId: string, ordinal: number, report: LiveReport) => void
}

const followChannel = "execution_followed"
const reportChannel = "agent_live"
const liveChannel = "execution_live"

interface Told {
  readonly from: string
  /** Tells equal texts apart: of equal notices one is sent. */
  readonly number: number
  readonly execution: string
  readonly ordinal: number
  readonly report: LiveReport
}

export class LiveRelay {
  readonly #options: LiveRelayOptions
  readonly #name: string
  readonly #elsewhere = new Map<string, number>()
  readonly #unsubscribe: Array<() => void> = []
  #timer: NodeJS.Timeout | undefined
  #number = 0

  constructor(options: LiveRelayOptions) {
    this.#options = options
    this.#name = newId("server", options.clock, options.random)
  }

  start(): void {
    const { notifier, onReport, onLive } = this.#options
    this.#unsubscribe.push(
      notifier.subscribe(followChannel, (notices) => this.#hearFollowed(notices)),
      notifier.subscribe(reportChannel, (notices) => {
        for (const { report } of this.#read(notices)) onReport(report)
      }),
      notifier.subscribe(liveChannel, (notices) => {
        for (const { execution, ordinal, report } of this.#read(notices)) onLive(execution, ordinal, report)
      }),
    )
    this.#timer = setInterval(() => this.#sayAgain(), liveRelayLimits.sayAgainMilliseconds)
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
  }

  /** Somebody follows this execution here. */
  follow(executionId: string): void {
    this.#options.notifier.notify(followChannel, `${this.#name} ${executionId}`)
  }

  /** A report of a node that has its session here, of a run that another server owns. */
  report(executionId: string, ordinal: number, report: LiveReport): void {
    if (this.#isWanted(executionId) || this.#isFollowed(executionId))
      this.#send(reportChannel, { execution: executionId, ordinal, report })
  }

  /** What happened in a run that is owned here. */
  tell(executionId: string, ordinal: number, report: LiveReport): void {
    if (this.#isWanted(executionId)) this.#send(liveChannel, { execution: executionId, ordinal, report })
  }

  #isFollowed(executionId: string): boolean {
    for (const followed of this.#options.followed()) if (followed === executionId) return true
    return false
  }

  #isWanted(executionId: string): boolean {
    return (this.#elsewhere.get(executionId) ?? 0) > this.#options.clock.now()
  }

  #sayAgain(): void {
    const now = this.#options.clock.now()
    for (const [execution, until] of this.#elsewhere) if (until <= now) this.#elsewhere.delete(execution)
    for (const execution of new Set(this.#options.followed())) this.follow(execution)
  }

  #hearFollowed(notices: readonly string[] | "missed"): void {
    if (notices === "missed") return
    const until = this.#options.clock.now() + liveRelayLimits.forgetMilliseconds
    for (const notice of notices) {
      const [from, execution = ""] = notice.split(" ")
      if (from === this.#name) continue
      if (this.#elsewhere.has(execution) || this.#elsewhere.size < liveRelayLimits.executionsMax)
        this.#elsewhere.set(execution, until)
    }
  }

  #read(notices: readonly string[] | "missed"): Told[] {
    if (notices === "missed") return []
    return notices.map((notice) => JSON.parse(notice) as Told).filter(({ from }) => from !== this.#name)
  }

  #send(channel: string, told: Omit<Told, "from" | "number">): void {
    for (const report of piecesOf(told.report)) {
      const notice = JSON.stringify({ ...told, report, from: this.#name, number: this.#number++ })
      if (Buffer.byteLength(notice) <= liveRelayLimits.noticeBytesMax) this.#options.notifier.notify(channel, notice)
    }
  }
}

/** Of a notice, for all but the text: ids, names of steps and of the server. */
const envelopeBytes = 400
const textBytesMax = liveRelayLimits.noticeBytesMax - envelopeBytes
const cutNote = "\n[… more than is shown live from another server; the task's result keeps its head and tail …]\n"

/** Output in pieces that fit a notice each; progress without its message, where that is long. */
function piecesOf(report: LiveReport): LiveReport[] {
  if (report.type === "progress")
    return [{ ...report, name: report.name.slice(0, 200), ...shortMessage(report.message) }]
  const pieces: LiveReport[] = []
  let rest = report.text
  while (rest !== "") {
    if (pieces.length === liveRelayLimits.piecesMax) return [...pieces, { ...report, text: cutNote }]
    const text = firstPiece(rest)
    pieces.push({ ...report, text: text.toWellFormed() })
    rest = rest.slice(text.length)
  }
  return pieces
}

/** As much as fits a notice, as JSON; no character is cut in two. */
function firstPiece(text: string): string {
  let piece = text.slice(0, textBytesMax)
  for (;;) {
    const bytes = Buffer.byteLength(JSON.stringify(piece))
    if (bytes <= textBytesMax) break
    piece = piece.slice(0, Math.floor((piece.length * textBytesMax) / bytes))
  }
  const endsInPair = piece.length > 1 && piece.length < text.length && /[\uD800-\uDBFF]$/.test(piece)
  return endsInPair ? piece.slice(0, -1) : piece
}

function shortMessage(message: string | undefined): { readonly message?: string } {
  return message === undefined ? {} : { message: message.slice(0, 100) }
}
