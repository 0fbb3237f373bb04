import { agentLimits, type AgentFrame } from "@signalbox/contracts/fleet/agent-protocol"
import type { AgentRunLimits } from "./agent-limits.ts"
import { decode, utf8End, utf8Start } from "./kept-output.ts"

type StreamName = "stdout" | "stderr"

/** What waits to be shown; `from` is the offset of its first byte in the whole stream. */
interface Pending {
  chunks: Buffer[]
  bytes: number
  from: number
  skipped: boolean
}

export interface LiveOutputOptions {
  readonly key: string
  readonly step: number
  readonly limits: AgentRunLimits
  readonly send: (frame: AgentFrame) => boolean
  /** True while the socket can't keep up. */
  readonly backedUp: () => boolean
}

/**
 * Shows a step's output while it runs: a sample for people, not the record (the record is the kept output). It never
 * slows the command: what is over the rate, or doesn't fit in a backed-up socket, is dropped, and `offset` shows the gap.
 */
export class LiveOutput {
  readonly #options: LiveOutputOptions
  readonly #pending: Record<StreamName, Pending> = { stdout: empty(), stderr: empty() }
  #timer: NodeJS.Timeout | undefined

  constructor(options: LiveOutputOptions) {
    this.#options = options
  }

  write(stream: StreamName, chunk: Buffer): void {
    const pending = this.#pending[stream]
    const { limits } = this.#options
    if (pending.bytes + chunk.length > limits.outputPendingBytesMax) {
      pending.from += pending.bytes
      pending.chunks = []
      pending.bytes = 0
      pending.skipped = true
      const over = Math.max(0, chunk.length - limits.outputPendingBytesMax)
      pending.from += over
      chunk = chunk.subarray(over)
    }
    pending.chunks.push(chunk)
    pending.bytes += chunk.length
    this.#timer ??= setTimeout(() => this.#flush(false), limits.outputFlushMilliseconds)
  }

  /** Sends what is left, within one interval's budget, and stops. */
  end(): void {
    clearTimeout(this.#timer)
    this.#flush(true)
    clearTimeout(this.#timer)
  }

  #flush(last: boolean): void {
    const { limits } = this.#options
    this.#timer = undefined
    let budget = Math.max(
      agentLimits.outputChunkBytesMax,
      Math.floor((limits.outputBytesPerSecond * limits.outputFlushMilliseconds) / 1000),
    )
    for (const stream of ["stderr", "stdout"] as const) {
      while (budget > 0 && this.#pending[stream].bytes > 0) {
        const sent = this.#sendChunk(stream, Math.min(budget, agentLimits.outputChunkBytesMax), last)
        if (sent === 0) break
        budget -= sent
      }
    }
    const waiting = this.#pending.stdout.bytes > 0 || this.#pending.stderr.bytes > 0
    if (waiting && !last) this.#timer = setTimeout(() => this.#flush(false), limits.outputFlushMilliseconds)
  }

  /** The bytes taken; 0 where only a torn character waits. */
  #sendChunk(stream: StreamName, bytesMax: number, last: boolean): number {
    const pending = this.#pending[stream]
    const all = Buffer.concat(pending.chunks)
    const start = pending.skipped ? utf8Start(all) : 0
    const window = all.subarray(start, start + bytesMax)
    const end = last && start + window.length === all.length ? window.length : utf8End(window)
    if (end === 0 && !last) return 0
    const { key, step, send, backedUp } = this.#options
    const taken = start + Math.max(end, last ? window.length : end)
    if (!backedUp()) {
      send({ type: "output", key, step, stream, offset: pending.from + start, text: decode(window.subarray(0, end)) })
    }
    const rest = all.subarray(taken)
    this.#pending[stream] = { chunks: [rest], bytes: rest.length, from: pending.from + taken, skipped: false }
    return Math.max(taken, 1)
  }
}

function empty(): Pending {
  return { chunks: [], bytes: 0, from: 0, skipped: false }
}
