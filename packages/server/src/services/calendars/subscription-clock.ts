/**
 * Fetches subscribed calendars when they are due, on every server, each by one. Owns the timer and the looks under way;
 * what is due stands in the database.
 */
import { mapBounded } from "@signalbox/kernel/map-bounded"
import type { CalendarsContext } from "./options.ts"
import { refreshCalendar } from "./refresh-calendar.ts"
import { claimDueSubscriptions } from "./subscription-store.ts"

const scanMilliseconds = 5_000
/** Longer than a fetch with all its redirects may take. */
const claimMilliseconds = 300_000
const claimedMax = 4
const roundsMax = 100

export class SubscriptionClock {
  readonly #context: () => CalendarsContext
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #again = false
  #stopped = true

  constructor(context: () => CalendarsContext) {
    this.#context = context
  }

  start(): void {
    this.#stopped = false
    this.#timer = setInterval(() => this.hint(), this.#context().scanMilliseconds ?? scanMilliseconds)
    this.hint()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    await this.#running
  }

  /** Looks now; during a look, once more after it. */
  hint(): void {
    if (this.#stopped) return
    if (this.#running) {
      this.#again = true
      return
    }
    this.#running = this.#look()
      .catch((error: unknown) => {
        this.#context().logger.warn({ err: error }, "fetching subscribed calendars failed; it is tried again")
      })
      .finally(() => {
        this.#running = undefined
        if (!this.#again) return
        this.#again = false
        this.hint()
      })
  }

  async #look(): Promise<void> {
    const context = this.#context()
    for (let round = 0; round < roundsMax && !this.#stopped; round++) {
      const now = context.clock.now()
      const due = await claimDueSubscriptions(context.database, {
        now,
        claimedUntil: now + claimMilliseconds,
        limit: claimedMax,
      })
      await mapBounded(due, claimedMax, (subscription) => refreshCalendar(context, subscription))
      if (due.length < claimedMax) return
    }
  }
}
