/**
 * Looks for schedules that are due, on every server, at a short interval. Owns the timer, and which schedules it can't
 * understand for now: what is due, and what was done about it, stands in the database.
 */
import type { CronTask } from "../../storage/background-queue.ts"
import { removeFirings } from "./firing-store.ts"
import { runFiring } from "./firing-runner.ts"
import { makeDueFirings, type Unreadable } from "./make-firing.ts"
import type { CalendarsContext } from "./options.ts"
import { listLostFirings } from "./schedule-store.ts"

const scanMilliseconds = 1_000
/** After this time beyond its last moment to start, a firing's job is given up for lost. */
const lostMilliseconds = 60_000
const lostPerScan = 20
const roundsMax = 100

export class ScheduleClock {
  readonly #context: () => CalendarsContext
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #again = false
  #stopped = true
  readonly #unreadable: Unreadable = new Map()

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
        this.#context().logger.warn({ err: error }, "looking for due schedules failed; it is tried again")
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
    const { database, clock } = context
    for (let round = 0; round < roundsMax && !this.#stopped; round++) {
      if (!(await database.transaction((tx) => makeDueFirings(tx, context, this.#unreadable)))) break
    }
    for (const { scheduleId, firing } of await listLostFirings(database, clock.now() - lostMilliseconds, lostPerScan)) {
      await runFiring(context, scheduleId, firing)
    }
  }
}

const keptMilliseconds = 400 * 86_400_000
const removedPerStatement = 5_000

export function firingsRetention(now: () => number): CronTask {
  return {
    name: "calendars.firings-retention",
    cron: "29 * * * *",
    async run({ database, signal }) {
      for (let round = 0; round < roundsMax && !signal.aborted; round++) {
        const removed = await removeFirings(database, now() - keptMilliseconds, removedPerStatement)
        if (removed < removedPerStatement) return
      }
    },
  }
}
