import { instantsFrom, instantsWalkedMax, lastInstants, nextInstant, type Occurrences } from "./timing.ts"

/**
 * What to do about a schedule that has come due. Pure. One firing at a time: the oldest instant that may start is
 * fired; the rest is decided after it has an outcome.
 */
export interface DueSchedule extends Occurrences {
  /** The oldest instant that nothing was decided about; not after `now`. */
  readonly nextAt: number
  readonly catchUp: "skip" | "latest" | "all"
  readonly catchUpMax: number
  readonly startWithinMilliseconds: number
}

export interface DueDecision {
  /** Instants that are given up, in one record. */
  readonly missed?: { readonly first: number; readonly last: number; readonly count: number }
  readonly fire?: number
  /** The oldest instant that is left, of which nothing is decided. */
  readonly nextAt: number | null
}

/** An instant found no later than this is fired whatever the policy: servers restart, scans take a moment. */
export const punctualMilliseconds = 60_000

export function decideDue(schedule: DueSchedule, now: number): DueDecision {
  const { nextAt } = schedule
  const punctualFrom = now - Math.min(punctualMilliseconds, schedule.startWithinMilliseconds)
  const [punctual] = instantsFrom(schedule, {
    after: Math.max(nextAt - 1, punctualFrom - 1),
    until: now,
    limit: 1,
  })
  const fire = findMadeUp(schedule, { now, punctualFrom, punctual }) ?? punctual
  const left = nextInstant(schedule, fire ?? now)
  const lost = { after: nextAt - 1, until: fire === undefined ? now : fire - 1 }
  const missed = instantsFrom(schedule, { ...lost, limit: instantsWalkedMax })
  const [first] = missed
  const [last] = lastInstants(schedule, { ...lost, limit: 1 })
  return {
    ...(first === undefined || last === undefined ? {} : { missed: { first, last, count: missed.length } }),
    ...(fire === undefined ? {} : { fire }),
    nextAt: left,
  }
}

/** The oldest of the late instants that the policy makes up. */
function findMadeUp(
  schedule: DueSchedule,
  found: { readonly now: number; readonly punctualFrom: number; readonly punctual: number | undefined },
): number | undefined {
  const { catchUp, catchUpMax, nextAt } = schedule
  const { now, punctualFrom, punctual } = found
  // One that is due now stands for those before it as well.
  if (catchUp === "skip" || (catchUp === "latest" && punctual !== undefined)) return undefined
  const range = {
    after: Math.max(nextAt, now - schedule.startWithinMilliseconds) - 1,
    until: punctualFrom - 1,
    limit: catchUp === "latest" ? 1 : catchUpMax,
  }
  return range.until > range.after ? lastInstants(schedule, range)[0] : undefined
}
