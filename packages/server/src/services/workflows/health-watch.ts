/**
 * Asks a run's health check again and again, one check at a time, while the run goes on. Owns the timer and the count of
 * failures in a row; each result is written to the execution's row, from which the next owner goes on.
 */
import { setTimeout as delay } from "node:timers/promises"
import type { HealthCheck } from "@signalbox/contracts/workflows/strategy"
import type { Clock } from "@signalbox/kernel/clock"
import { getDuration } from "@signalbox/kernel/duration"
import type { HealthRow } from "./claimed-execution.ts"

export interface HealthResult {
  readonly ok: boolean
  readonly message: string
}

export type AskHealth = (check: HealthCheck, signal: AbortSignal) => Promise<HealthResult>

export interface HealthWatchOptions {
  readonly check: HealthCheck
  readonly ask: AskHealth
  readonly clock: Clock
  readonly before: HealthRow | null
  /** Keeps the result; it may fail, the next check comes all the same. */
  readonly keep: (row: HealthRow) => Promise<void>
  /** The check failed too often in a row. */
  readonly onFailure: (message: string) => void
  readonly onError: (error: unknown) => void
}

/** No check is asked more often. */
export const healthEveryMillisecondsMin = 100
const messageLengthMax = 500

export class HealthWatch {
  readonly #options: HealthWatchOptions
  readonly #stop = new AbortController()
  readonly #done: Promise<void>
  #row: HealthRow

  constructor(options: HealthWatchOptions) {
    this.#options = options
    this.#row = options.before ?? { ok: true, message: "", at: 0, checks: 0, failures: 0 }
    this.#done = this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#done
  }

  async #run(): Promise<void> {
    const { check, onFailure } = this.#options
    const { signal } = this.#stop
    const every = Math.max(healthEveryMillisecondsMin, getDuration(check.every))
    while (!signal.aborted) {
      const result = await this.#ask()
      if (signal.aborted) return
      await this.#keep(result)
      if (this.#row.failures >= check.failures) {
        onFailure(`${this.#row.failures} health checks in a row failed, the last: ${this.#row.message}`)
        return
      }
      await delay(every, undefined, { signal }).catch(() => {})
    }
  }

  async #ask(): Promise<HealthResult> {
    const { ask, check } = this.#options
    const timeout = AbortSignal.timeout(Math.max(1, getDuration(check.timeout)))
    try {
      return await ask(check, AbortSignal.any([this.#stop.signal, timeout]))
    } catch (error) {
      const message = timeout.aborted ? `no answer within ${check.timeout}` : messageOf(error)
      return { ok: false, message }
    }
  }

  async #keep({ ok, message }: HealthResult): Promise<void> {
    const { clock, keep, onError } = this.#options
    const { checks, failures } = this.#row
    const text = message.slice(0, messageLengthMax).replaceAll("\0", "\uFFFD").toWellFormed()
    this.#row = { ok, message: text, at: clock.now(), checks: checks + 1, failures: ok ? 0 : failures + 1 }
    await keep(this.#row).catch(onError)
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
