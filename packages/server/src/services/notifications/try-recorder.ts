/**
 * Records what came of tries: those that end within some milliseconds, or while a statement is under way, together. Owns the
 * list of those that wait for it. A try that can't be recorded is made again once its claim is over.
 */
import { setTimeout } from "node:timers/promises"
import { newId } from "@signalbox/kernel/id"
import type { Tx } from "../../storage/database.ts"
import { appendEvents, type NewEvent } from "../../storage/outbox.ts"
import { recordTries, type ClaimedDelivery, type TryOutcome } from "./delivery-claims.ts"
import { decideNext, isOwnEvent, type TryResult } from "./model.ts"
import { deliveryLimits, retryPausesMilliseconds } from "./notification-limits.ts"
import type { NotificationsOptions } from "./options.ts"

export interface Tried {
  readonly claimed: ClaimedDelivery
  readonly result: TryResult
  readonly began: number
}

interface Outcome extends TryOutcome {
  readonly claimed: ClaimedDelivery
}

export class TryRecorder {
  readonly #options: NotificationsOptions
  #waiting: Outcome[] = []
  #recording: Promise<void> | undefined

  constructor(options: NotificationsOptions) {
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
    const { database, logger } = this.#options
    await setTimeout(deliveryLimits.recordGatherMilliseconds)
    const outcomes = this.#waiting.splice(0, deliveryLimits.rowsPerStatement)
    const isAnyDead = outcomes.some(({ state }) => state === "dead")
    try {
      if (isAnyDead) await database.transaction((tx) => recordWithEvents(this.#options, tx, outcomes))
      else await recordTries(database, outcomes)
    } catch (error) {
      const deliveries = outcomes.map(({ claimed }) => claimed.id)
      logger.warn({ deliveries, reason: String(error) }, "tries could not be recorded; they will be made again")
    }
  }
}

function outcomeOf(options: NotificationsOptions, { claimed, result, began }: Tried): Outcome {
  const ended = options.clock.now()
  const next = decideNext(result, {
    attempts: claimed.attempts,
    fraction: (options.random.bytes(1)[0] ?? 0) / 255,
    pausesMilliseconds: options.retryPausesMilliseconds ?? retryPausesMilliseconds,
  })
  return {
    claimed,
    state: next.state,
    nextAt: next.state === "pending" ? ended + next.inMilliseconds : null,
    try: { at: began, milliseconds: Math.max(0, ended - began), answer: result.answer, failed: !result.ok },
  }
}

/** With the event of each delivery that is given up. */
async function recordWithEvents(options: NotificationsOptions, tx: Tx, outcomes: readonly Outcome[]): Promise<void> {
  const recorded = await recordTries(tx, outcomes)
  const dead = outcomes.filter(
    ({ claimed, state }) => state === "dead" && recorded.has(claimed.id) && !isOwnEvent(claimed.event.type),
  )
  await appendEvents(
    tx,
    dead.map((outcome) => deadEvent(options, outcome)),
  )
}

function deadEvent({ clock, random }: NotificationsOptions, { claimed, try: tried }: Outcome): NewEvent {
  const { id, account, channel, event, message, cause, depth } = claimed
  return {
    id: newId("event", clock, random),
    account,
    aggregateId: id,
    type: "delivery.dead",
    subject: id,
    subjectVersion: 2,
    cause,
    causedBy: event.id,
    depth: depth + 1,
    principal: "system:notifications",
    data: { channel, event: event.type, title: message.title, reason: tried.answer },
  }
}
