/**
 * Looks for schedules that are due, on every server, at a short interval. Owns which schedules it can't understand for
 * now: what is due, and what was done about it, stands in the database.
 */
import type { CronTask } from "../../storage/background-queue.ts"
import { removalTask } from "../../storage/removal-task.ts"
import { Poller } from "../../storage/poller.ts"
import { removeFirings } from "./firing-store.ts"
import { runFiring } from "./firing-runner.ts"
import { makeDueFirings, type Unreadable } from "./make-firing.ts"
import type { CalendarsContext, CalendarsOptions } from "./options.ts"
import { listLostFirings } from "./schedule-store.ts"

const scanMilliseconds = 1_000
/** After this time beyond its last moment to start, a firing's job is given up for lost. */
const lostMilliseconds = 60_000
const lostPerScan = 20
const roundsMax = 100

export function scheduleClock(options: CalendarsOptions, context: () => CalendarsContext): Poller {
  const unreadable: Unreadable = new Map()
  return new Poller({
    everyMilliseconds: options.scanMilliseconds ?? scanMilliseconds,
    look: (isStopped) => fireDue(context(), unreadable, isStopped),
    onError: (error) => options.logger.warn({ err: error }, "looking for due schedules failed; it is tried again"),
  })
}

async function fireDue(context: CalendarsContext, unreadable: Unreadable, isStopped: () => boolean): Promise<void> {
  const { database, clock } = context
  for (let round = 0; round < roundsMax && !isStopped(); round++) {
    if (!(await database.transaction((tx) => makeDueFirings(tx, context, unreadable)))) break
  }
  for (const { scheduleId, firing } of await listLostFirings(database, clock.now() - lostMilliseconds, lostPerScan)) {
    await runFiring(context, scheduleId, firing)
  }
}

const keptMilliseconds = 400 * 86_400_000
const removedPerStatement = 5_000

export function reviewsRetention(now: () => number): CronTask {
  return removalTask({
    name: "calendars.reviews-retention",
    cron: "57 * * * *",
    now,
    statement: `delete from break_glass_reviews where id in (
      select id from break_glass_reviews where closed_at < to_timestamp($1::float8 / 1000) limit $2) returning 1`,
  })
}

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
