/**
 * Records what came of tries, with an event for each: those that end while a statement is under way are recorded together
 * by the next one. Owns the list of those that wait for it. A try that can't be recorded is made again once its claim is
 * over, under the same key.
 */
import { appendEvents } from "../../storage/outbox.ts"
import { performingLimits, retryPausesMilliseconds } from "./action-limits.ts"
import { actionTransitions, decideNext, type PerformResult } from "./action-machine.ts"
import type { ActionsOptions } from "./options.ts"
import { toRunError } from "./queue-runs.ts"
import { recordOutcomes, type RunOutcome } from "./run-claims.ts"
import { runEvent } from "./run-events.ts"
import type { RunRow } from "./run-store.ts"
import { assert } from "@signalbox/kernel/assert"

export interface Tried {
  readonly claimed: RunRow
  readonly result: PerformResult
  readonly began: number
}

export class RunRecorder {
  readonly #options: ActionsOptions
  #waiting: RunOutcome[] = []
  #recording: Promise<void> | undefined

  constructor(options: ActionsOptions) {
    this.#options = options
  }

  /** Resolves when everything that was given until now is recorded, or could not be. */
  async record(tried: Tried): Promise<void> {
    this.#waiting.push(outcomeOf(this.#options, tried))
    while (this.#waiting.length > 0) {
      this.#recording ??= this.#recordWaiting().finally(() => (this.#recording = undefined))
      await this.#recording
    }
    await this.#recording
  }

  async #recordWaiting(): Promise<void> {
    const { database, logger, eventsWritten } = this.#options
    const outcomes = this.#waiting.splice(0, performingLimits.rowsPerStatement)
    try {
      await database.transaction(async (tx) => {
        const recorded = await recordOutcomes(tx, outcomes)
        const told = recorded.filter(({ state }) => state !== "failed")
        await appendEvents(
          tx,
          told.map((run) => runEvent(this.#options, run)),
        )
      })
      eventsWritten()
    } catch (error) {
      const runs = outcomes.map(({ claimed }) => claimed.id)
      logger.warn({ runs, reason: String(error) }, "tries of actions could not be recorded; they will be made again")
    }
  }
}

function outcomeOf(options: ActionsOptions, { claimed, result, began }: Tried): RunOutcome {
  const ended = options.clock.now()
  const next = decideNext(result, {
    attempts: claimed.attempts,
    fraction: (options.random.bytes(1)[0] ?? 0) / 255,
    pausesMilliseconds: options.retryPausesMilliseconds ?? retryPausesMilliseconds,
  })
  const state = actionTransitions.running[next.event]
  assert(state, `a running action can ${next.event}`)
  const waits = next.inMilliseconds ?? (state === "held" ? performingLimits.heldMilliseconds : undefined)
  const error = "code" in result ? toRunError(result) : null
  return {
    ...{ claimed, state, error },
    nextAt: waits === undefined ? null : ended + waits,
    endedAt: waits === undefined ? ended : null,
    started: result.kind === "done" ? (result.started ?? null) : null,
    request: result.kind === "held" ? { id: result.requestId, url: result.requestUrl } : null,
    try: { at: began, milliseconds: Math.max(0, ended - began), ...error },
  }
}
