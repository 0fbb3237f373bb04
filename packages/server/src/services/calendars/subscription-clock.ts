/**
 * Fetches subscribed calendars when they are due, on every server, each by one. What is due stands in the database.
 */
import { mapBounded } from "@signalbox/kernel/map-bounded"
import { Poller } from "../../storage/poller.ts"
import type { CalendarsContext, CalendarsOptions } from "./options.ts"
import { refreshCalendar } from "./refresh-calendar.ts"
import { claimDueSubscriptions } from "./subscription-store.ts"

const scanMilliseconds = 5_000
/** Longer than a fetch with all its redirects may take. */
const claimMilliseconds = 300_000
const claimedMax = 4
const roundsMax = 100

export function subscriptionClock(options: CalendarsOptions, context: () => CalendarsContext): Poller {
  return new Poller({
    everyMilliseconds: options.scanMilliseconds ?? scanMilliseconds,
    look: (isStopped) => fetchDue(context(), isStopped),
    onError: (error) => options.logger.warn({ err: error }, "fetching subscribed calendars failed; it is tried again"),
  })
}

async function fetchDue(context: CalendarsContext, isStopped: () => boolean): Promise<void> {
  for (let round = 0; round < roundsMax && !isStopped(); round++) {
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
